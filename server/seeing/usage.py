"""What each caller has used: by day, path and model, for `GET /v1/usage`.

Counted since the server was started, for the last `MOST_DAYS` days. For bills and for several gateways there
are the counters `qvl_caller_*` in `/metrics`, which Prometheus keeps and adds up.
"""

import time
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from server.exchange import Exchange

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
        self._gone: dict[str, Amount] = {}
        """Of days that are no longer kept."""

    def add(self, exchange: Exchange, duration_s: float, now_s: float) -> None:
        """Count a finished request."""
        days = self._callers.get(exchange.caller)
        if days is None:
            days = self._callers[exchange.caller] = {}
        number = int(now_s) // DAY_S
        day = days.get(number)
        if day is None:
            day = self._new_day(exchange.caller, days, number)
        place = (exchange.route, exchange.model)
        amount = day.get(place)
        if amount is None:
            amount = day[place] = Amount()
        amount.requests += 1
        if not 0 < exchange.status < 400:
            amount.errors += 1
        amount.prompt_tokens += exchange.prompt_tokens
        amount.completion_tokens += exchange.completion_tokens
        amount.visual_tokens += exchange.visual_tokens
        amount.seconds += duration_s

    def _new_day(self, caller: str, days: dict[int, Day], number: int) -> Day:
        for old in [each for each in days if each <= number - MOST_DAYS]:
            for amount in days.pop(old).values():
                self._gone.setdefault(caller, Amount()).add(amount)
        return days.setdefault(number, {})

    def written(self) -> dict[str, Any]:
        """All of it as JSON, for another process of this server to `take_in`."""
        callers = [
            [caller, number, path, model, astuple(amount)]
            for caller, days in self._callers.items()
            for number, day in days.items()
            for (path, model), amount in day.items()
        ]
        gone = [[caller, astuple(amount)] for caller, amount in self._gone.items()]
        return {"since_s": self.since_s, "callers": callers, "gone": gone}

    def take_in(self, written: dict[str, Any]) -> None:
        """Count in what another ledger has `written`.

        >>> ledger = Ledger()
        >>> ledger.take_in({"since_s": 9.0, "callers": [], "gone": [["alice", [1, 0, 5, 3, 0, 0.5]]]})
        >>> ledger.take_in(ledger.written()); ledger.total("alice").prompt_tokens, ledger.since_s
        (10, 9.0)
        """
        self.since_s = min(self.since_s, written["since_s"])
        for caller, number, path, model, amount in written["callers"]:
            day = self._callers.setdefault(caller, {}).setdefault(number, {})
            day.setdefault((path, model), Amount()).add(Amount(*amount))
        for caller, amount in written["gone"]:
            self._gone.setdefault(caller, Amount()).add(Amount(*amount))

    def callers(self) -> list[str]:
        """Who has asked so far."""
        return sorted(self._callers)

    def total(self, caller: str) -> Amount:
        """All that a caller has used since the start."""
        total = Amount()
        total.add(self._gone.get(caller, Amount()))
        for day in self._callers.get(caller, {}).values():
            for amount in day.values():
                total.add(amount)
        return total

    def report(self, caller: str) -> dict[str, Any]:
        """What a caller has used, by day."""
        days = []
        for number, day in sorted(self._callers.get(caller, {}).items()):
            results = [
                {"path": path, "model": model or None, **_rounded(amount)}
                for (path, model), amount in sorted(day.items())
            ]
            date = datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
            days.append({"object": "usage.day", "date": date, "results": results})
        return {
            "object": "usage",
            "caller": caller,
            "since": int(self.since_s),
            "total": _rounded(self.total(caller)),
            "data": days,
        }


def _rounded(amount: Amount) -> dict[str, Any]:
    return {**asdict(amount), "seconds": round(amount.seconds, 3)}
