"""One measurement in one JSON object: keys as `vllm bench serve` has them, and what it does not say."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.figures import LEAST_FOR_P99, Spread, percentile, trend
from benchmarks.load.level import Level
from benchmarks.load.record import Record
from benchmarks.load.run import Outcome

LATE_MS, BUSY = 5.0, 0.85
"""A client whose own loop is so late one time in a hundred, or that takes so much of its core, may be the limit."""
SURE = 4.0
"""A number of requests under way that rises with a trend so sure is a queue that grows."""
GROWN = 1.5
STAGES = ("lag_ms", "connect_ms", "upload_ms", "head_ms")


@dataclass(frozen=True)
class About:
    """What the figures are divided by and compared with."""

    model: str
    backend: str = "openai-chat"
    label: str = ""
    rate: float | None = None
    """Requests a second of an open loop."""
    concurrency: int | None = None
    """Of a closed loop."""
    window_s: tuple[float, float] = (0.0, 0.0)
    """Requests meant to be sent within it count; its length is what throughput is divided by."""
    gpus: int = 0
    level: Level = field(default_factory=Level)
    price_per_hour: float | None = None


def summary(outcome: Outcome, about: About) -> dict[str, Any]:
    """All figures of one measurement."""
    start_s, end_s = about.window_s
    counted = [record for record in outcome.records if start_s <= record.intended_s < end_s]
    good = [record for record in counted if record.ok]
    seconds = end_s - start_s
    spreads = {
        "ttft": Spread([record.ttft_ms for record in good if record.ttft_ms is not None]),
        "tpot": Spread([record.tpot_ms for record in good if record.tpot_ms is not None]),
        "itl": Spread([gap for record in good for gap in record.itl_ms]),
        "e2el": Spread([record.latency_ms for record in good]),
    }
    tokens_out, tokens_in = _tokens_within(outcome.records, start_s, end_s), sum(each.prompt_tokens for each in good)
    ended = [record for record in outcome.records if record.ok and start_s <= record.ended_s < end_s]
    throughput = len(ended) / seconds
    found: dict[str, Any] = {
        "endpoint_type": about.backend,
        "backend": about.backend,
        "label": about.label,
        "model_id": about.model,
        "num_prompts": len(counted),
        "request_rate": about.rate if about.rate is not None else "inf",
        "burstiness": 1.0 if about.rate is not None else None,
        "max_concurrency": about.concurrency,
        "duration": round(seconds, 3),
        "completed": len(good),
        "failed": len(counted) - len(good),
        "total_input_tokens": tokens_in,
        "total_output_tokens": sum(record.output_tokens for record in good),
        "request_throughput": round(throughput, 4),
        "request_goodput": round(sum(about.level.is_good(record) for record in counted) / seconds, 4),
        "output_throughput": round(tokens_out / seconds, 3),
        "total_token_throughput": round((tokens_out + sum(each.prompt_tokens for each in ended)) / seconds, 3),
        "max_concurrent_requests": max((count for _, count in outcome.in_flight), default=0),
    }
    for name, spread in spreads.items():
        found |= spread.keys(name)
    pictures = sum(record.pictures for record in ended) / seconds
    return found | {
        "confidence_95": {
            key: value for name, each in spreads.items() for key, value in each.bounds_keys(name).items()
        },
        "p99_needs": LEAST_FOR_P99,
        "level": about.level.words,
        "level_met": about.level.is_met(counted),
        "pictures_per_s": round(pictures, 4),
        "megapixels_per_s": round(sum(record.megapixels for record in ended) / seconds, 4),
        "per_gpu": _per_gpu(throughput, tokens_out / seconds, pictures, about.gpus),
        "cost_per_1000": _cost(throughput, about.price_per_hour),
        "errors": dict(Counter(record.error.split(":")[0] for record in counted if record.error).most_common(8)),
        "client_stages_ms": {name: _means(good, name) for name in STAGES},
        "repeats": sum(record.repeats for record in counted),
        "saturated": is_saturated(outcome, start_s, end_s),
        "client": client(outcome, counted),
    }


def is_saturated(outcome: Outcome, start_s: float, end_s: float) -> bool:
    """Whether more and more requests were under way, surely: the server fell behind."""
    series = [(time, float(count)) for time, count in outcome.in_flight if start_s <= time < end_s]
    third = len(series) // 3
    if third < 5 or trend(series) < SURE:
        return False
    first, last = (statistics.fmean(count for _, count in part) for part in (series[:third], series[-third:]))
    return last > GROWN * max(first, 1.0)


def client(outcome: Outcome, counted: Sequence[Record]) -> dict[str, Any]:
    """Whether the client itself was the limit: then the figures are its own, not the server's."""
    late_ms = percentile(outcome.loop_lag_ms, 0.99) if outcome.loop_lag_ms else 0.0
    sent_late_ms = percentile([record.lag_ms for record in counted if record.turn == 0], 0.99) if counted else 0.0
    reasons = []
    if late_ms > LATE_MS:
        reasons.append(f"its own loop was {late_ms:.1f} ms late one time in a hundred")
    if outcome.cpu_share > BUSY:
        reasons.append(f"it took {outcome.cpu_share:.0%} of a core")
    return {
        "loop_lag_p99_ms": round(late_ms, 3),
        "send_lag_p99_ms": round(sent_late_ms, 3),
        "cpu_share": round(outcome.cpu_share, 4),
        "was_the_limit": bool(reasons),
        "why": "; ".join(reasons),
    }


def _tokens_within(records: Sequence[Record], start_s: float, end_s: float) -> float:
    """Tokens that came within the window; those of a request are taken to come evenly from its first to its last."""
    total = 0.0
    for record in records:
        if not record.ok or not record.output_tokens:
            continue
        last_s = record.ended_s
        to_first_ms = record.latency_ms if record.ttft_ms is None else record.ttft_ms
        first_s = record.intended_s + to_first_ms / 1000
        overlap_s = min(last_s, end_s) - max(first_s, start_s)
        if last_s - first_s < 1e-6:
            total += record.output_tokens if start_s <= last_s < end_s else 0
        elif overlap_s > 0:
            total += record.output_tokens * overlap_s / (last_s - first_s)
    return total


def _per_gpu(requests: float, tokens: float, pictures: float, gpus: int) -> dict[str, float] | None:
    if not gpus:
        return None
    return {
        "requests_per_s": round(requests / gpus, 4),
        "output_tokens_per_s": round(tokens / gpus, 2),
        "pictures_per_s": round(pictures / gpus, 4),
    }


def _cost(requests_per_s: float, price_per_hour: float | None) -> float | None:
    """Of a thousand requests."""
    if price_per_hour is None or not requests_per_s:
        return None
    return round(price_per_hour / 3600 / requests_per_s * 1000, 4)


def _means(records: Sequence[Record], name: str) -> float | None:
    return round(statistics.fmean(getattr(record, name) for record in records), 3) if records else None
