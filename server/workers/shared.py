"""The worker's side of what all workers share; `desk.py` is the other end. The parent decides, in the order in which it
is asked, so limits, shares and turns are those of one process.

A chat request of few bytes tells that it is here and asks for its places in one go, one round trip in all: where it may
not be here, it learns so when it asks. One of many bytes, or of a key with limits a minute, asks before its body is
read.
"""

import itertools
import time
from typing import Any

from server.callers.admission import Visit
from server.callers.auth import Auth
from server.callers.gate import Gate
from server.callers.keys import Caller
from server.callers.limits import Left, Limiter
from server.callers.weighing import declared_bytes
from server.exchange import Exchange
from server.settings import Settings
from server.workers.line import Line

SMALL_BYTES = 65536
"""Bodies up to it are read before it is known whether they may be."""


class SharedVisit(Visit):
    """A visit that the parent keeps."""

    __slots__ = ("_line", "_number")

    def __init__(self, line: Line, number: int, caller: Caller, body_bytes: int) -> None:
        self._line = line
        self._number = number
        self.caller = caller
        self.bytes = body_bytes
        self.weight = 0
        self.entered_s = time.monotonic()

    def settle(self, body_bytes: int) -> None:
        """See `Visit.settle`."""
        if body_bytes != self.bytes:
            self.bytes = body_bytes
            self._line.tell("settle", self._number, body_bytes)

    def enter(self, weight: int) -> bool:
        """Nothing can be had without asking."""
        return False

    async def wait(self, weight: int) -> float:
        """See `Visit.wait`."""
        waited_s: float = await self._line.call("wait", self._number, weight)
        self.weight = weight
        return waited_s

    def leave(self) -> None:
        """See `Visit.leave`."""
        self._line.tell("leave", self._number)


class SharedGate(Gate):
    """The gate of a worker."""

    decides_here = False

    def __init__(self, settings: Settings, auth: Auth, limiter: Limiter, line: Line) -> None:
        super().__init__(settings, auth, limiter)
        self._line = line
        self._numbers = itertools.count(1)

    def at_once(self, exchange: Exchange, caller: Caller) -> Visit | None:
        """See `Gate.at_once`; a refusal is raised by `admit`."""
        body_bytes = declared_bytes(exchange.headers, self._settings.max_body_bytes)
        if body_bytes > SMALL_BYTES or self._is_asked_for(caller):
            return None
        number = next(self._numbers)
        self._line.tell("come", number, _told(caller), body_bytes)
        return SharedVisit(self._line, number, caller, body_bytes)

    async def arrive(self, exchange: Exchange, caller: Caller) -> Visit:
        """See `Gate.arrive`."""
        if self._limiter.limits(caller):
            exchange.quota = await self._limiter.arrive(caller)
        number, body_bytes = next(self._numbers), declared_bytes(exchange.headers, self._settings.max_body_bytes)
        try:
            await self._line.call("arrive", number, _told(caller), body_bytes)
        except BaseException:  # who asks has left meanwhile
            self._line.tell("leave", number)
            raise
        return SharedVisit(self._line, number, caller, body_bytes)


class SharedCounters:
    """The counters of limits, which the parent keeps; see `Counters`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def request(self, name: str, limit: int) -> tuple[bool, Left]:
        """See `Counters.request`."""
        return _left(await self._line.call("count request", name, limit))

    async def spend(self, name: str, limit: int, tokens: int) -> tuple[bool, Left]:
        """See `Counters.spend`."""
        return _left(await self._line.call("count tokens", name, limit, tokens))

    async def settle(self, name: str, limit: int, tokens: int) -> None:
        """See `Counters.settle`."""
        await self._line.call("settle tokens", name, limit, tokens)


def _told(caller: Caller) -> tuple[Any, ...]:
    """What admission looks at of a caller; see `Office.caller`."""
    return caller.name, caller.priority, caller.share, caller.concurrent


def _left(answer: Any) -> tuple[bool, Left]:
    granted, left = answer
    return granted, Left(**left)
