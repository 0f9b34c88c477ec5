"""Shards to workers: in this process, or on a Ray cluster through Ray Data."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from server.bulk.manifest import Shard, shards
from server.bulk.output import Output
from server.bulk.worker import BulkWorker
from server.settings import Settings

AHEAD = 2
"""Shards under way at once in one worker: the next one's media are decoded while the last one's answers come."""


@dataclass(frozen=True)
class Job:
    """What is to be done. Everything in it can be sent to another machine."""

    settings: dict[str, Any]
    engine_urls: list[str]
    task: str
    manifest: str
    out: str
    rows_a_shard: int
    at_once: int
    """Rows under way in one worker."""
    common: dict[str, Any]

    def worker(self) -> BulkWorker:
        """A new one."""
        return BulkWorker(
            Settings(**self.settings),
            self.engine_urls,
            self.task,
            at_once=self.at_once,
            base=self.manifest.rpartition("/")[0] or ".",
            common=self.common,
        )

    def missing(self) -> Iterator[Shard]:
        """The shards that are not there yet."""
        done = Output(self.out).done()
        return (shard for shard in shards(self.manifest, self.rows_a_shard) if shard.name not in done)


@dataclass
class Progress:
    """How far it is."""

    say: Callable[[str], None]
    rows: int = 0
    errors: int = 0
    began_s: float = 0.0

    def add(self, rows: int, errors: int) -> None:
        """One more shard."""
        self.began_s = self.began_s or time.perf_counter()
        self.rows += rows
        self.errors += errors
        self.say(f"{self.rows} rows, {self.errors} with an error")


async def run_here(job: Job, progress: Progress) -> None:
    """In this process."""
    worker = job.worker()
    await worker.start()
    output = Output(job.out)
    under_way: deque[asyncio.Task[tuple[int, int]]] = deque()
    try:
        for shard in job.missing():
            under_way.append(asyncio.create_task(_one(worker, output, shard)))
            if len(under_way) == AHEAD:
                progress.add(*await under_way.popleft())
        while under_way:
            progress.add(*await under_way.popleft())
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await worker.close()


async def _one(worker: BulkWorker, output: Output, shard: Shard) -> tuple[int, int]:
    rows = await worker.work(shard)
    await asyncio.to_thread(output.write, shard, rows)
    return len(rows), sum(row.status != "ok" for row in rows)


class OnRay:
    """A worker as an actor of Ray Data: a batch of shards in, their counts out. What it wrote stays if it dies."""

    def __init__(self, job: Job) -> None:
        self._output = Output(job.out)
        self._loop = asyncio.new_event_loop()
        self._worker = job.worker()
        self._loop.run_until_complete(self._worker.start())

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """See `ray.data.Dataset.map_batches`."""
        found = [Shard(int(number), list(rows)) for number, rows in zip(batch["number"], batch["rows"], strict=True)]
        counts = self._loop.run_until_complete(self._all(found))
        return {"rows": [rows for rows, _ in counts], "errors": [errors for _, errors in counts]}

    async def _all(self, found: Iterable[Shard]) -> list[tuple[int, int]]:
        return list(await asyncio.gather(*(_one(self._worker, self._output, shard) for shard in found)))


def run_on_ray(job: Job, progress: Progress, *, address: str, workers: int) -> None:
    """On the cluster at `address` (`auto`, `ray://host:10001`), or one that is started here (`local`)."""
    import orjson
    import ray

    ray.init(address=None if address == "local" else address, ignore_reinit_error=True)
    items = [{"number": shard.number, "rows": orjson.dumps(shard.rows)} for shard in job.missing()]
    if not items:
        return
    data = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        OnRayBytes, fn_constructor_args=(job,), batch_size=AHEAD, concurrency=(1, workers), num_cpus=1
    )
    for counts in data.iter_batches(batch_size=None):
        progress.add(int(sum(counts["rows"])), int(sum(counts["errors"])))


class OnRayBytes(OnRay):
    """The same, with rows as JSON: Arrow would give every row all fields of all."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        import orjson

        return super().__call__({**batch, "rows": [orjson.loads(rows) for rows in batch["rows"]]})
