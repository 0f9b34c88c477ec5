"""Batches in the database: what was asked, what is under way, what was answered.

A request is `waiting`, `running` or `done`. A gateway that works on one holds a lease on it; one that is killed lets
its leases run out, and the request is asked again, by it or by another gateway. An answer counts only while its lease
holds, so every request has one answer, however often it was asked.
"""

import time
from collections.abc import Callable, Iterable, Sequence

import orjson

from server.batches.batch import COLUMNS, Batch, Claimed, batch_of, request_id
from server.batches.database import Database, Row, Sql
from server.batches.files import Chunker, drop, find, new_id
from server.batches.lines import Line, LineError, common, unanswered
from server.errors import InvalidValue, NotFound, quoted

LEASE_S = 30
"""A gateway that says nothing for so long has left what it was working on."""
PAGE = 500
"""Requests of a batch that one transaction reads or writes."""
MINE = "batch_id = ? AND place = ? AND worker = ? AND state = 'running'"
"""A request that this gateway has the lease of."""
UNSAID = {"expired": ("batch_expired", "the batch's completion window was over before this request was answered"),
          "cancelled": ("batch_cancelled", "the batch was cancelled before this request was answered")}  # fmt: skip


class Ledger:
    """All batches. One that is not there, or is somebody else's, raises NotFound."""

    def __init__(self, database: Database, worker: str, *, keep_s: float) -> None:
        """`worker` names this process among those that share the database."""
        self._database = database
        self._worker = worker
        self._keep_s = keep_s

    # -- for callers --------------------------------------------------------------------------------------------------
    async def add(
        self, owner: str, endpoint: str, file: str, window: tuple[str, int], metadata: object, keep_s: int | None
    ) -> Batch:
        """A new batch over an input file; `window` is what the caller wrote and its seconds."""

        def work(sql: Sql) -> Batch:
            if find(sql, owner, file).purpose != "batch":
                raise InvalidValue(
                    f"the file {quoted(file)} was not uploaded for purpose 'batch'", param="input_file_id"
                )
            batch, now = new_id("batch_"), int(time.time())
            sql(
                f"INSERT INTO batches ({COLUMNS}, lease_until) VALUES ({', '.join('?' * 21)})",
                batch, owner, "validating", endpoint, file, window[0], _json(metadata), keep_s, now, now + window[1],
                "{}", "[]", None, None, None, 0, 0, 0, 0, 0, 0,
            )  # fmt: skip
            return _get(sql, batch, owner)

        return await self._database.run(work)

    async def get(self, owner: str, batch: str) -> Batch:
        """One of the owner's batches."""
        return await self._database.run(lambda sql: _get(sql, batch, owner))

    async def page(self, owner: str, *, after: str | None, limit: int) -> list[Batch]:
        """The owner's batches, the newest first."""
        beyond = " AND id < ?" if after else ""
        query = f"SELECT {COLUMNS} FROM batches WHERE owner = ?{beyond} ORDER BY id DESC LIMIT ?"
        values = [owner, *([after] if after else []), limit]
        return [batch_of(row) for row in await self._database.run(lambda sql: sql(query, *values))]

    async def cancel(self, owner: str, batch: str) -> Batch:
        """Ask no more of it. Raises InvalidValue for one that has ended."""

        def work(sql: Sql) -> Batch:
            found = _get(sql, batch, owner)
            if found.status in ("validating", "in_progress"):
                return _become(sql, found, "cancelling")
            if found.status == "cancelling":
                return found
            raise InvalidValue(f"the batch is {found.status} and cannot be cancelled any more", param="batch_id")

        return await self._database.run(work)

    # -- for the worker -----------------------------------------------------------------------------------------------
    async def open(self) -> Sequence[Batch]:
        """Batches that have not ended, the oldest first."""
        ended = "('completed', 'failed', 'expired', 'cancelled')"
        query = f"SELECT {COLUMNS} FROM batches WHERE status NOT IN {ended} ORDER BY id"
        return [batch_of(row) for row in await self._database.run(lambda sql: sql(query))]

    async def take_over(self, is_dead: Callable[[str], bool]) -> None:
        """Ask again at once what dead workers were working on, without waiting for their leases to run out."""

        def work(sql: Sql) -> None:
            for (worker,) in sql("SELECT DISTINCT worker FROM requests WHERE state = 'running'"):
                if is_dead(worker):
                    sql("UPDATE requests SET state = 'waiting' WHERE state = 'running' AND worker = ?", worker)

        await self._database.run(work)

    async def lease(self, batch: str) -> bool:
        """Whether this gateway may now read or finish a batch, alone."""
        now = time.time()
        query = "UPDATE batches SET lease_until = ? WHERE id = ? AND lease_until < ? RETURNING id"
        return bool(await self._database.run(lambda sql: sql(query, now + LEASE_S, batch, now)))

    async def release(self, batch: str) -> None:
        """Let another one."""
        await self._database.run(lambda sql: sql("UPDATE batches SET lease_until = 0 WHERE id = ?", batch))

    async def keep(self, running: Iterable[Claimed], leased: Iterable[str]) -> None:
        """Say that this gateway still works on these requests and batches."""
        until = time.time() + LEASE_S
        mine = (
            "UPDATE requests SET lease_until = ? WHERE batch_id = ? AND place = ? AND worker = ? AND state = 'running'"
        )

        def work(sql: Sql) -> None:
            for claimed in running:
                sql(mine, until, claimed.batch.id, claimed.place, self._worker)
            for batch in leased:
                sql("UPDATE batches SET lease_until = ? WHERE id = ?", until, batch)

        await self._database.run(work)

    async def begin(self, batch: Batch, lines: Sequence[Line]) -> None:
        """Its input is read: ask these."""

        def forget(sql: Sql) -> None:
            sql("DELETE FROM requests WHERE batch_id = ?", batch.id)  # of a reading that was broken off

        await self._database.run(forget)
        for start in range(0, len(lines), PAGE):
            page = list(enumerate(lines[start : start + PAGE], start))

            def insert(sql: Sql, page: list[tuple[int, Line]] = page) -> None:
                for place, line in page:
                    sql(
                        "INSERT INTO requests VALUES (?, ?, ?, ?, ?, 'waiting', '', 0, 0, 0, 0, NULL)",
                        batch.id, place, line.custom_id, line.first_byte, line.length,
                    )  # fmt: skip

            await self._database.run(insert)

        def work(sql: Sql) -> None:
            model = common(line.model for line in lines)
            sql("UPDATE batches SET total = ?, model = ?, lease_until = 0 WHERE id = ?", len(lines), model, batch.id)
            if _get(sql, batch.id).status == "validating":  # and was not cancelled meanwhile
                _become(sql, batch, "in_progress")

        await self._database.run(work)

    async def fail(self, batch: Batch, errors: Sequence[LineError]) -> None:
        """Its input cannot be asked."""
        told = _json([error.card() for error in errors])

        def work(sql: Sql) -> None:
            sql("UPDATE batches SET errors = ?, lease_until = 0 WHERE id = ?", told, batch.id)
            _become(sql, batch, "failed")

        await self._database.run(work)

    async def claim(self, batch: Batch, most: int) -> list[Claimed]:
        """Up to `most` of its requests, to be worked on by this gateway alone."""
        now = time.time()

        def work(sql: Sql) -> list[Row]:
            lapsed = (
                "UPDATE requests SET state = 'waiting' WHERE batch_id = ? AND state = 'running' AND lease_until < ?"
            )
            sql(lapsed, batch.id, now)
            # `state` stands outside too: where two gateways choose the same rows, the second one must not get them.
            return sql(
                "UPDATE requests SET state = 'running', worker = ?, lease_until = ?, tries = tries + 1 "
                "WHERE batch_id = ? AND state = 'waiting' AND place IN "
                "(SELECT place FROM requests WHERE batch_id = ? AND state = 'waiting' AND not_before <= ? "
                "ORDER BY place LIMIT ?) RETURNING place, custom_id, first_byte, bytes, tries",
                self._worker, now + LEASE_S, batch.id, batch.id, now, most,
            )  # fmt: skip

        return [Claimed(batch, *row) for row in sorted(await self._database.run(work))]

    async def answer(self, claimed: Claimed, line: bytes, *, is_ok: bool, tokens: tuple[int, int] = (0, 0)) -> None:
        """Keep the answer; nothing happens if the lease was lost and somebody else has it."""

        def work(sql: Sql) -> None:
            done = sql(
                f"UPDATE requests SET state = 'done', is_ok = ?, answer = ? WHERE {MINE} RETURNING place",
                int(is_ok), line, claimed.batch.id, claimed.place, self._worker,
            )  # fmt: skip
            if done:
                sql(
                    "UPDATE batches SET completed = completed + ?, failed = failed + ?, tokens_in = tokens_in + ?, "
                    "tokens_out = tokens_out + ? WHERE id = ?",
                    int(is_ok), int(not is_ok), *tokens, claimed.batch.id,
                )  # fmt: skip

        await self._database.run(work)

    async def put_back(self, claimed: Claimed, after_s: float) -> None:
        """Ask it again, but not before so many seconds."""
        query = f"UPDATE requests SET state = 'waiting', worker = '', not_before = ? WHERE {MINE}"
        values = (time.time() + after_s, claimed.batch.id, claimed.place, self._worker)
        await self._database.run(lambda sql: sql(query, *values))

    async def left(self, batch: Batch) -> tuple[int, int]:
        """(requests that nobody has answered, those of them that some gateway works on)."""
        query = (
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN state = 'running' AND lease_until >= ? THEN 1 ELSE 0 END), 0) "
            "FROM requests WHERE batch_id = ? AND state <> 'done'"
        )
        rows = await self._database.run(lambda sql: sql(query, time.time(), batch.id))
        return int(rows[0][0]), int(rows[0][1])

    async def finish(self, batch: Batch, ending: str) -> None:
        """Write its output and errors as files, in the order of the input, and end it. Broken off, it can be redone."""
        if batch.status == "in_progress":
            await self._database.run(lambda sql: _become(sql, batch, "finalizing"))
        files = [("output", 1), ("error", 0)]
        written = [await self._write(batch, name, is_ok, ending) for name, is_ok in files]

        def work(sql: Sql) -> None:
            for name, file in zip(("output", "error"), written, strict=True):
                sql(f"UPDATE batches SET {name}_file_id = ? WHERE id = ?", file, batch.id)
            sql("DELETE FROM requests WHERE batch_id = ?", batch.id)
            sql("UPDATE batches SET lease_until = 0 WHERE id = ?", batch.id)
            _become(sql, _get(sql, batch.id), ending)

        await self._database.run(work)

    async def _write(self, batch: Batch, name: str, is_ok: int, ending: str) -> str | None:
        """One of its files; its id, None if there would be nothing in it."""
        file = f"file-{batch.id.removeprefix('batch_')}-{name}"
        chunker, length, place, after = Chunker(), 0, 0, -1
        await self._database.run(lambda sql: drop(sql, file))
        while True:
            rows = await self._database.run(lambda sql, after=after: _page(sql, batch.id, is_ok, after))  # type: ignore[misc]
            text = b"".join(_answer(batch, row, ending) for row in rows)
            length += len(text)
            chunks = [*chunker.add(text), *(chunker.rest() if not rows else [])]

            def insert(sql: Sql, chunks: list[bytes] = chunks, place: int = place) -> None:
                for number, chunk in enumerate(chunks, place):
                    sql("INSERT INTO chunks VALUES (?, ?, ?)", file, number, chunk)

            await self._database.run(insert)
            place += len(chunks)
            if not rows:
                break
            after = rows[-1][0]
        if not length:
            return None
        now = int(time.time())
        values = (file, batch.owner, "batch_output", f"{batch.id}_{name}.jsonl", length, now)
        expires = now + int(batch.keep_s or self._keep_s)
        await self._database.run(lambda sql: sql("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, 1)", *values, expires))
        return file


def _page(sql: Sql, batch: str, is_ok: int, after: int) -> list[Row]:
    wanted = "is_ok = 1" if is_ok else "(is_ok = 0 OR state <> 'done')"
    return sql(
        f"SELECT place, custom_id, state, answer FROM requests WHERE batch_id = ? AND place > ? AND {wanted} "
        "ORDER BY place LIMIT ?",
        batch, after, PAGE,
    )  # fmt: skip


def _answer(batch: Batch, row: Row, ending: str) -> bytes:
    place, custom_id, state, answer = row
    if state == "done":
        return bytes(answer)
    return unanswered(request_id(batch.id, place), custom_id, *UNSAID[ending])


def _become(sql: Sql, batch: Batch, status: str) -> Batch:
    times = {**_get(sql, batch.id).times, f"{status}_at": int(time.time())}
    sql("UPDATE batches SET status = ?, times = ? WHERE id = ?", status, _json(times), batch.id)
    return _get(sql, batch.id)


def _get(sql: Sql, batch: str, owner: str | None = None) -> Batch:
    rows = sql(f"SELECT {COLUMNS} FROM batches WHERE id = ?", batch)
    if not rows or owner not in (None, rows[0][1]):
        raise NotFound(f"there is no batch {quoted(batch)}", param="batch_id")
    return batch_of(rows[0])


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
