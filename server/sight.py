"""All that `/metrics`, `/status`, `/v1/usage` and `/v1/engines` tell, wherever it comes from.

`Sight` is of one process that serves alone; where several do, `server.workers.crew` puts all of theirs together.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from server.callers.admission import Admission
from server.callers.places import places_of
from server.engines.member import Member
from server.engines.pool import Pool
from server.seeing import metrics
from server.seeing.observer import ErrorSeen, Pulse, Seeing
from server.seeing.usage import Ledger


@dataclass(frozen=True, slots=True)
class View:
    """How it goes at one moment."""

    uptime_s: float
    ledger: Ledger
    pulse: Pulse
    errors: Iterable[ErrorSeen]
    """Oldest first."""
    engines: list[dict[str, Any]]
    """As `engine_card` gives them."""
    places: dict[str, Any]
    """As `places_of` gives them."""


class Sights(Protocol):
    """Who can tell."""

    async def exposition(self) -> bytes:
        """All metrics, in Prometheus' text format."""

    async def view(self) -> View:
        """How it goes now."""

    async def engines(self) -> list[dict[str, Any]]:
        """The engines, as `engine_card` gives them."""

    async def drain(self, url: str, drained: bool) -> bool:
        """Send an engine nothing new, or requests again; whether there is one at `url`."""


class Sight:
    """One process tells of itself."""

    def __init__(self, seeing: Seeing, pool: Pool, admission: Admission) -> None:
        self._seeing = seeing
        self._pool = pool
        self._admission = admission
        self._started_s = time.monotonic()

    async def exposition(self) -> bytes:
        """See `Sights`."""
        self._seeing.settle()
        return metrics.exposition()

    async def view(self) -> View:
        """See `Sights`."""
        seeing = self._seeing
        seeing.settle()
        uptime_s = time.monotonic() - self._started_s
        engines, places = await self.engines(), places_of(self._admission)
        return View(uptime_s, seeing.ledger, seeing.pulse, seeing.errors, engines, places)

    async def engines(self) -> list[dict[str, Any]]:
        """See `Sights`."""
        return [engine_card(member) for member in self._pool.engines]

    async def drain(self, url: str, drained: bool) -> bool:
        """See `Sights`."""
        return self._pool.drain(url, drained)


def engine_card(member: Member) -> dict[str, Any]:
    """An engine as operators see it."""
    return {
        "engine": member.url,
        "ready": member.ready,
        "state": member.state,
        "reason": member.reason or None,
        "in_flight": member.in_flight,
        "models": sorted(member.engine.names),
    }
