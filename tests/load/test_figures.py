"""What the harness makes of what it saw: percentiles, bounds, levels, windows, and when it is itself the limit."""

import math
import random

import pytest

from benchmarks.load.arrivals import poisson
from benchmarks.load.figures import LEAST_FOR_P99, Spread, bounds, percentile, trend
from benchmarks.load.known import delays, expected
from benchmarks.load.level import Level, read_level
from benchmarks.load.record import Record
from benchmarks.load.run import Outcome
from benchmarks.load.search import highest_rate
from benchmarks.load.summary import About, summary

VLLM_KEYS = {
    "endpoint_type", "backend", "label", "model_id", "num_prompts", "request_rate", "burstiness", "max_concurrency",
    "duration", "completed", "failed", "total_input_tokens", "total_output_tokens", "request_throughput",
    "request_goodput", "output_throughput", "total_token_throughput", "max_concurrent_requests",
    *(f"{kind}_{name}_ms" for name in ("ttft", "tpot", "itl", "e2el") for kind in ("mean", "median", "std", "p99")),
}  # fmt: skip
"""As `vllm bench serve` writes them."""


def record(at_s: float, ttft_ms: float = 100, latency_ms: float = 500, **more: object) -> Record:
    about = {
        "output_tokens": 11,
        "prompt_tokens": 50,
        "itl_ms": [40.0] * 10,
        "ended_s": at_s + latency_ms / 1000,
        **more,
    }
    made = Record(0, "text", at_s, ttft_ms=ttft_ms, latency_ms=latency_ms)
    for name, value in about.items():
        setattr(made, name, value)
    return made


def summed(
    records: list[Record], *, level: Level | None = None, window_s: tuple[float, float] = (0, 10), **more: object
):
    outcome = Outcome(records, 12.0, 0.1)
    for name, value in more.items():
        setattr(outcome, name, value)
    return summary(outcome, About("m", rate=1, window_s=window_s, level=level or Level(), gpus=2, price_per_hour=3.6))


def test_keys_are_those_that_users_of_vllm_bench_know() -> None:
    assert summed([record(at) for at in range(10)]).keys() >= VLLM_KEYS


def test_a_p99_of_few_is_not_given() -> None:
    assert Spread([1.0] * (LEAST_FOR_P99 - 1)).keys("ttft")["p99_ttft_ms"] is None
    assert Spread([1.0] * LEAST_FOR_P99).keys("ttft")["p99_ttft_ms"] == 1.0


def test_bounds_hold_the_true_percentile_about_as_often_as_they_say() -> None:
    generator, held = random.Random(1), 0
    for _ in range(300):
        between = bounds([generator.expovariate(1) for _ in range(120)], 0.9)
        assert between is not None
        held += between[0] <= math.log(10) <= between[1]
    assert 0.9 <= held / 300 <= 0.99


def test_nothing_has_no_figures() -> None:
    found = summed([])
    assert found["completed"] == 0
    assert found["mean_ttft_ms"] is None
    assert found["level_met"] is False


def test_only_what_was_meant_to_be_sent_in_the_window_counts() -> None:
    found = summed([record(at) for at in range(20)], window_s=(5, 15))
    assert found["num_prompts"] == 10
    assert found["duration"] == 10


def test_a_request_that_failed_counts_against_goodput_and_is_in_no_latency() -> None:
    records = [record(at) for at in range(9)] + [record(9, ttft_ms=1e6, error="status 503: full")]
    found = summed(records, level=Level(ttft=200))
    assert (found["completed"], found["failed"]) == (9, 1)
    assert found["p95_ttft_ms"] == 100
    assert found["request_goodput"] == 0.9
    assert found["errors"] == {"status 503": 1}


def test_goodput_asks_for_every_part_of_the_level() -> None:
    records = [record(0), record(1, ttft_ms=3000), record(2, latency_ms=9000), record(3, itl_ms=[500.0] * 10)]
    level = read_level("ttft=2000,tpot=100,itl=100,e2e=5000")
    assert [level.is_good(each) for each in records] == [True, False, False, False]


def test_a_level_is_kept_by_95_in_100_with_1_failed() -> None:
    level = Level(ttft=200)
    good, slow, failed = record(0), record(0, ttft_ms=300), record(0, error="gone")
    assert level.is_met([good] * 95 + [slow] * 5)
    assert not level.is_met([good] * 94 + [slow] * 6)
    assert level.is_met([good] * 99 + [failed])
    assert not level.is_met([good] * 98 + [failed] * 2)


def test_tokens_of_a_request_count_where_they_came() -> None:
    half_out = record(9.0, ttft_ms=0, latency_ms=2000, output_tokens=20)
    assert summed([half_out])["output_throughput"] == pytest.approx(1.0, rel=0.01)


def test_cost_and_throughput_are_shared_by_cards() -> None:
    found = summed([record(at / 2) for at in range(18)])
    assert found["per_gpu"]["requests_per_s"] == found["request_throughput"] / 2
    assert found["cost_per_1000"] == pytest.approx(1 / found["request_throughput"], rel=0.01)


def test_a_client_that_is_the_limit_says_so() -> None:
    assert summed([record(0)], loop_lag_ms=[0.1] * 100)["client"]["was_the_limit"] is False
    assert "loop" in summed([record(0)], loop_lag_ms=[0.1] * 90 + [50.0] * 10)["client"]["why"]
    assert "core" in summed([record(0)], cpu_share=0.97)["client"]["why"]


def test_a_queue_that_grows_is_seen_and_a_busy_server_is_none() -> None:
    growing = [(at / 10, at // 3) for at in range(100)]
    steady = [(at / 10, 8 + at % 5) for at in range(100)]
    assert summed([record(0)], in_flight=growing)["saturated"] is True
    assert summed([record(0)], in_flight=steady)["saturated"] is False


def test_a_trend_needs_more_than_noise() -> None:
    generator = random.Random(3)
    assert abs(trend([(at, generator.random()) for at in range(200)])) < 4


@pytest.mark.parametrize("limit", [0.07, 0.9, 3.3, 250.0])
async def test_the_highest_rate_is_found_from_either_side(limit: float) -> None:
    asked: list[float] = []

    async def measure(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    found = await highest_rate(measure, 1.0)
    assert found is not None
    assert 0.94 * limit < found <= limit
    assert len(asked) <= 20


async def test_no_rate_at_all_is_none() -> None:
    async def measure(rate: float) -> bool:
        return False

    assert await highest_rate(measure, 1.0) is None


def test_arrivals_are_poisson() -> None:
    gaps = [
        later - earlier for earlier, later in zip(*[poisson(50, 200, seed=4)[start:] for start in (0, 1)], strict=False)
    ]
    assert sum(gaps) / len(gaps) == pytest.approx(0.02, rel=0.05)
    assert percentile(gaps, 0.5) == pytest.approx(0.02 * math.log(2), rel=0.06)


def test_a_stall_holds_up_all_that_falls_into_it() -> None:
    moments = [at / 10 for at in range(100)]
    seen = expected(moments, delays(100), stall_at=3, stall_s=2)
    assert max(seen) > 2
    assert seen[:20] == [pytest.approx(wait) for wait in delays(100)[:20]]
    assert sum(wait > 0.6 for wait in seen) >= 14
