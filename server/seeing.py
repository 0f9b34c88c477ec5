"""What becomes known of a request when it is over: metrics, the line in the log, the caller's usage, its trace, and
what the status page shows of the last minutes. One call for each request, and nothing while it runs.
"""

import time
from collections import deque
from typing import NamedTuple

from server import metrics
from server.logs import AccessLog, now
from server.middleware import LEFT, Exchange
from server.settings import Settings
from server.telemetry import open_tracer
from server.usage import Ledger

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

    def begin(self, exchange: Exchange) -> None:
        """See `Observer.begin`."""
        if self._tracer is not None:
            exchange.trace = self._tracer.begin(exchange.headers)

    def finish(self, exchange: Exchange) -> None:
        """See `Observer.finish`."""
        over_s = time.perf_counter()
        duration_s = over_s - exchange.started_s
        if exchange.tally is not None:
            exchange.count(*exchange.tally.usage())
            self._count_stream(exchange, over_s)
        if exchange.quota is not None:
            exchange.quota.settle(exchange.prompt_tokens + exchange.completion_tokens)
        status = exchange.status or LEFT
        metrics.REQUESTS.add((exchange.route, str(status)))
        metrics.DURATION_S.observe(exchange.route, duration_s)
        if exchange.first_byte_s:
            metrics.FIRST_BYTE_S.observe(exchange.route, exchange.first_byte_s - exchange.started_s)
        self._count_caller(exchange, duration_s)
        self.pulse.add(over_s, error=status >= 500, tokens=exchange.prompt_tokens + exchange.completion_tokens)
        if status >= 500 or status == 429:
            seen = ErrorSeen(now(), exchange.id.decode(), exchange.caller, exchange.route, status, exchange.code)
            self.errors.append(seen)
        self._log.add(exchange, duration_s)
        if self._tracer is not None:
            self._tracer.finish(exchange, duration_s)

    def close(self) -> None:
        """Write and send what is left."""
        self._log.flush()
        if self._tracer is not None:
            self._tracer.close()

    def _count_stream(self, exchange: Exchange, over_s: float) -> None:
        metrics.FIRST_TOKEN_S.observe(exchange.route, exchange.first_byte_s - exchange.started_s)
        if exchange.completion_tokens > 1:
            spent_s = over_s - exchange.first_byte_s
            metrics.TOKEN_S.observe(exchange.route, spent_s / (exchange.completion_tokens - 1))

    def _count_caller(self, exchange: Exchange, duration_s: float) -> None:
        caller = exchange.caller
        self.ledger.add(exchange, duration_s)
        metrics.CALLER_REQUESTS.add((caller,))
        for kind, tokens in (
            ("prompt", exchange.prompt_tokens),
            ("completion", exchange.completion_tokens),
            ("visual", exchange.visual_tokens),
        ):
            if tokens:
                metrics.CALLER_TOKENS.add((caller, kind), tokens)
