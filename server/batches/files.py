"""Files in the database, in chunks: what callers upload, and the output of batches. Each belongs to its owner."""

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from server.batches.database import Database, Sql
from server.errors import BodyTooLarge, LimitExceeded, NotFound, quoted

CHUNK_BYTES = 1024 * 1024
COLUMNS = "id, owner, purpose, filename, bytes, created_at, expires_at"


@dataclass(frozen=True)
class File:
    """One file, without its bytes."""

    id: str
    owner: str
    purpose: str
    filename: str
    bytes: int
    created_at: int
    expires_at: int | None

    def card(self) -> dict[str, Any]:
        """As OpenAI has it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


def new_id(prefix: str) -> str:
    """Later ones are greater, so that lists need no other order.

    >>> new_id("file-") < new_id("file-")
    True
    """
    return f"{prefix}{time.time_ns():016x}{secrets.token_hex(4)}"


class Files:
    """All files. A file that is not there, or is somebody else's, raises NotFound."""

    def __init__(self, database: Database, *, max_bytes: int, max_bytes_of_owner: int, keep_s: float) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._max_bytes_of_owner = max_bytes_of_owner
        self._keep_s = keep_s

    async def add(
        self, owner: str, filename: str, purpose: str, pieces: AsyncIterator[bytes], keep_s: int | None = None
    ) -> File:
        """Store what `pieces` gives. Raises BodyTooLarge, or LimitExceeded when the owner has too much already.

        An upload that breaks off leaves nothing that anyone sees; `forget_old` takes the rest.
        """
        kept = await self._database.run(lambda sql: _bytes_of(sql, owner))
        file = new_id("file-")
        now = int(time.time())
        length = place = 0
        await self._database.run(
            lambda sql: sql(
                "INSERT INTO files VALUES (?, ?, ?, ?, 0, ?, ?, 0)",
                file, owner, purpose, filename, now, now + int(keep_s or self._keep_s),
            )
        )  # fmt: skip
        async for chunk in _in_chunks(pieces):
            length += len(chunk)
            if length > self._max_bytes:
                raise BodyTooLarge("file", value=length, limit=self._max_bytes, unit="bytes", what="the file")
            if kept + length > self._max_bytes_of_owner:
                raise LimitExceeded("files", value=kept + length, limit=self._max_bytes_of_owner, unit="bytes")
            await self._database.run(
                lambda sql, place=place, chunk=chunk: sql("INSERT INTO chunks VALUES (?, ?, ?)", file, place, chunk)  # type: ignore[misc]
            )
            place += 1
        await self._database.run(lambda sql: sql("UPDATE files SET bytes = ?, is_whole = 1 WHERE id = ?", length, file))
        return await self.get(owner, file)

    async def get(self, owner: str, file: str) -> File:
        """One of the owner's files."""
        return await self._database.run(lambda sql: find(sql, owner, file))

    async def page(
        self, owner: str, *, after: str | None, limit: int, ascending: bool = False, purpose: str | None = None
    ) -> list[File]:
        """The owner's files, the newest first unless `ascending`; those that come `after` an id."""
        order, beyond = ("ASC", ">") if ascending else ("DESC", "<")
        where, values = ["owner = ?", "is_whole = 1"], [owner]
        if after:
            where.append(f"id {beyond} ?")
            values.append(after)
        if purpose:
            where.append("purpose = ?")
            values.append(purpose)
        query = f"SELECT {COLUMNS} FROM files WHERE {' AND '.join(where)} ORDER BY id {order} LIMIT ?"
        return [File(*row) for row in await self._database.run(lambda sql: sql(query, *values, limit))]

    async def delete(self, owner: str, file: str) -> None:
        """Forget it."""

        def work(sql: Sql) -> None:
            find(sql, owner, file)
            drop(sql, file)

        await self._database.run(work)

    async def chunks(self, file: str) -> AsyncIterator[bytes]:
        """Its bytes, in order; ends early if it is deleted meanwhile."""
        place = 0
        while rows := await self._database.run(
            lambda sql, place=place: sql("SELECT data FROM chunks WHERE file_id = ? AND place = ?", file, place)  # type: ignore[misc]
        ):
            yield bytes(rows[0][0])
            place += 1

    async def read(self, file: str, first_byte: int, length: int) -> bytes:
        """A part of its bytes; shorter where the file is, or is gone."""
        first, last = first_byte // CHUNK_BYTES, (first_byte + length - 1) // CHUNK_BYTES
        query = "SELECT data FROM chunks WHERE file_id = ? AND place BETWEEN ? AND ? ORDER BY place"
        rows = await self._database.run(lambda sql: sql(query, file, first, last))
        start = first_byte - first * CHUNK_BYTES
        return b"".join(bytes(row[0]) for row in rows)[start : start + length]

    async def forget_old(self) -> None:
        """Delete what has expired, and uploads that broke off a day ago."""
        now = int(time.time())
        query = "SELECT id FROM files WHERE expires_at < ? OR (is_whole = 0 AND created_at < ?)"
        for (file,) in await self._database.run(lambda sql: sql(query, now, now - 86400)):
            await self._database.run(lambda sql, file=file: drop(sql, file))  # type: ignore[misc]


def find(sql: Sql, owner: str, file: str) -> File:
    """One of the owner's files. Raises NotFound."""
    rows = sql(f"SELECT {COLUMNS} FROM files WHERE id = ? AND owner = ? AND is_whole = 1", file, owner)
    if not rows:
        raise NotFound(f"there is no file {quoted(file)}", param="file_id")
    return File(*rows[0])


def drop(sql: Sql, file: str) -> None:
    """Forget a file and its bytes."""
    sql("DELETE FROM chunks WHERE file_id = ?", file)
    sql("DELETE FROM files WHERE id = ?", file)


class Chunker:
    """Pieces of any length in, chunks of `CHUNK_BYTES` out.

    >>> chunker = Chunker()
    >>> [len(chunk) for chunk in chunker.add(b"x" * 1_500_000)], [len(chunk) for chunk in chunker.rest()]
    ([1048576], [451424])
    """

    def __init__(self) -> None:
        self._held = bytearray()

    def add(self, piece: bytes) -> Iterator[bytes]:
        """The chunks that are full now."""
        self._held += piece
        while len(self._held) >= CHUNK_BYTES:
            yield bytes(self._held[:CHUNK_BYTES])
            del self._held[:CHUNK_BYTES]

    def rest(self) -> Iterator[bytes]:
        """What is left at the end."""
        if self._held:
            yield bytes(self._held)


async def _in_chunks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    chunker = Chunker()
    async for piece in pieces:
        for chunk in chunker.add(piece):
            yield chunk
    for chunk in chunker.rest():
        yield chunk


def _bytes_of(sql: Sql, owner: str) -> int:
    return int(sql("SELECT COALESCE(SUM(bytes), 0) FROM files WHERE owner = ?", owner)[0][0])
