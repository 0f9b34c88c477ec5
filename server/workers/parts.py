"""What a process tells of itself so that any worker can answer for all: a `Part`, which is JSON.

A worker sends its part every few seconds unasked. What it counted stays counted when it is gone, as far as it was told.
"""

import time
from collections.abc import Iterable
from typing import Any

from server.callers.admission import Admission
from server.callers.places import places_of
from server.engines.pool import Pool
from server.seeing import metrics
from server.seeing.observer import MOST_ERRORS, ErrorSeen, Pulse, Seeing
from server.seeing.usage import Ledger
from server.sight import View, engine_card
from server.workers.merging import counted, engines_of, families_of, merged

Part = dict[str, Any]


def worker_part(seeing: Seeing, pool: Pool) -> Part:
    """Of a worker."""
    seeing.settle()
    engines = [{**engine_card(member), "stuck_s": member.engine.stuck_s} for member in pool.engines]
    return {
        "metrics": families_of(metrics.REGISTRY),
        "usage": seeing.ledger.written(),
        "pulse": seeing.pulse.written(),
        "errors": [list(error) for error in seeing.errors],
        "engines": engines,
    }


def parent_part(admission: Admission, started_s: float) -> Part:
    """Of the parent: places, queue and callers, which it has for all."""
    return {
        "metrics": families_of(metrics.REGISTRY),
        "places": places_of(admission),
        "uptime_s": time.monotonic() - started_s,
    }


def left_by(parts: Iterable[Part]) -> Part:
    """What stays of workers that are gone: what was counted, and nothing of how they were.

    >>> left_by([])["engines"]
    []
    """
    parts = list(parts)
    ledger, pulse, errors = _together(parts)
    return {
        "metrics": counted(merged(part["metrics"] for part in parts)),
        "usage": ledger.written(),
        "pulse": pulse.written(),
        "errors": [list(error) for error in errors],
        "engines": [],
    }


def view_of(parts: list[Part]) -> View:
    """How it goes, by the parts of all."""
    ledger, pulse, errors = _together(parts)
    parent = next(part for part in parts if "places" in part)
    engines = engines_of(part.get("engines", ()) for part in parts)
    for card in engines:
        card.pop("stuck_s", None)
    return View(parent["uptime_s"], ledger, pulse, errors, engines, parent["places"])


def stuck(parts: Iterable[Part], url: str) -> tuple[float, str]:
    """For how many seconds a worker has found an engine stuck, the longest of all, and what it says; (0, "") if none.

    >>> stuck([{"engines": [{"engine": "unix:/a", "stuck_s": 3.5, "reason": "it made no step"}]}], "unix:/a")
    (3.5, 'it made no step')
    """
    cards = [card for part in parts for card in part.get("engines", ()) if card["engine"] == url and card["stuck_s"]]
    return max(((card["stuck_s"], card["reason"] or "") for card in cards), default=(0.0, ""))


def _together(parts: Iterable[Part]) -> tuple[Ledger, Pulse, list[ErrorSeen]]:
    ledger, pulse, errors = Ledger(), Pulse(), list[ErrorSeen]()
    for part in parts:
        if "usage" in part:
            ledger.take_in(part["usage"])
            pulse.take_in(part["pulse"])
            errors += [ErrorSeen(*error) for error in part["errors"]]
    return ledger, pulse, sorted(errors)[-MOST_ERRORS:]
