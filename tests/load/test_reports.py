"""benchmarks/REPORT.md and the harness' README: what they say is what the results say now."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generated import filled
from benchmarks.load import readme, tier_report, tier_roofline
from benchmarks.load.plots import latency
from benchmarks.load.tier import STANDARD, results_file
from benchmarks.load.tier_compare import combined, differences, ratios
from server.sizing.gpus import tiers

STAGES: dict[str, dict[str, Any]] = {
    "ours": {"engine to first token": {"mean_ms": 7.0}, "gateway media": {"mean_ms": 5.0}},
    "bare engine": {"engine to first token": {"mean_ms": 9.0}},
}


def point(way: str, round_: int, rate: float) -> dict[str, Any]:
    first_ms = 15.0 if way == "ours" else 10.0
    return {
        "way": way,
        "round": round_,
        "workload": "photo",
        "concurrency": 1,
        "request_throughput": rate,
        "output_throughput": 16 * rate,
        "failed": 1,
        "cpu_s_per_request": {"gateway": 0.002 * (way == "ours"), "engine": 0.05},
        "client": {"was_the_limit": round_ == 0},
        "server_stages": STAGES[way],
        "mean_ttft_ms": first_ms,
        "gpu_clocks": [f"{1700 + round_} MHz"],
        "client_stages_ms": {"lag_ms": 0.1},
        "p50_ttft_ms": first_ms,
        "p95_ttft_ms": None,
        "p50_tpot_ms": 4.0,
        "p50_e2el_ms": 50.0,
    }


RATES = {"ours": (9, 8, 6), "bare engine": (10, 10, 5)}
CARD = {"name": "NVIDIA H100 80GB HBM3", "driver_version": "580.1"}
ENVIRONMENT = {
    "date": "2026-01-01T00:00:00Z",
    "processor": "a processor",
    "cores": 16,
    "gpus": [CARD],
    "load_before": 0.1,
    "commit": "abc1234",
}
ROUNDS = [point(way, number, rate) for way, rates in RATES.items() for number, rate in enumerate(rates)]


def test_the_report_is_current() -> None:
    assert tier_report.REPORT.read_text() == tier_report.text(), "run python -m benchmarks.load.tier_report"


def test_the_readme_is_current() -> None:
    now = readme.README.read_text()
    assert filled(now, readme.SECTIONS) == now, "run python -m benchmarks.load.readme"


def test_a_tier_without_a_result_says_so() -> None:
    told, measured = tier_report.text(), {tier for tier, _ in tier_report.results()}
    for section in ("Tiers", "Gateway beside the bare engine"):
        lines = told.split(f"## {section}\n")[1].split("\n## ")[0].splitlines()
        for tier in tiers():
            rows = [line for line in lines if line.startswith(f"| {tier.name} |")]
            assert rows
            assert all(("not measured" in row) == (tier.name not in measured) for row in rows)


def kept(folder: Path, name: str, **more: object) -> dict[str, Any]:
    """A result in a folder."""
    result = {"tier": "80 GB", "model": "Qwen2.5-VL-7B-Instruct", "quick": False, "weights": "dummy", "points": ROUNDS}
    result |= {
        "environment": ENVIRONMENT,
        "suite": asdict(STANDARD),
        "flags": [],
        "engine_flags": ["--uds", "s"],
        **more,
    }
    (folder / name).write_text(json.dumps(result))
    return result


def test_the_newest_whole_result_of_each_model_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_report, "RESULTS", tmp_path)
    second = {**ENVIRONMENT, "date": "2026-01-02T00:00:00Z"}
    kept(tmp_path, "tier-b.json", weights="own")
    kept(tmp_path, "tier-a.json", environment=second)
    kept(tmp_path, "tier-c.json", environment={**second, "date": "2026-01-03T00:00:00Z"}, quick=True)
    kept(tmp_path, "tier-d.json", model="Qwen/Qwen2.5-VL-3B-Instruct", quick=True)
    found = tier_report.results()
    assert list(found) == [("80 GB", "Qwen2.5-VL-3B-Instruct"), ("80 GB", "Qwen2.5-VL-7B-Instruct")]
    assert found["80 GB", "Qwen2.5-VL-7B-Instruct"]["weights"] == "dummy"


def test_two_models_on_one_card_have_a_row_their_aims_and_the_rooflines_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tier_report, "RESULTS", tmp_path)
    kept(tmp_path, "tier-a.json")
    three = kept(tmp_path, "tier-b.json", model="Qwen2.5-VL-3B-Instruct")
    told = tier_report.text()
    for size in ("3B", "7B"):
        assert f"| 80 GB | 1 x H100 80GB | Qwen2.5-VL-{size}-Instruct, random weights | 8.00 | 10.00 |" in told
        assert f"| 80 GB | Qwen2.5-VL-{size}-Instruct, random weights | photo | 1 | 0.90 | +5.0 ms | no |" in told
        assert "NVIDIA H100 80GB HBM3 (driver 580.1), at 1700 MHz to 1702 MHz under load" in told
        assert f"--dummy {size}`; engine: `--uds s`" in told
    assert "| 80 GB | Qwen2.5-VL-3B-Instruct | photo | ms to first token alone | 15.0 |" in told
    (measured, predicted), *_ = tier_roofline.compared(three)["photo"]
    assert measured == 8
    assert "| 7B bf16 | H100 80GB | caption | 221 + 0 + 128 | 3.3 | redhat | 8.00 (1,230 + 96 + 128) |" in told
    assert "| 7B bf16 | H100 80GB | document | 4,800 + 64 + 128 | 0.9 | redhat | not measured |" in told
    assert "- **redhat**: Red Hat's model cards" in told
    assert "| 7B fp8 | H100 80GB | caption | 221 + 0 + 128 | 4.2 | redhat | not measured |" in told
    assert f"| requests/s | 8.0 | {predicted:.1f} | {predicted / 8:.2f} |" in told


def test_what_a_roofline_does_not_know_is_not_compared(tmp_path: Path) -> None:
    assert tier_roofline.rows(kept(tmp_path, "a", model="my-finetune")) == []
    assert tier_roofline.rows(kept(tmp_path, "a", environment={**ENVIRONMENT, "gpus": []})) == []
    assert tier_roofline.factors([]) is None


def test_a_point_without_a_figure_is_left_out_of_a_plot_in_powers() -> None:
    spread = [f"p{share}_{name}_ms" for share in (50, 95) for name in ("ttft", "e2el")]
    fast, slow, silent = (dict.fromkeys(spread, value) for value in (2.0, 900.0, None))
    about = {"label": "", "max_concurrency": None, "saturated": False, "confidence_95": {}}
    points = [
        {**about, **own, "request_rate": at, "request_throughput": at} for at, own in enumerate((silent, fast, slow))
    ]
    figure = latency(points)
    assert figure is not None
    assert [side.get_yscale() for side in figure.axes] == ["log", "log"]


def test_what_was_never_answered_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_report, "RESULTS", tmp_path)
    silent = {"p50_ttft_ms": None, "p50_tpot_ms": None, "mean_ttft_ms": None, "request_throughput": 0}
    result = kept(tmp_path, "tier-a.json", points=[{**each, **silent} for each in ROUNDS])
    assert "throughput not measured; first token not measured; CPU" in tier_report.section(result)
    assert "random weights | 0.00 | 0.00 | - | - | 2026-01-01 |" in tier_report.text()
    assert tier_roofline.rows(result) == []


def test_a_result_never_takes_anothers_place(tmp_path: Path) -> None:
    first = kept(tmp_path, "unnamed")
    names = []
    for _ in range(3):
        file = results_file(first, tmp_path)
        file.write_text("{}")
        names.append(file.name)
    assert names == [f"tier-80-gb-qwen2.5-vl-7b-instruct-2026-01-01{end}.json" for end in ("", "-2", "-3")]


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
    assert "| engine to first token | 7.00 | 9.00 | -2.00 |" in told
    assert "| gateway media | 5.00 | - | - |" in told
    assert "15.0 against 10.0 ms, means: in the engine 7.0 against 9.0 (-2.0); " in told
    assert "in the gateway 5.0; the rest" in told
    assert "waiting for a processor, 3.0 against 1.0 (+2.0)" in told
