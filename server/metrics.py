"""Counters and histograms, defined once. Children are kept, because looking one up costs more than adding to it."""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

REQUESTS = Counter("qvl_requests", "Requests answered, by path and status.", ["path", "status"], registry=REGISTRY)
IN_FLIGHT = Gauge("qvl_requests_in_flight", "Requests being worked on.", registry=REGISTRY)
ENGINE_READY = Gauge("qvl_engine_ready", "1 when the engine takes requests.", ["engine"], registry=REGISTRY)
DURATION_S = Histogram(
    "qvl_request_duration_seconds",
    "From a request's first byte to its answer's last.",
    ["path"],
    registry=REGISTRY,
    buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300),
)
FIRST_BYTE_S = Histogram(
    "qvl_time_to_first_byte_seconds",
    "From a request's first byte to its answer's first.",
    ["path"],
    registry=REGISTRY,
    buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60),
)
MEDIA_S = Histogram(
    "qvl_media_seconds",
    "Fetching and decoding the media of one request.",
    registry=REGISTRY,
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
VISUAL_TOKENS = Counter("qvl_visual_tokens", "Visual tokens sent to engines.", registry=REGISTRY)
STRIPPED = Counter("qvl_stripped_fields", "Fields of requests that a client must not steer.", registry=REGISTRY)

requests = lru_cache(maxsize=1024)(lambda path, status: REQUESTS.labels(path, status))
duration_s = lru_cache(maxsize=64)(lambda path: DURATION_S.labels(path))
first_byte_s = lru_cache(maxsize=64)(lambda path: FIRST_BYTE_S.labels(path))


def exposition() -> bytes:
    """Everything above, in Prometheus' text format."""
    return generate_latest(REGISTRY)
