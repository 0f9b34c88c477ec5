"""benchmarks/REPORT.md: what each tier delivers, by the results that are there; what nobody measured says so.

python -m benchmarks.load.tier_report [--check]
"""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.generated import markdown
from benchmarks.load import tier_roofline
from benchmarks.load.tier_compare import LEAST_RATIO, MOST_LATER_MS, PARTS, beside, combined, differences
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
makes on a machine of a tier, one for each model and run. A tier without a result was **not measured**: what stands for
it then is a prediction of the roofline (`benchmarks/roofline`, within a factor of 1.3 of published figures of one card,
2 of several), or what others published, each said to be so.

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
    parts = [HEAD, "## Tiers\n\n", _overview(found), "\n## Gateway beside the bare engine\n\n", _aims(found)]
    parts += [f"\n## Measured: {tier}, {name}\n\n{section(own)}" for (tier, name), own in found.items()]
    parts += ["\n## Predicted\n\nNot measured: see `benchmarks/roofline/README.md`.\n\n", predictions()]
    parts += ["\n## Predicted beside measured\n\n", _roofline(list(found.values()))]
    parts += ["\n## Published by others\n\n", _published(found)]
    return "".join(parts)


Results = Mapping[tuple[str, str], Mapping[str, Any]]
"""(tier, model) -> its result."""


def results() -> Results:
    """The newest result of each model on each tier; a whole one rather than a quick one."""
    read = [json.loads(path.read_text()) for path in RESULTS.glob("tier-*.json")]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for result in sorted(read, key=lambda each: str(each["environment"]["date"])):
        key = (result["tier"], result["model"].rpartition("/")[2])
        if key not in found or found[key]["quick"] or not result["quick"]:
            found[key] = result
    return dict(sorted(found.items()))


def _machines() -> list[tuple[str, str]]:
    """(tier, its cards), the smallest first."""
    return [("CPU", "none: a tiny model"), *((tier.name, f"{tier.gpus} x {tier.gpu.name}") for tier in tiers())]


def _of_tier(found: Results, name: str) -> dict[str, Mapping[str, Any]]:
    return {model: result for (tier, model), result in found.items() if tier == name}


def _overview(found: Results) -> str:
    header = [
        "tier",
        "cards",
        "model",
        "photos/s, ours",
        "bare engine",
        "first token p50, ours",
        "bare engine",
        "measured",
    ]
    rows = [header]
    for name, cards in _machines():
        own = _of_tier(found, name)
        rows += [[name, cards, _named(model, result), *_best(result)] for model, result in own.items()]
        if not own:
            rows.append([name, cards, "-", *["not measured"] * 4, "-"])
    return markdown(rows)


def _named(model: str, result: Mapping[str, Any]) -> str:
    return f"{model}, random weights" if result.get("weights") == "dummy" else model


def _best(result: Mapping[str, Any]) -> list[str]:
    """Photos at the highest throughput, first tokens of one request alone."""
    photos = [point for point in combined(result["points"]) if point["workload"] == "photo"]
    ways = ("ours", "bare engine")
    most = {way: max(p["request_throughput"] for p in photos if p["way"] == way) for way in ways}
    alone = {way: next(p for p in photos if p["way"] == way and p["concurrency"] == 1) for way in ways}
    told = {way: alone[way]["p50_ttft_ms"] for way in ways}
    firsts = ["-" if told[way] is None else f"{told[way]:.0f} ms" for way in ways]
    when = f"{result['environment']['date'][:10]}{', quick' if result['quick'] else ''}"
    return [f"{most['ours']:.2f}", f"{most['bare engine']:.2f}", *firsts, when]


def _aims(found: Results) -> str:
    """The aims hold for a GPU's machine, where gateway and engine do not share all the processor there is."""
    said = (
        f"Aims on a GPU: at least {LEAST_RATIO:g} of the bare engine's throughput, the first token at most "
        f"{MOST_LATER_MS:g} ms later at the median.\n\n"
    )
    rows = [["tier", "model", "workload", "at once", "throughput, ours / bare", "first token, ours - bare", "aims met"]]
    for name, _ in _machines():
        own = _of_tier(found, name)
        for model, result in own.items():
            for each in beside(result["points"]):
                told = [f"{each.ratio:.2f}", f"{each.later_ms:+.1f} ms"]
                met = ("yes" if each.meets_aims else "no") if result["environment"]["gpus"] else "no aim: one processor"
                rows.append([name, _named(model, result), each.workload, str(each.concurrency), *told, met])
        if not own:
            rows.append([name, "-", "-", "-", *["not measured"] * 3])
    return said + markdown(rows)


def _roofline(found: Sequence[Mapping[str, Any]]) -> str:
    """The prediction's error where there is something to compare it with."""
    rows = [row for result in found for row in tier_roofline.rows(result)]
    if not rows:
        return "Not measured: no GPU has a result. `benchmarks/roofline` has the error against published figures.\n"
    middle, worst = tier_roofline.factors(found) or (1.0, 1.0)
    return markdown([tier_roofline.HEADER, *rows]) + f"\nMedian factor {middle:.2f}, worst {worst:.2f}.\n"


def section(result: Mapping[str, Any]) -> str:
    """One machine: every point of both ways, their ratio, and where the difference is."""
    found = result["environment"]
    cards = ", ".join(f"{gpu['name']} (driver {gpu['driver_version']})" for gpu in found["gpus"]) or "no GPU"
    suite, option = ("quick", " --quick") if result["quick"] else ("standard", "")
    if result.get("weights") == "dummy":
        option += f" --dummy {result['model'].removeprefix('Qwen2.5-VL-').replace('-Instruct', '')}"
    clocks = list(dict.fromkeys(clock for point in result["points"] for clock in point.get("gpu_clocks", [])))
    cards += f", at {min(clocks, key=_mhz)} to {max(clocks, key=_mhz)} under load" if clocks else ""
    started = f"; engine: `{shlex.join(result['engine_flags'])}`" if "engine_flags" in result else ""
    conditions = (
        f"{found['date'][:10]}, {found['processor']}, {found['cores']} cores, {cards}, "
        f"load {found['load_before']} before, commit {found['commit']}; "
        f"{_named(result['model'], result)}, the {suite} suite: `benchmarks/run-tier{option}`{started}\n\n"
    )
    return conditions + markdown(_rows(result["points"])) + _rates(result) + differences(result["points"])


def _mhz(clock: str) -> float:
    """
    >>> _mhz("1980 MHz")
    1980.0
    """
    number = clock.partition(" ")[0]
    return float(number) if number.isdigit() else 0.0


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


def _published(found: Results) -> str:
    """Others' figures with what was asked, and ours of that model on that card: photos, or pages for documents."""
    told: dict[str, list[Anchor]] = {}
    for anchor in anchors():
        if anchor.kind == "rate":
            told.setdefault(anchor.source, []).append(anchor)
    rows = [["model", "card", "workload", "visual + text + answer tokens", "requests/s", "source", "ours, requests/s"]]
    for source, known in told.items():
        for anchor in known:
            cards = f"{anchor.gpus} x {anchor.gpu.name}" if anchor.gpus > 1 else anchor.gpu.name
            asked = f"{sum(anchor.request.picture_tokens):,} + {anchor.request.text_tokens:,}"
            cells = [f"{asked} + {anchor.request.answer_tokens:,}", f"{anchor.measured:g}", source]
            rows.append([f"{anchor.model} {anchor.precision}", cards, anchor.profile, *cells, _ours(anchor, found)])
    notes = "".join(f"- **{name}**: {what}.\n" for name, what in sources().items() if name in told)
    notes += (
        "- **ours**: the standard suite's photos, its pages beside documents, through the gateway, at their best.\n"
    )
    return notes + "\n" + markdown(rows)


def _ours(anchor: Anchor, found: Results) -> str:
    """The best rate of the nearest workload, its tokens with it."""
    workload = {"document": "document", "text": "text"}.get(anchor.profile, "photo")
    for result in found.values():
        best = tier_roofline.best_rate(result, workload, anchor)
        if best is not None:
            return best
    return "not measured"


if __name__ == "__main__":
    sys.exit(main())
