"""benchmarks/REPORT.md and the harness' README: what they say is what the results say now."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generated import filled
from benchmarks.load import readme, tier_report
from benchmarks.load.tier_compare import combined, differences, ratios
from server.sizing.gpus import tiers


def point(way: str, round_: int, rate: float) -> dict[str, Any]:
    first_ms = 15.0 if way == "ours" else 10.0
    return {
        "way": way,
        "round": round_,
        "workload": "photo",
        "concurrency": 4,
        "request_throughput": rate,
        "output_throughput": 16 * rate,
        "failed": 1,
        "cpu_s_per_request": {"gateway": 0.002 * (way == "ours"), "engine": 0.05},
        "client": {"was_the_limit": round_ == 0},
        "server_stages": {"engine queue": {"mean_ms": 1.0, "count": 3}},
        "client_stages_ms": {"lag_ms": 0.1},
        "p50_ttft_ms": first_ms,
        "p95_ttft_ms": None,
        "p50_tpot_ms": 4.0,
        "p50_e2el_ms": 50.0,
    }


RATES = {"ours": (9, 8, 6), "bare engine": (10, 10, 5)}
ROUNDS = [point(way, number, rate) for way, rates in RATES.items() for number, rate in enumerate(rates)]


def test_the_report_is_current() -> None:
    assert tier_report.REPORT.read_text() == tier_report.text(), "run python -m benchmarks.load.tier_report"


def test_the_readme_is_current() -> None:
    now = readme.README.read_text()
    assert filled(now, readme.SECTIONS) == now, "run python -m benchmarks.load.readme"


def test_a_tier_without_a_result_says_so() -> None:
    overview = tier_report.text().split("## Tiers")[1].split("\n## ")[0]
    measured = tier_report.results()
    for tier in tiers():
        (row,) = (line for line in overview.splitlines() if line.startswith(f"| {tier.name} |"))
        assert ("not measured" in row) == (tier.name not in measured)


def test_a_whole_result_stands_before_a_newer_quick_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day, quick in (("2026-01-01", False), ("2026-01-02", True)):
        result = {"tier": "24 GB", "quick": quick, "day": day}
        (tmp_path / f"tier-24-gb-{day}.json").write_text(json.dumps(result))
    monkeypatch.setattr(tier_report, "RESULTS", tmp_path)
    assert tier_report.results()["24 GB"]["day"] == "2026-01-01"


def test_rounds_are_summed_up_by_their_median() -> None:
    ours, bare = combined(ROUNDS)
    assert (ours["request_throughput"], bare["request_throughput"]) == (8, 10)
    assert (ours["failed"], ours["client_was_the_limit"], ours["rounds"]) == (3, 1, 3)
    assert ours["p95_ttft_ms"] is None


def test_a_ratio_is_that_of_neighbours() -> None:
    assert ratios(ROUNDS) == [0.9, 0.8, 1.2]


def test_a_difference_is_told_with_its_range_and_its_stages() -> None:
    told = differences(ROUNDS)
    assert "throughput 0.90 of the bare engine's (0.80 to 1.20)" in told
    assert "first token +5.0 ms at the median" in told
    assert "+2.0 ms in the gateway" in told
    assert "| engine queue | 1.00 | 1.00 |" in told
