"""Works on shards: media, prompts, engines, reading and geometry as online, many rows at once."""

import asyncio
import time
from typing import Any

import orjson

from server.answering.runs import Spent, TaskRun
from server.bulk.engines import Engines
from server.bulk.manifest import Shard, with_files
from server.bulk.output import Row
from server.errors import GatewayError, InvalidValue, Overloaded, RateLimited
from server.media import MediaLoader
from server.routes.tasks import checked
from server.tasks import TASKS
from server.tasks.task import Task

TRIES = 5
"""A row that engines turn away, or fail at, is asked so often."""
BACKOFF_S = 2.0


class BulkWorker:
    """One process's part: its own media processes and connections."""

    def __init__(self, engines: Engines, task: str, *, at_once: int, base: str, common: dict[str, Any]) -> None:
        """`base` is where relative paths of the manifest lie; `common` are fields that every row has."""
        self._engines = engines
        self._settings = engines.settings
        self._task = find_task(task)
        self._places = asyncio.Semaphore(at_once)
        self._base = base
        self._common = common
        self._media = MediaLoader(self._settings)

    async def start(self) -> None:
        """Wait for an engine."""
        await self._media.start()
        await self._engines.start()

    async def close(self) -> None:
        """Let go of everything."""
        await self._engines.close()
        await self._media.close()

    async def work(self, shard: Shard) -> list[Row]:
        """The results of a shard's rows, in their order. Never fails for a row."""
        return list(await asyncio.gather(*(self._row(row) for row in shard.rows)))

    async def _row(self, row: dict[str, Any]) -> Row:
        async with self._places:
            began_s = time.perf_counter()
            spent = Spent()
            try:
                result = orjson.dumps(await self._patiently(row, spent)).decode()
                return _done(row["id"], spent, began_s, result=result)
            except GatewayError as failure:
                return _done(row["id"], spent, began_s, code=failure.code, error=failure.message)
            except OSError as exc:
                return _done(row["id"], spent, began_s, code="file_unreadable", error=f"{type(exc).__name__}: {exc}")

    async def _patiently(self, row: dict[str, Any], spent: Spent) -> dict[str, Any]:
        fields = {**self._common, **{name: value for name, value in row.items() if name != "id"}}
        fields = await asyncio.to_thread(with_files, fields, self._task.inputs, self._base)
        asked = checked(self._task, fields, self._settings)
        for place in range(1, TRIES + 1):
            try:
                asker = self._engines.asker(row["id"])
                run = TaskRun(self._task, asked, asker=asker, media=self._media, settings=self._settings, costs=spent)
                return await run.result()
            except GatewayError as failure:
                is_passing = failure.status >= 500 or isinstance(failure, RateLimited | Overloaded)
                if not is_passing or failure.code == "answer_unreadable" or place == TRIES:
                    raise
                await asyncio.sleep(BACKOFF_S * place)
        raise AssertionError("the last try returns or raises")


def find_task(name: str) -> Task[Any]:
    """The task of that name. Raises InvalidValue."""
    for task in TASKS:
        if name in (task.name, task.path):
            return task
    raise InvalidValue(f"task is {name!r}; there is {', '.join(task.name for task in TASKS)}", param="task")


def _done(
    name: str,
    spent: Spent,
    began_s: float,
    *,
    result: str | None = None,
    code: str | None = None,
    error: str | None = None,
) -> Row:
    return Row(
        id=name,
        status="error" if code else "ok",
        result=result,
        error_code=code,
        error=error,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        took_s=round(time.perf_counter() - began_s, 4),
    )
