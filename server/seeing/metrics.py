"""Counters and histograms, defined once.

Written by the event loop alone, so they need no locks: prometheus_client's own cost 5 us a request here, these 1. Its
library still writes the exposition.

A counter is shown at 0 for the label values that are known beforehand: Prometheus sees no increase in a series that
begins at 1, and would miss the first failure of each kind. Those of `qvl_warnings` and of callers begin when they come.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()


class Counter(Collector):
    """A count for each combination of label values; `known` are the values of a single label that begin at 0.

    >>> count = Counter("doctest_things", "Things.", ["kind"], CollectorRegistry(), known=("a", "b"))
    >>> count.add(("a",), 2); count.values
    {('a',): 2, ('b',): 0}
    """

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: list[str],
        registry: CollectorRegistry = REGISTRY,
        known: Iterable[str] = (),
    ) -> None:
        self.values: dict[tuple[str, ...], float] = {(value,): 0 for value in known} if labels else {(): 0}
        self._described = (name, help_text, labels)
        registry.register(self)

    def add(self, labels: tuple[str, ...] = (), amount: float = 1) -> None:
        """Count `amount` more."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def begin(self, labels: tuple[str, ...]) -> None:
        """Show it, at 0 while nothing was counted."""
        self.values.setdefault(labels, 0)

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        name, help_text, labels = self._described
        family = CounterMetricFamily(name, help_text, labels=labels)
        for values, count in self.values.items():
            family.add_metric(values, count)
        yield family


class Histogram(Collector):
    """How values are spread, for each value of one label.

    >>> spread = Histogram("doctest_seconds", "Times.", "path", (0.1, 1), CollectorRegistry())
    >>> spread.observe("/x", 0.5); spread.counts
    {'/x': [0, 1, 0]}
    """

    def __init__(
        self,
        name: str,
        help_text: str,
        label: str,
        bounds: tuple[float, ...],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self.counts: dict[str, list[int]] = {}
        self.sums: dict[str, float] = {}
        self._bounds = bounds
        self._described = (name, help_text, [label])
        registry.register(self)

    def observe(self, label: str, value: float) -> None:
        """Note one value."""
        counts = self.counts.get(label)
        if counts is None:
            counts = self.counts[label] = [0] * (len(self._bounds) + 1)
            self.sums[label] = 0
        counts[bisect_left(self._bounds, value)] += 1
        self.sums[label] += value

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        name, help_text, labels = self._described
        family = HistogramMetricFamily(name, help_text, labels=labels)
        for label, counts in self.counts.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric([label], buckets, self.sums[label])
        yield family


class Gauge(Collector):
    """Values read at the moment they are asked for."""

    def __init__(self, name: str, help_text: str, labels: list[str], registry: CollectorRegistry = REGISTRY) -> None:
        self.read: Callable[[], Iterator[tuple[tuple[str, ...], float]]] = lambda: iter(())
        self._described = (name, help_text, labels)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        name, help_text, labels = self._described
        family = GaugeMetricFamily(name, help_text, labels=labels)
        for values, value in self.read():
            family.add_metric(values, value)
        yield family


class Totals(Gauge):
    """Values that only grow, kept elsewhere and read at the moment they are asked for."""

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        name, help_text, labels = self._described
        family = CounterMetricFamily(name, help_text, labels=labels)
        for values, value in self.read():
            family.add_metric(values, value)
        yield family


SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)

TOKEN_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5, 1, 2)

REQUESTS = Counter("qvl_requests", "Requests answered.", ["path", "status"])
DURATION_S = Histogram(
    "qvl_request_duration_seconds", "From a request's head to its answer's last byte.", "path", SECONDS
)
FIRST_BYTE_S = Histogram(
    "qvl_time_to_first_byte_seconds", "From a request's head to its answer's first byte.", "path", SECONDS
)
MEDIA_S = Histogram("qvl_media_seconds", "Fetching and decoding the media of one request.", "path", SECONDS)
CALLER_REQUESTS = Totals("qvl_caller_requests", "Requests answered, by the name of the key.", ["caller"])
CALLER_TOKENS = Totals(
    "qvl_caller_tokens",
    "Tokens of prompts and answers, visual tokens among the prompts', by the name of the key.",
    ["caller", "kind"],
)
LOOPS = Counter("qvl_loops_cut", "Answers that went round and were cut off.", ["path"])
WARNINGS = Counter(
    "qvl_warnings", "What was repaired, clipped, dropped or cut in answers, by its code.", ["path", "code"]
)
FIRST_TOKEN_S = Histogram(
    "qvl_time_to_first_token_seconds", "Streams: from a request's head to its first token.", "path", SECONDS
)
TOKEN_S = Histogram(
    "qvl_time_per_output_token_seconds",
    "Streams: from the first token to the last, by token.",
    "path",
    TOKEN_SECONDS,
)
STAGE_S = Histogram(
    "qvl_stage_seconds",
    "Parts of requests: queue, fetch and decode of media, engine, read of its answer.",
    "stage",
    SECONDS,
)
VISUAL_TOKENS = Counter("qvl_visual_tokens", "Visual tokens sent to engines.", ["path"])
STRIPPED = Counter("qvl_stripped_fields", "Fields of requests that a client must not steer.", ["path"])
IN_FLIGHT = Gauge("qvl_requests_in_flight", "Requests being worked on.", [])
WAITING = Gauge("qvl_requests_waiting", "Requests waiting for a place.", [])
PLACES = Gauge("qvl_places", "Places that requests take, and those there are.", ["kind"])
BODY_BYTES = Gauge("qvl_request_body_bytes", "Bytes of the bodies of requests under way or waiting.", [])
QUEUE_S = Histogram("qvl_queue_seconds", "Waits for a place, of those that had to.", "priority", SECONDS)
REFUSED = Counter(
    "qvl_refused",
    "Requests turned away for want of room or share, by what was wanting.",
    ["reason"],
    known=("requests", "tokens", "concurrent", "share", "full", "bytes", "limit store"),
)
ENGINE_READY = Gauge("qvl_engine_ready", "1 when the engine takes requests.", ["engine"])
ENGINE_IN_FLIGHT = Gauge("qvl_engine_requests_in_flight", "Our requests that the engine has not finished.", ["engine"])
ENGINE_STATE = Gauge("qvl_engine_state", "1 for the state that the engine is in.", ["engine", "state"])
EJECTIONS = Counter(
    "qvl_engine_ejections",
    "Engines that stopped to be ready, by what they then were.",
    ["state"],
    known=("down", "stuck", "leaving"),
)
RETRIES = Counter(
    "qvl_engine_retries",
    "Requests asked of another engine, by the first one's failure.",
    ["code"],
    known=("engine_unavailable", "engine_failed", "overloaded"),
)
CUT = Counter(
    "qvl_streams_cut",
    "Streams that their engine broke off, and what became of them.",
    ["outcome"],
    known=("resumed", "ended"),
)
AFFINITY = Counter(
    "qvl_affinity",
    "Requests with pictures: sent to the engine that holds them, new to all, or sent elsewhere for its load.",
    ["outcome"],
    known=("hit", "new", "overloaded"),
)

WORKERS = Gauge("qvl_workers", "Workers that take connections, where there are several.", [])
WORKER_DEATHS = Counter("qvl_worker_deaths", "Workers that ended unasked.", [])


WATCHED = ("200", "400", "429", "499", "500", "502", "503", "504")
"""Statuses that begin at 0 on every path; the alerts name the rates of these."""


def begin(chats: Iterable[str], tasks: Iterable[str]) -> None:
    """Shows the counters of these paths, at 0."""
    chats, tasks = tuple(chats), tuple(tasks)
    for path in chats + tasks:
        for status in WATCHED:
            REQUESTS.begin((path, status))
        VISUAL_TOKENS.begin((path,))
    for path in chats:
        STRIPPED.begin((path,))
    for path in tasks:
        LOOPS.begin((path,))


def exposition() -> bytes:
    """Everything above, in Prometheus' text format."""
    return generate_latest(REGISTRY)
