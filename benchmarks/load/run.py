"""One measurement: a workload at one rate (open loop) or at one concurrency (closed loop), every request recorded."""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from benchmarks.load.record import Record, read
from benchmarks.load.wire import Client
from benchmarks.load.workloads import Session

LOOK_S = 0.05
"""Between two looks at how late our own loop is."""


@dataclass
class Outcome:
    """What was recorded, and of the client itself."""

    records: list[Record]
    duration_s: float
    cpu_share: float
    """Of one core, that this process took."""
    loop_lag_ms: list[float] = field(default_factory=list)
    """How late our own loop was, looked at every 50 ms."""
    in_flight: list[tuple[float, int]] = field(default_factory=list)
    """(seconds, requests under way)."""


class Run:
    """Sends sessions; `on_record` sees each request when it is over."""

    def __init__(self, client: Client, on_record: Callable[[Record], None] = lambda _: None) -> None:
        self._client = client
        self._on_record = on_record
        self._records: list[Record] = []
        self._under_way = 0
        self._start_s = 0.0

    async def open_loop(
        self, sessions: Sequence[Session], moments: Sequence[float], *, grace_s: float = 120
    ) -> Outcome:
        """Each session at its moment, whatever became of those before. What is not over `grace_s` after the last moment
        is recorded as an error."""
        async with self._measured() as outcome:
            self._start_s = time.perf_counter()
            running = []
            for number, (session, moment) in enumerate(zip(sessions, moments, strict=True)):
                await _until(self._start_s + moment)
                running.append(asyncio.create_task(self._session(session, number, self._start_s + moment)))
            if running:
                _, late = await asyncio.wait(running, timeout=grace_s)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)  # each records itself
        return outcome

    async def closed_loop(self, sessions: Iterable[Session], concurrency: int, seconds: float) -> Outcome:
        """`concurrency` at once for so many seconds, each followed by the next; those under way then are finished."""
        source = iter(enumerate(sessions))

        async def worker() -> None:
            while time.perf_counter() < self._start_s + seconds:
                following = next(source, None)
                if following is None:
                    return
                await self._session(following[1], following[0], time.perf_counter())

        async with self._measured() as outcome:
            self._start_s = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(concurrency)))
        return outcome

    # -- one session --------------------------------------------------------------------------------------------------
    async def _session(self, session: Session, number: int, intended_s: float) -> None:
        answers: list[str] = []
        for turn, make in enumerate(session.steps):
            step = make(answers)
            body = orjson.dumps(step.body)
            request = self._client.request("POST", step.path, body)
            record = Record(number, session.kind, intended_s - self._start_s, session=number, turn=turn)
            record.pictures, record.megapixels, record.repeats = step.pictures, step.megapixels, step.repeats
            record.sent_bytes = len(request)
            self._under_way += 1
            try:
                exchange = await self._client.send(request)
            except asyncio.CancelledError:
                record.error, record.ended_s = "not over when the run ended", time.perf_counter() - self._start_s
                self._keep(record)
                raise
            finally:
                self._under_way -= 1
            answers.append(read(exchange, record, start_s=self._start_s, intended_s=intended_s))
            self._keep(record)
            if record.error:
                return
            intended_s = time.perf_counter()  # the next turn is due when this one is read

    def _keep(self, record: Record) -> None:
        self._records.append(record)
        self._on_record(record)

    def _measured(self) -> "_Measured":
        return _Measured(self)


class _Measured:
    """Around a run: garbage collection off, processor time and loop lag taken."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._outcome = Outcome(run._records, 0.0, 0.0)
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Outcome:
        gc.collect()
        gc.disable()  # a collection would be taken for the server's latency
        self._cpu_s, self._wall_s = _cpu_s(), time.perf_counter()
        self._watch = asyncio.create_task(self._look())
        return self._outcome

    async def __aexit__(self, *_: object) -> None:
        assert self._watch is not None
        self._watch.cancel()
        gc.enable()
        outcome = self._outcome
        outcome.duration_s = time.perf_counter() - self._wall_s
        outcome.cpu_share = (_cpu_s() - self._cpu_s) / outcome.duration_s
        outcome.records.sort(key=lambda record: (record.intended_s, record.turn))

    async def _look(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LOOK_S)
            now = time.perf_counter()
            self._outcome.loop_lag_ms.append((now - before - LOOK_S) * 1000)
            self._outcome.in_flight.append((now - self._run._start_s, self._run._under_way))


async def _until(moment_s: float) -> None:
    """Never sooner: uvloop's timers are of whole milliseconds, and one that rings early would shorten a latency."""
    while (delay_s := moment_s - time.perf_counter()) > 0:
        await asyncio.sleep(delay_s)


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system
