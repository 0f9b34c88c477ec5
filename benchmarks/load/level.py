"""A service level: what a request must keep to count as good, and how many must."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.figures import percentile
from benchmarks.load.record import Record

NAMES = ("ttft", "tpot", "itl", "e2e")
LEAST_SHARE = 0.95
MOST_ERRORS = 0.01


@dataclass(frozen=True)
class Level:
    """Milliseconds; None: not asked for. `itl` is the request's own 95th percentile between pieces."""

    ttft: float | None = None
    tpot: float | None = None
    itl: float | None = None
    e2e: float | None = None

    def is_good(self, record: Record) -> bool:
        """Whether a request met all that is asked for; one that failed never did."""
        if not record.ok:
            return False
        own = {
            "ttft": record.ttft_ms,
            "tpot": record.tpot_ms if record.output_tokens > 1 else 0.0,
            "itl": percentile(record.itl_ms, 0.95) if record.itl_ms else 0.0,
            "e2e": record.latency_ms,
        }
        for name in NAMES:
            asked, value = getattr(self, name), own[name]
            if asked is not None and (value is None or value > asked):
                return False
        return True

    def is_met(self, records: Sequence[Record]) -> bool:
        """Whether so many were good, and so few failed, that the level counts as kept."""
        if not records:
            return False
        good = sum(self.is_good(record) for record in records)
        failed = sum(not record.ok for record in records)
        return good >= LEAST_SHARE * len(records) and failed <= MOST_ERRORS * len(records)

    @property
    def words(self) -> str:
        asked = [f"{name} <= {getattr(self, name):g} ms" for name in NAMES if getattr(self, name) is not None]
        return f"{LEAST_SHARE:.0%} with {', '.join(asked) or 'an answer'}, at most {MOST_ERRORS:.0%} failed"


def read_level(text: str) -> Level:
    """From `ttft=2000,tpot=100`. Raises ValueError, naming what there is.

    >>> read_level("ttft=2000,e2e=30000").words
    '95% with ttft <= 2000 ms, e2e <= 30000 ms, at most 1% failed'
    >>> read_level("speed=3")
    Traceback (most recent call last):
    ValueError: 'speed=3' is no service level; write for example ttft=2000,tpot=100 (of ttft, tpot, itl, e2e)
    """
    asked: dict[str, float] = {}
    for entry in filter(None, text.split(",")):
        name, _, value = entry.partition("=")
        try:
            asked[name.strip()] = float(value)
        except ValueError:
            asked[name.strip()] = -1
        if name.strip() not in NAMES or asked[name.strip()] <= 0:
            raise ValueError(
                f"{entry!r} is no service level; write for example ttft=2000,tpot=100 (of {', '.join(NAMES)})"
            )
    return Level(**asked)
