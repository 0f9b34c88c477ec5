"""The parent's side of what all workers share: places, limits, and who works on which `Idempotency-Key`.

One `Office` for all, one `Desk` for each worker, so that what a dead worker held is given back.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from limits.aio.storage import MemoryStorage

from server.callers.admission import Admission, Visit
from server.callers.keys import Caller
from server.callers.leases import Leases, is_leased
from server.callers.limits import Counters
from server.callers.store import open_store
from server.errors import GatewayError
from server.settings import Settings
from server.workers.line import Line, LineEnded

MOST_CALLERS = 10_000
MOST_CLAIMS = 100_000


class Office:
    """What there is one of."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError: see `open_store`."""
        self.settings = settings
        self.admission = Admission(settings)
        self._store = open_store(settings)
        self.leases = Leases(settings, self._store)
        self.counters = Counters(MemoryStorage())
        self.claims: OrderedDict[tuple[str, str], Desk] = OrderedDict()
        """(caller, Idempotency-Key) -> the worker that has the answer or works on it; the oldest first."""
        self._callers: dict[tuple[Any, ...], Caller] = {}

    def caller(self, name: str, priority: Any, share: float, concurrent: int | None) -> Caller:
        """The caller with these, always the same object: admission looks anew at one that it has not seen."""
        told = (name, priority, share, concurrent)
        known = self._callers.get(told)
        if known is None:
            if len(self._callers) >= MOST_CALLERS:
                self._callers.clear()
            known = self._callers[told] = Caller(name, priority=priority, share=share, concurrent=concurrent)
        return known

    async def close(self) -> None:
        """What other gateways count for us is given back."""
        await self.leases.close()
        if self._store is not None:
            await self._store.close()


class Desk:
    """What one worker has of it."""

    def __init__(self, office: Office) -> None:
        self.line: Line | None = None
        """To the worker, once there is one."""
        self._office = office
        self._visits: dict[int, Visit] = {}
        """By the worker's own numbers."""
        self._waiting: dict[int, asyncio.Task[float]] = {}
        self._refused: dict[int, GatewayError] = {}
        """Visits that were not let in, until they ask for a place."""

    @property
    def visits(self) -> int:
        """Requests that the worker has under way."""
        return len(self._visits)

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """What the worker may ask."""
        return {
            "arrive": self._arrive,
            "come": self._come,
            "settle": self._settle,
            "wait": self._wait,
            "leave": self._leave,
            "count request": self._office.counters.request,
            "count tokens": self._office.counters.spend,
            "settle tokens": self._office.counters.settle,
            "claim": self._claim,
        }

    def close(self) -> None:
        """The worker is gone: what it held is free."""
        for number in list(self._visits):
            self._leave(number)
        for name in [name for name, desk in self._office.claims.items() if desk is self]:
            del self._office.claims[name]

    # -- places -------------------------------------------------------------------------------------------------------
    def _arrive(self, number: int, caller: list[Any], body_bytes: int) -> Coroutine[Any, Any, None] | None:
        visit = self._visit(number, caller, body_bytes)
        return self._lease(number, visit) if is_leased(visit.caller, self._office.settings) else None

    def _visit(self, number: int, caller: list[Any], body_bytes: int) -> Visit:
        visit = self._visits[number] = self._office.admission.arrive(self._office.caller(*caller), body_bytes)
        return visit

    async def _lease(self, number: int, visit: Visit) -> None:
        try:
            await self._office.leases.take(visit)
        except GatewayError:
            self._leave(number)
            raise

    def _come(self, number: int, caller: list[Any], body_bytes: int) -> None:
        try:
            self._visit(number, caller, body_bytes)
        except GatewayError as failure:
            self._refused[number] = failure

    def _settle(self, number: int, body_bytes: int) -> None:
        if (visit := self._visits.get(number)) is not None:
            visit.settle(body_bytes)

    def _wait(self, number: int, weight: int) -> "float | asyncio.Task[float]":
        if number in self._refused:
            raise self._refused.pop(number)
        visit = self._visits[number]
        if visit.enter(weight):
            return 0.0
        task = self._waiting[number] = asyncio.create_task(visit.wait(weight))
        task.add_done_callback(lambda _: self._waiting.pop(number, None))
        return task

    def _leave(self, number: int) -> None:
        visit = self._visits.pop(number, None)
        waiting = self._waiting.get(number)
        if visit is None:
            self._refused.pop(number, None)
            return
        if waiting is None:
            visit.leave()
        else:
            waiting.cancel()
            waiting.add_done_callback(lambda _: visit.leave())

    # -- repeated requests --------------------------------------------------------------------------------------------
    async def _claim(self, caller: str, key: str, fingerprint: str) -> str | None:
        """The answer that another worker has or gets; None where this one is to work on the request."""
        claims = self._office.claims
        while (owner := claims.get((caller, key))) is not None and owner is not self:
            assert owner.line is not None
            answer = None
            with contextlib.suppress(LineEnded):
                answer = await owner.line.call("answer of", caller, key, fingerprint)
            if answer is not None:
                assert isinstance(answer, str)
                return answer
            if claims.get((caller, key)) is owner:  # it knows nothing of it any more
                break
        claims[caller, key] = self
        claims.move_to_end((caller, key))
        while len(claims) > MOST_CLAIMS:
            claims.popitem(last=False)
        return None
