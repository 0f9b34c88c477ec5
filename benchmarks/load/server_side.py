"""What the server says of itself: its stages between two looks at /metrics, its caches, its versions. All optional: a
server that says nothing is measured all the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.load.wire import Client

LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([-+0-9.eE]+|NaN|[-+]Inf)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

STAGES: Mapping[str, tuple[str, str | None]] = {
    # name here: (histogram, the label that splits it)
    "gateway": ("qvl_stage_seconds", "stage"),
    "gateway queue": ("qvl_queue_seconds", None),
    "gateway media": ("qvl_media_seconds", None),
    "gateway to first byte": ("qvl_time_to_first_byte_seconds", None),
    "engine queue": ("vllm:request_queue_time_seconds", None),
    "engine prefill, pictures seen": ("vllm:request_prefill_time_seconds", None),
    "engine to first token": ("vllm:time_to_first_token_seconds", None),
    "engine decode": ("vllm:request_decode_time_seconds", None),
}
CACHES = {
    "prefix cache": ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"),
    "picture cache": ("vllm:mm_cache_hits_total", "vllm:mm_cache_queries_total"),
}


@dataclass
class Look:
    """All samples of /metrics at one moment: (name, labels) -> value."""

    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def total(self, name: str, label: str | None = None) -> dict[str, float]:
        """Sums over all other labels, by the value of `label` ("" without one)."""
        found: dict[str, float] = {}
        for (sample, labels), value in self.samples.items():
            if sample == name:
                key = dict(labels).get(label, "") if label else ""
                found[key] = found.get(key, 0.0) + value
        return found


def read_metrics(text: str) -> Look:
    """Prometheus' text format.

    >>> read_metrics('a_sum{stage="x"} 2.5\\na_count{stage="x"} 5\\n# HELP a').total("a_sum", "stage")
    {'x': 2.5}
    """
    look = Look()
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            labels = tuple(sorted(LABEL.findall(match[2] or "")))
            look.samples[match[1], labels] = float(match[3])
    return look


async def look(*clients: Client) -> Look:
    """At every server named; what does not answer is left out."""
    both = Look()
    for client in clients:
        exchange = await client.get("/metrics")
        if exchange.status == 200 and not exchange.error:
            both.samples |= read_metrics(exchange.body.decode(errors="replace")).samples
    return both


def stages(before: Look, after: Look) -> dict[str, dict[str, float]]:
    """Mean milliseconds and count of each stage between two looks."""
    found: dict[str, dict[str, float]] = {}
    for name, (histogram, label) in STAGES.items():
        sums, counts = (_risen(before, after, f"{histogram}_{end}", label) for end in ("sum", "count"))
        for key, count in counts.items():
            if count > 0:
                whole = f"{name} {key}".strip()
                found[whole] = {"mean_ms": round(sums.get(key, 0.0) / count * 1000, 3), "count": count}
    return found


def caches(before: Look, after: Look) -> dict[str, float | None]:
    """Share of lookups that hit; None where there were none."""
    found: dict[str, float | None] = {}
    for name, (hits, queries) in CACHES.items():
        hit, asked = (sum(_risen(before, after, sample).values()) for sample in (hits, queries))
        found[name] = round(hit / asked, 4) if asked else None
    return found


async def about(client: Client, *engines: Client) -> dict[str, Any]:
    """Names and versions that the server tells; `engines` is what engines behind it say of themselves."""
    found = await _said(client)
    if engines:
        found["engines"] = [await _said(engine) for engine in engines]
    return found


async def _said(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, path in (("models", "/v1/models"), ("version", "/version")):
        exchange = await client.get(path)
        if exchange.status == 200 and not exchange.error:
            try:
                found[name] = orjson.loads(exchange.body)
            except orjson.JSONDecodeError:
                continue
        found["server"] = exchange.headers.get("server", found.get("server"))
    if isinstance(found.get("models"), dict):
        kept = ("id", "root", "max_model_len")
        models = found["models"].get("data") or []
        found["models"] = [{key: model.get(key) for key in kept} for model in models if isinstance(model, dict)]
    return found


def _risen(before: Look, after: Look, name: str, label: str | None = None) -> dict[str, float]:
    was = before.total(name, label)
    return {key: value - was.get(key, 0.0) for key, value in after.total(name, label).items()}
