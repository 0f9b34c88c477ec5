"""A set of measurements against one server: its inputs made, each point run, summed up and written down."""

import asyncio
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.load import server_side
from benchmarks.load.arrivals import poisson
from benchmarks.load.environment import gpus
from benchmarks.load.level import Level
from benchmarks.load.record import Record
from benchmarks.load.run import Run
from benchmarks.load.summary import About, summary
from benchmarks.load.wire import Client
from benchmarks.load.workloads import Session, Shape, sessions

CLOSED_LOOP_MOST = 4096
"""Sessions made for a closed loop; when they are used up it begins again, which a server's caches notice."""
ALONE, SPARE = 2, 1.3
"""Sessions sent alone to see how long one takes; sessions made over those that a server that fast would answer."""


@dataclass
class Target:
    """The server, and what is known of it."""

    client: Client
    metrics: Sequence[Client]
    """Where /metrics is asked: the server itself, and engines behind it."""
    label: str = ""
    gpus: int = 0
    price_per_hour: float | None = None


@dataclass
class Series:
    """Everything that was measured, in order."""

    points: list[dict[str, Any]] = field(default_factory=list)
    records: list[list[Record]] = field(default_factory=list)


class Measuring:
    """Runs points of one workload."""

    def __init__(
        self,
        target: Target,
        workload: str,
        shape: Shape,
        *,
        seconds: float,
        warmup_s: float,
        level: Level,
        folder: Path,
    ) -> None:
        self.series = Series()
        self.target, self._workload, self._shape = target, workload, shape
        self._seconds, self._warmup_s, self._level, self._folder = seconds, warmup_s, level, folder
        self._fresh = itertools.count(1)  # the 0th is what `warm` sends
        self._alone_s: float | None = None
        self._console = Console(stderr=True)

    async def at_rate(self, rate: float) -> dict[str, Any]:
        """Open loop: Poisson arrivals."""
        moments = poisson(rate, self._warmup_s + self._seconds, self._shape.seed)
        made = self._made(len(moments))
        with self._progress(f"{rate:g} requests/s", len(moments)) as tick:
            return await self._point(lambda run: run.open_loop(made, moments), tick, rate=rate)

    async def at_concurrency(self, concurrency: int) -> dict[str, Any]:
        """Closed loop."""
        whole_s = self._warmup_s + self._seconds
        made = self._made(await self._most(concurrency, whole_s))
        taken = itertools.count()
        source = (made[number % len(made)] for number in taken)
        with self._progress(f"{concurrency} at once", None) as tick:
            point = await self._point(
                lambda run: run.closed_loop(source, concurrency, whole_s), tick, concurrency=concurrency
            )
        point["inputs_used_again"] = max(0, next(taken) - len(made))
        return point

    async def _most(self, concurrency: int, seconds: float) -> int:
        """Sessions that a closed loop can end within `seconds`: none ends sooner than one alone does."""
        if self._alone_s is None:
            times_s = []
            for session in self._made(ALONE):
                outcome = await Run(self.target.client).open_loop([session], [0.0])
                times_s.append(outcome.duration_s)
            self._alone_s = min(times_s)
        return min(CLOSED_LOOP_MOST, concurrency + math.ceil(SPARE * concurrency * seconds / self._alone_s))

    async def _point(self, start: Callable[[Run], Any], tick: Callable[[Record], None], **how: Any) -> dict[str, Any]:
        target = self.target
        before = await server_side.look(*target.metrics)
        outcome = await start(Run(target.client, tick))
        clocks = [gpu["clocks.sm"] for gpu in gpus()]  # still those of the work: idle ones say nothing
        after = await server_side.look(*target.metrics)
        about = About(
            self._shape.model,
            label=target.label,
            window_s=(self._warmup_s, self._warmup_s + self._seconds),
            gpus=target.gpus,
            level=self._level,
            price_per_hour=target.price_per_hour,
            **how,
        )
        point = summary(outcome, about)
        point["workload"], point["window_s"] = self._workload, list(about.window_s)
        point["server_stages"], point["caches"] = server_side.stages(before, after), server_side.caches(before, after)
        point["gpu_clocks"] = clocks
        self._write(outcome.records, len(self.series.points))
        self.series.points.append(point)
        self.series.records.append(outcome.records)
        return point

    def _made(self, count: int) -> list[Session]:
        """Sessions that no earlier point has sent: another seed for each point."""
        shape = replace(self._shape, seed=self._shape.seed + 7919 * next(self._fresh))
        self._console.print(f"making {count} {self._workload} sessions", style="dim")
        return sessions(self._workload, shape, count)

    def _write(self, records: Sequence[Record], number: int) -> None:
        with (self._folder / f"requests-{number}.jsonl").open("wb") as file:
            file.writelines(record.line() for record in records)

    def _progress(self, what: str, total: int | None) -> "_Bar":
        return _Bar(self._console, what, total)


class _Bar:
    """A progress bar that is ticked by records."""

    def __init__(self, console: Console, what: str, total: int | None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, refresh_per_second=2, disable=not sys.stderr.isatty())
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> Callable[[Record], None]:
        self._progress.start()
        return lambda _: self._progress.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


async def warm(client: Client, made: Sequence[Session]) -> str:
    """One request, so that compilers and caches are warm; what was wrong with it, "" if nothing."""
    step = made[0].steps[0]([])
    exchange = await client.send(client.request("POST", step.path, orjson.dumps(step.body)))
    if exchange.error or exchange.status != 200:
        return exchange.error or f"status {exchange.status}: {exchange.body[:300].decode(errors='replace')}"
    return ""


async def drained(target: Target, least_s: float = 0.5) -> None:
    """A breath between two points, so that one does not pay for the other."""
    await asyncio.sleep(least_s)
