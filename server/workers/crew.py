"""What a worker has of its parent, and so of its siblings."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server.answering.idempotency import Idempotency
from server.batches.service import Batches
from server.engines.guard import PR_SET_PDEATHSIG
from server.engines.pool import Pool
from server.seeing.observer import Seeing
from server.settings import Settings
from server.sight import View
from server.workers.entrance import Entrance
from server.workers.line import Line, LineEnded
from server.workers.merging import exposition, merged
from server.workers.parts import Part, view_of, worker_part

REPORT_S = 2.0
"""Between two reports to the parent: what was counted since the last one is lost with a worker that is killed."""


class Crew:
    """A worker's place among the others; also its `Sights`, which are of all of them."""

    def __init__(self, line: Line, entrance: Entrance, orders: dict[str, Any], handlers: dict[str, Any]) -> None:
        self.line = line
        self.entrance = entrance
        self.settings = Settings(**orders["settings"])
        self.engine_urls: list[str] = orders["engine_urls"]
        self.shared = None if orders["shared"] is None else Path(orders["shared"])
        self.works_off_batches: bool = orders["place"] == 0
        """One worker does, so that `batch_parallel` is what it says."""
        self._drained: list[str] = orders["drained"]
        self._handlers = handlers
        self._reports: asyncio.Task[None] | None = None
        self._seeing: Seeing | None = None
        self._pool: Pool | None = None

    def bind(self, seeing: Seeing, pool: Pool, idempotency: Idempotency, batches: Batches | None) -> None:
        """What the parent asks this worker for comes from these."""
        self._seeing, self._pool = seeing, pool
        self._handlers["part"] = self._part
        self._handlers["look"] = pool.look
        self._handlers["drain"] = pool.drain

        async def answer_of(*values: str) -> str | None:
            answer = await idempotency.answer_of(*values)
            return None if answer is None else answer.decode()

        self._handlers["answer of"] = answer_of
        if batches is not None:
            self._handlers["wake batches"] = batches.wake

    def start(self) -> None:
        """Report from now on; the engines are open."""
        assert self._pool is not None
        for url in self._drained:
            self._pool.drain(url)
        self._reports = asyncio.create_task(self._report_forever(), name="reports")

    async def close(self) -> None:
        """Report a last time."""
        if self._reports is not None:
            self._reports.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reports
            self.line.tell("report", self._part())

    async def claim(self, caller: str, key: str, fingerprint: str) -> bytes | None:
        """See `idempotency.Claim`."""
        answer: str | None = await self.line.call("claim", caller, key, fingerprint)
        return None if answer is None else answer.encode()

    def wake_batches(self) -> None:
        """Tell the worker that works them off."""
        self.line.tell("wake batches")

    # -- what all can tell --------------------------------------------------------------------------------------------
    async def exposition(self) -> bytes:
        """See `Sights`."""
        return exposition(merged(part["metrics"] for part in await self._parts()))

    async def view(self) -> View:
        """See `Sights`."""
        return view_of(await self._parts())

    async def engines(self) -> list[dict[str, Any]]:
        """See `Sights`."""
        return (await self.view()).engines

    async def drain(self, url: str, drained: bool) -> bool:
        """See `Sights`."""
        found: bool = await self.line.call("drain", url, drained)
        return found

    async def _parts(self) -> list[Part]:
        parts: list[Part] = await self.line.call("parts")
        return parts

    # -- what this one tells ------------------------------------------------------------------------------------------
    def _part(self) -> Part:
        assert self._seeing is not None
        assert self._pool is not None
        return worker_part(self._seeing, self._pool)

    async def _report_forever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            self.line.tell("report", self._part())


async def join(words: Sequence[str]) -> Crew:
    """A worker's start: `words` are the descriptors of line and door, and the parent's process id.

    Raises ValueError for words that are none of a parent's, LineEnded if it is gone.
    """
    line_at, door_at, parent = map(int, words)
    # A parent that is killed takes its workers along, as it does the engine: there would be nobody to ask for a place.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise LineEnded
    begun: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    handlers: dict[str, Any] = {"begin": begun.set_result}
    line = Line(handlers, on_end=_end_at_once)
    await line.open(socket.socket(fileno=line_at))
    entrance = Entrance(socket.socket(fileno=door_at), line)
    return Crew(line, entrance, await begun, handlers)


def _end_at_once() -> None:
    """The parent is gone, or has lost us: nobody can be let in any more, and the next worker is better off."""
    os._exit(1)
