"""benchmarks/REPORT.md: what each tier delivers, by the results that are there; what nobody measured says so.

python -m benchmarks.load.tier_report [--check]
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.generated import markdown
from benchmarks.load.tier_compare import PARTS, combined, differences
from benchmarks.roofline.anchors import Anchor, anchors, sources
from benchmarks.roofline.report import predictions
from server.sizing.gpus import tiers

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = (
    "workload",
    "at once",
    "",
    "requests/s",
    "tokens/s",
    "TTFT p50 ms",
    "p95",
    "TPOT p50 ms",
    "whole p50 ms",
    "gateway CPU ms",
    "engine CPU ms",
    "failed",
    "client the limit",
)
RESULTS, REPORT = ROOT / "benchmarks" / "results", ROOT / "benchmarks" / "REPORT.md"
HEAD = """# What each tier delivers

Written by `python -m benchmarks.load.tier_report` from `benchmarks/results/tier-*.json`, which `benchmarks/run-tier`
makes on a machine of a tier. A tier without a result was **not measured**: what stands for it then is a prediction of
the roofline (`benchmarks/roofline`, within a factor of 1.3 of published figures of one card, 2 of several), or what
others published, each said to be so.

"""


def main() -> int:
    if "--check" not in sys.argv:
        write()
        return 0
    return int(REPORT.read_text() != text())


def write() -> None:
    REPORT.write_text(text())


def text() -> str:
    """The whole report."""
    found = results()
    parts = [HEAD, "## Tiers\n\n", _overview(found)]
    parts += [f"\n## Measured: {result['tier']}\n\n{section(result)}" for result in found.values()]
    parts += ["\n## Predicted\n\nNot measured: see `benchmarks/roofline/README.md`.\n\n", predictions()]
    parts += ["\n## Published by others\n\n", _published()]
    return "".join(parts)


def results() -> dict[str, dict[str, Any]]:
    """The newest result of each tier; a whole one rather than a quick one."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RESULTS.glob("tier-*.json")):
        result = json.loads(path.read_text())
        before = found.get(result["tier"])
        if before is None or before["quick"] or not result["quick"]:
            found[result["tier"]] = result
    return found


def _overview(found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [["tier", "cards", "photos/s, ours", "bare engine", "first token p50, ours", "bare engine", "measured"]]
    names = [("CPU", "none: a tiny model"), *((tier.name, f"{tier.gpus} x {tier.gpu.name}") for tier in tiers())]
    for name, cards in names:
        result = found.get(name)
        rows.append([name, cards, *(_best(result) if result else ["not measured"] * 4 + ["-"])])
    return markdown(rows)


def _best(result: Mapping[str, Any]) -> list[str]:
    """Photos at the highest throughput, first tokens of one request alone."""
    photos = [point for point in combined(result["points"]) if point["workload"] == "photo"]
    ways = ("ours", "bare engine")
    most = {way: max(p["request_throughput"] for p in photos if p["way"] == way) for way in ways}
    alone = {way: next(p for p in photos if p["way"] == way and p["concurrency"] == 1) for way in ways}
    firsts = [f"{alone[way]['p50_ttft_ms']:.0f} ms" for way in ways]
    when = f"{result['environment']['date'][:10]}{', quick' if result['quick'] else ''}"
    return [f"{most['ours']:.2f}", f"{most['bare engine']:.2f}", *firsts, when]


def section(result: Mapping[str, Any]) -> str:
    """One machine: every point of both ways, their ratio, and where the difference is."""
    found = result["environment"]
    cards = ", ".join(f"{gpu['name']} (driver {gpu['driver_version']})" for gpu in found["gpus"]) or "no GPU"
    suite, option = ("quick", " --quick") if result["quick"] else ("standard", "")
    conditions = (
        f"{found['date'][:10]}, {found['processor']}, {found['cores']} cores, {cards}, "
        f"load {found['load_before']} before, commit {found['commit']}; "
        f"{result['model']}, the {suite} suite: `benchmarks/run-tier{option}`\n\n"
    )
    return conditions + markdown(_rows(result["points"])) + _rates(result) + differences(result["points"])


def _rows(points: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    rows = [[*COLUMNS]]
    for point in combined(points):
        latencies = [_cell(point[key]) for key in ("p50_ttft_ms", "p95_ttft_ms", "p50_tpot_ms", "p50_e2el_ms")]
        spent = [f"{point[f'{part}_cpu_ms']:.0f}" for part in PARTS]
        delivered = [f"{point['request_throughput']:.2f}", f"{point['output_throughput']:.0f}"]
        named = [point["workload"], str(point["concurrency"]), point["way"]]
        limited = f"{point['client_was_the_limit']} of {point['rounds']}" if point["client_was_the_limit"] else ""
        rows.append([*named, *delivered, *latencies, *spent, str(point["failed"]), limited])
    return rows


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _rates(result: Mapping[str, Any]) -> str:
    highest = result.get("highest_rate")
    if not highest:
        return ""
    said = ", ".join(f"{way} {rate:.2f}" if rate else f"{way} none" for way, rate in highest.items())
    return f"\nHighest rate of photos that keeps ttft <= 2 s and tpot <= 100 ms for 95 %: {said} a second.\n"


def _published() -> str:
    told: dict[str, list[Anchor]] = {}
    for anchor in anchors():
        if anchor.kind == "rate":
            told.setdefault(anchor.source, []).append(anchor)
    rows = [["model", "card", "workload", "requests/s", "source"]]
    for source, known in told.items():
        for anchor in known:
            cards = f"{anchor.gpus} x {anchor.gpu.name}" if anchor.gpus > 1 else anchor.gpu.name
            rows.append([f"{anchor.model} {anchor.precision}", cards, anchor.profile, f"{anchor.measured:g}", source])
    notes = "".join(f"- **{name}**: {what}.\n" for name, what in sources().items() if name in told)
    return notes + "\n" + markdown(rows)


if __name__ == "__main__":
    sys.exit(main())
