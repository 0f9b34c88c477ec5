"""What each caller has used: by day, path and model, for `GET /v1/usage`.

Counted in this process since it was started, for the last `MOST_DAYS` days. For bills and for several gateways there
are the counters `qvl_caller_*` in `/metrics`, which Prometheus keeps and adds up.
"""

import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from server.middleware import Exchange

MOST_DAYS = 31
DAY_S = 86400


@dataclass(slots=True)
class Amount:
    """What was used."""

    requests: int = 0
    errors: int = 0
    """Of the requests, those answered with a status of 400 or more, or not at all."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    visual_tokens: int = 0
    """Part of the prompts' tokens."""
    seconds: float = 0
    """From each request's head to its answer's end, added up."""

    def add(self, other: "Amount") -> None:
        """Count another amount in."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


Day = dict[tuple[str, str], Amount]
"""(path, model) -> what was used on one day."""


class Ledger:
    """Amounts by caller and day."""

    def __init__(self) -> None:
        self.since_s = time.time()
        self._callers: dict[str, dict[int, Day]] = {}

    def add(self, exchange: Exchange, duration_s: float) -> None:
        """Count a finished request."""
        number = int(time.time()) // DAY_S
        days = self._callers.setdefault(exchange.caller, {})
        day = days.get(number)
        if day is None:
            day = days[number] = {}
            for old in [each for each in days if each <= number - MOST_DAYS]:
                del days[old]
        place = (exchange.route, exchange.model)
        amount = day.get(place)
        if amount is None:
            amount = day[place] = Amount()
        amount.requests += 1
        amount.errors += not 0 < exchange.status < 400
        amount.prompt_tokens += exchange.prompt_tokens
        amount.completion_tokens += exchange.completion_tokens
        amount.visual_tokens += exchange.visual_tokens
        amount.seconds += duration_s

    def callers(self) -> list[str]:
        """Who has asked so far."""
        return sorted(self._callers)

    def report(self, caller: str) -> dict[str, Any]:
        """What a caller has used, by day."""
        total = Amount()
        days = []
        for number, day in sorted(self._callers.get(caller, {}).items()):
            results = []
            for (path, model), amount in sorted(day.items()):
                total.add(amount)
                results.append({"path": path, "model": model or None, **_rounded(amount)})
            date = datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
            days.append({"object": "usage.day", "date": date, "results": results})
        return {
            "object": "usage",
            "caller": caller,
            "since": int(self.since_s),
            "total": _rounded(total),
            "data": days,
        }


def _rounded(amount: Amount) -> dict[str, Any]:
    return {**asdict(amount), "seconds": round(amount.seconds, 3)}
