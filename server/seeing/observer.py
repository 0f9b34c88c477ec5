"""What becomes known of a request when it is over: metrics, the line in the log, the caller's usage, its trace, and
what the status page shows of the last minutes. Nothing is done for it while a request runs.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from server.exchange import LEFT, Exchange
from server.seeing import metrics, stages
from server.seeing.logs import AccessLog, now
from server.seeing.telemetry import open_tracer
from server.seeing.usage import Ledger
from server.settings import Settings

BATCH = 64
BATCH_S = 0.25
"""Requests that are over wait so long, or until there are so many: what is done to many in a row is done from the
processor's cache, at half the cost."""
MOST_ERRORS = 50
SLOT_S = 10
SLOTS = 60
"""Ten minutes."""


class ErrorSeen(NamedTuple):
    """A request that failed for a reason which is the server's or the operator's business."""

    time: str
    request_id: str
    caller: str
    route: str
    status: int
    code: str


class Pulse:
    """Requests, errors and tokens of the last minutes, in slots of `SLOT_S` seconds.

    >>> pulse = Pulse()
    >>> pulse.add(25, error=True, tokens=7); pulse.add(41, error=False, tokens=3)
    >>> pulse.slots(now_s=45)[-3:]
    [(1, 1, 7), (0, 0, 0), (1, 0, 3)]
    """

    def __init__(self) -> None:
        self._slots: deque[tuple[int, list[int]]] = deque(maxlen=SLOTS)

    def add(self, now_s: float, *, error: bool, tokens: int) -> None:
        """Count a request."""
        number = int(now_s) // SLOT_S
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append((number, [0, 0, 0]))
        counts = self._slots[-1][1]
        counts[0] += 1
        counts[1] += error
        counts[2] += tokens

    def written(self) -> list[tuple[int, list[int]]]:
        """All of it as JSON, for another process of this machine to `take_in`: they have one clock."""
        return list(self._slots)

    def take_in(self, written: Iterable[tuple[int, list[int]]]) -> None:
        """Count in what others have `written`, one after the other.

        >>> pulse = Pulse(); pulse.take_in([(4, [1, 0, 3])]); pulse.take_in([(2, [1, 1, 7]), (4, [2, 0, 1])])
        >>> pulse.slots(now_s=45)[-3:]
        [(1, 1, 7), (0, 0, 0), (3, 0, 4)]
        """
        known = dict(self._slots)
        for number, counts in written:
            known[number] = [sum(pair) for pair in zip(counts, known.get(number, (0, 0, 0)), strict=True)]
        self._slots = deque(sorted(known.items()), maxlen=SLOTS)

    def slots(self, now_s: float) -> list[tuple[int, int, int]]:
        """(requests, errors, tokens) of each slot, the oldest first."""
        last = int(now_s) // SLOT_S
        known = {number: (counts[0], counts[1], counts[2]) for number, counts in self._slots}
        return [known.get(number, (0, 0, 0)) for number in range(last - SLOTS + 1, last + 1)]


class Seeing:
    """Sees every request end."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError where traces are wanted and cannot be made."""
        self.ledger = Ledger()
        self.pulse = Pulse()
        self.errors: deque[ErrorSeen] = deque(maxlen=MOST_ERRORS)
        self._log = AccessLog(enabled=settings.access_log, form=settings.log_format)
        self._tracer = open_tracer(settings)
        self.needs_task = self._tracer is not None or (settings.access_log and settings.log_format == "json")
        self._over: list[Exchange] = []
        metrics.CALLER_REQUESTS.read = self._caller_requests
        metrics.CALLER_TOKENS.read = self._caller_tokens

    def begin(self, exchange: Exchange) -> None:
        """See `Observer.begin`."""
        if self.needs_task:
            exchange.stages = stages.noted()
        if self._tracer is not None:
            exchange.trace = self._tracer.begin(exchange.headers)

    def finish(self, exchange: Exchange) -> None:
        """See `Observer.finish`. What is to be known of it is found out a little later, of many together."""
        exchange.over_s = time.perf_counter()
        if exchange.quota is not None:
            prompt, completion = exchange.tally.usage() if exchange.tally is not None else (0, 0)
            exchange.quota.settle(exchange.prompt_tokens + exchange.completion_tokens + prompt + completion)
        if not self._over:
            asyncio.get_running_loop().call_later(BATCH_S, self.settle)
        self._over.append(exchange)
        if len(self._over) >= BATCH:
            self.settle()

    def settle(self) -> None:
        """Find out what is to be known of the requests that are over."""
        over, self._over = self._over, []
        now_s = time.time()
        for exchange in over:
            self._settle(exchange, now_s)

    def _settle(self, exchange: Exchange, now_s: float) -> None:
        duration_s = exchange.over_s - exchange.started_s
        route, status = exchange.route, exchange.status or LEFT
        if exchange.tally is not None:
            exchange.count(*exchange.tally.usage())
            self._count_stream(exchange)
        metrics.REQUESTS.add((route, str(status)))
        metrics.DURATION_S.observe(route, duration_s)
        if exchange.first_byte_s:
            metrics.FIRST_BYTE_S.observe(route, exchange.first_byte_s - exchange.started_s)
        self.ledger.add(exchange, duration_s, now_s)
        self.pulse.add(exchange.over_s, error=status >= 500, tokens=exchange.prompt_tokens + exchange.completion_tokens)
        if status >= 500 or status == 429:
            seen = ErrorSeen(now(), exchange.id.decode(), exchange.caller, route, status, exchange.code)
            self.errors.append(seen)
        self._log.add(exchange, duration_s)
        if self._tracer is not None:
            self._tracer.finish(exchange, duration_s)

    def close(self) -> None:
        """Write and send what is left."""
        self.settle()
        self._log.flush()
        if self._tracer is not None:
            self._tracer.close()

    def _count_stream(self, exchange: Exchange) -> None:
        metrics.FIRST_TOKEN_S.observe(exchange.route, exchange.first_byte_s - exchange.started_s)
        if exchange.completion_tokens > 1:
            spent_s = exchange.over_s - exchange.first_byte_s
            metrics.TOKEN_S.observe(exchange.route, spent_s / (exchange.completion_tokens - 1))

    def _caller_requests(self) -> Iterator[tuple[tuple[str, ...], float]]:
        self.settle()
        for caller in self.ledger.callers():
            yield (caller,), self.ledger.total(caller).requests

    def _caller_tokens(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for caller in self.ledger.callers():
            total = self.ledger.total(caller)
            yield (caller, "prompt"), total.prompt_tokens
            yield (caller, "completion"), total.completion_tokens
            yield (caller, "visual"), total.visual_tokens
