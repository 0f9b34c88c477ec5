"""Manifests, and the files they name: local paths, or whatever fsspec and pyarrow open (s3://, gs://, ...)."""

import base64
import mimetypes
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from server.errors import InvalidValue

PARQUET = (".parquet", ".pq")
ONLINE = ("http://", "https://", "data:")
"""What the media loader fetches or reads itself, behind its guard."""


@dataclass(frozen=True)
class Shard:
    """Some rows of the manifest, and the number of their output file."""

    number: int
    rows: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """Of its output file.

        >>> Shard(7, []).name
        'part-000007.parquet'
        """
        return f"part-{self.number:06}.parquet"


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system that a path or URI is in, and the path there. Raises ValueError for a scheme nobody knows."""
    if "://" not in path:
        return pafs.LocalFileSystem(), path
    try:
        found, inner = pafs.FileSystem.from_uri(path)
    except pa.ArrowInvalid:
        import fsspec  # the rest of the world's schemes, where it is installed

        inside, inner = fsspec.core.url_to_fs(path)
        found = pafs.PyFileSystem(pafs.FSSpecHandler(inside))
    return found, inner


def shards(path: str, rows_a_shard: int) -> Iterator[Shard]:
    """The manifest, cut. Raises InvalidValue for a row without an `id`, or with one that another has."""
    held: list[dict[str, Any]] = []
    seen: set[str] = set()
    number = 0
    for place, row in enumerate(_rows(path), 1):
        name = row.get("id")
        if not isinstance(name, str | int) or str(name) in seen:
            raise InvalidValue(f"row {place} of the manifest has no id, or one that another row has", param="id")
        seen.add(str(name))
        held.append({**row, "id": str(name)})
        if len(held) == rows_a_shard:
            yield Shard(number, held)
            held, number = [], number + 1
    if held:
        yield Shard(number, held)


def _rows(path: str) -> Iterator[dict[str, Any]]:
    found, inner = filesystem(path)
    if path.endswith(PARQUET):
        with found.open_input_file(inner) as file:
            for batch in pq.ParquetFile(file).iter_batches():
                for row in batch.to_pylist():
                    yield {name: value for name, value in row.items() if value is not None}
        return
    with found.open_input_stream(inner) as stream:
        rest = b""
        while piece := stream.read(1 << 20):
            *lines, rest = (rest + bytes(piece)).split(b"\n")
            yield from (_object(line) for line in lines if line.strip())
        if rest.strip():
            yield _object(rest)


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise InvalidValue(f"a line of the manifest is not JSON: {exc}") from exc
    if not isinstance(row, dict):
        raise InvalidValue("a line of the manifest is not a JSON object")
    return row


def with_files(fields: dict[str, Any], inputs: Collection[str], base: str) -> dict[str, Any]:
    """The fields, with files that are named by path read into data: URIs; relative ones lie beside the manifest.

    Raises OSError for one that cannot be read.
    """
    return {name: _read(value, base) if name in inputs else value for name, value in fields.items()}


def _read(value: Any, base: str) -> Any:
    if isinstance(value, list):
        return [_read(each, base) for each in value]
    if not isinstance(value, str) or value.startswith(ONLINE):
        return value
    path = value if value.startswith("/") or "://" in value else f"{base}/{value}"
    found, inner = filesystem(path)
    with found.open_input_file(inner) as file:
        data = bytes(file.read())
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
