"""Shards of results as Parquet files: whole or not there."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from server.bulk.manifest import Shard, filesystem

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("status", pa.string()),
        ("result", pa.string()),
        ("error_code", pa.string()),
        ("error", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("took_s", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Row:
    """What became of one row of the manifest."""

    id: str
    status: str
    """`ok` or `error`."""
    result: str | None
    """The task's answer as JSON, as its endpoint gives it."""
    error_code: str | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    took_s: float


class Output:
    """A folder of them."""

    def __init__(self, folder: str) -> None:
        self._files, self._folder = filesystem(folder.rstrip("/"))

    def done(self) -> set[str]:
        """Names of the shards that are there."""
        self._files.create_dir(self._folder, recursive=True)
        found = self._files.get_file_info(pafs.FileSelector(self._folder))
        return {info.base_name for info in found if info.is_file and info.base_name.startswith("part-")}

    def write(self, shard: Shard, rows: Sequence[Row]) -> None:
        """Store a shard's results, in the order of its rows; one that is there already is replaced."""
        table = pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA)
        unfinished = f"{self._folder}/.{shard.name}.{secrets.token_hex(4)}"
        with self._files.open_output_stream(unfinished) as stream:
            pq.write_table(table, stream)
        self._files.move(unfinished, f"{self._folder}/{shard.name}")
