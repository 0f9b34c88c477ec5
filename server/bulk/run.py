"""Shards to workers: in this process, or on a Ray cluster through Ray Data."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import orjson

from server.bulk.engines import ByUrl, Engines, Inside
from server.bulk.manifest import Shard, shards
from server.bulk.output import Output
from server.bulk.worker import BulkWorker
from server.settings import Settings

CORES_A_WORKER = 1
"""On Ray, of an engine on a CPU in the worker's process: as many workers as cores beat one with all of them."""


@dataclass(frozen=True)
class Job:
    """What is to be done. Everything in it can be sent to another machine."""

    settings: dict[str, Any]
    engine_urls: list[str]
    """Without any, each worker runs `model` in its own process."""
    task: str
    manifest: str
    out: str
    rows_a_shard: int
    at_once: int
    """Rows under way in one worker."""
    common: dict[str, Any]
    model: str = ""
    threads: int = CORES_A_WORKER
    """Of an engine on a CPU in a worker's process."""
    gpus: float = 0
    """Cards of a worker on Ray."""

    @property
    def ahead(self) -> int:
        """Shards under way in one worker: enough rows for its places, and the next shard's.

        >>> Job({}, [], "detect", "in.jsonl", "out", rows_a_shard=64, at_once=300, common={}).ahead
        6
        """
        return math.ceil(self.at_once / self.rows_a_shard) + 1

    def engines(self) -> Engines:
        """What one worker asks."""
        settings = Settings(**self.settings)
        return ByUrl(self.engine_urls, settings) if self.engine_urls else Inside(self.model, settings, self.threads)

    def worker(self) -> BulkWorker:
        """A new one."""
        return BulkWorker(
            self.engines(),
            self.task,
            at_once=self.at_once,
            base=self.manifest.rpartition("/")[0] or ".",
            common=self.common,
        )

    def missing(self) -> Iterator[Shard]:
        """The shards that are not there yet."""
        done = Output(self.out).done()
        return (shard for shard in shards(self.manifest, self.rows_a_shard) if shard.name not in done)


@dataclass(frozen=True)
class Done:
    """A shard that is written."""

    rows: int
    errors: int
    began_s: float
    """Unix time, as `ended_s`, by its worker's clock."""
    ended_s: float


@dataclass
class Progress:
    """How far it is."""

    say: Callable[[str], None]
    rows: int = 0
    errors: int = 0
    began_s: float = math.inf
    """When the first worker had its engine."""
    ended_s: float = 0.0

    @property
    def rows_per_s(self) -> float:
        """Since the first worker had its engine."""
        return self.rows / (self.ended_s - self.began_s) if self.ended_s > self.began_s else 0.0

    def add(self, done: Done) -> None:
        """One more shard."""
        self.rows += done.rows
        self.errors += done.errors
        self.began_s, self.ended_s = min(self.began_s, done.began_s), max(self.ended_s, done.ended_s)
        self.say(f"{self.rows} rows, {self.errors} with an error")


async def run_here(job: Job, progress: Progress) -> None:
    """In this process."""
    worker = job.worker()
    await worker.start()
    output = Output(job.out)
    under_way: deque[asyncio.Task[Done]] = deque()
    try:
        for shard in job.missing():
            under_way.append(asyncio.create_task(_one(worker, output, shard)))
            if len(under_way) == job.ahead:
                progress.add(await under_way.popleft())
        while under_way:
            progress.add(await under_way.popleft())
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await worker.close()


async def _one(worker: BulkWorker, output: Output, shard: Shard) -> Done:
    began_s = time.time()
    rows = await worker.work(shard)
    await asyncio.to_thread(output.write, shard, rows)
    return Done(len(rows), sum(row.status != "ok" for row in rows), began_s, time.time())


class OnRay:
    """A worker as an actor of Ray Data: a shard in, what became of it out. What it wrote stays if it dies.

    It is called from several threads at once, so that the next shards' media are decoded, and their rows answered,
    while the last one's come.
    """

    def __init__(self, job: Job) -> None:
        self._output = Output(job.out)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="worker", daemon=True).start()
        self._worker = asyncio.run_coroutine_threadsafe(self._started(job), self._loop).result()

    async def _started(self, job: Job) -> BulkWorker:
        worker = job.worker()
        await worker.start()
        return worker

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """See `ray.data.Dataset.map_batches`. Rows come as JSON: Arrow would give every row all fields of all."""
        found = [
            Shard(int(number), orjson.loads(rows)) for number, rows in zip(batch["number"], batch["rows"], strict=True)
        ]
        done = asyncio.run_coroutine_threadsafe(self._all(found), self._loop).result()
        return {field.name: [getattr(each, field.name) for each in done] for field in fields(Done)}

    async def _all(self, found: Iterable[Shard]) -> list[Done]:
        return list(await asyncio.gather(*(_one(self._worker, self._output, shard) for shard in found)))


def run_on_ray(job: Job, progress: Progress, *, address: str, workers: int) -> None:
    """On the cluster at `address` (`auto`, `ray://host:10001`), or one that is started here (`local`)."""
    import ray

    ray.init(address=None if address == "local" else address, ignore_reinit_error=True)
    items = [{"number": shard.number, "rows": orjson.dumps(shard.rows)} for shard in job.missing()]
    if not items:
        return
    pool = ray.data.ActorPoolStrategy(
        min_size=min(workers, len(items)),
        max_size=workers,
        max_tasks_in_flight_per_actor=job.ahead + 1,
        max_concurrent_calls_per_actor=job.ahead,
        enable_true_multi_threading=True,
    )
    data = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        OnRay, fn_constructor_args=(job,), batch_size=1, compute=pool, num_cpus=job.threads, num_gpus=job.gpus or None
    )
    for batch in data.iter_batches(batch_size=None):
        for values in zip(*(batch[field.name] for field in fields(Done)), strict=True):
            progress.add(Done(int(values[0]), int(values[1]), float(values[2]), float(values[3])))
