"""Pictures of a set of measurements, as PNG files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.load.figures import percentile
from benchmarks.load.record import Record

INK, SOFT = "#1f2937", "#9ca3af"
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")
STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 130,
}
WIDE = 20
"""Values further apart than by this factor are drawn in powers."""
Point = Mapping[str, Any]
"""A summary."""


def draw(folder: Path, points: Sequence[Point], records: Sequence[Sequence[Record]]) -> list[Path]:
    """The plots for which there is something to show; their files."""
    with mpl.rc_context(STYLE):
        figures = {
            "latency": latency(points),
            "pareto": pareto(points),
            "course": course(points, records),
            "spread": spread(points, records),
        }
        found = []
        for name, figure in figures.items():
            if figure is not None:
                path = folder / f"{name}.png"
                figure.savefig(path, bbox_inches="tight")
                found.append(path)
    return found


def named(point: Point) -> str:
    """What was asked of the server in one measurement."""
    if point["max_concurrency"]:
        return f"{point['max_concurrency']} at once"
    return f"{point['request_rate']:g}/s"


def _labels(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(str(point["label"]) for point in points))


def _of(points: Sequence[Point], label: str) -> list[Point]:
    """In the order of what was asked of the server."""
    own = (point for point in points if point["label"] == label)
    return sorted(own, key=lambda point: float(point["max_concurrency"] or point["request_rate"]))


def latency(points: Sequence[Point]) -> Figure | None:
    """First token and whole answer against the rate that was served, with their confidence bounds."""
    if len(points) < 2:
        return None
    figure = Figure(figsize=(9, 3.4))
    sides = figure.subplots(1, 2)
    any_saturated = any(point["saturated"] for point in points)
    for side, (name, title) in zip(sides, (("ttft", "Time to first token"), ("e2el", "Whole answer")), strict=True):
        for colour, label in zip(COLOURS, _labels(points), strict=False):
            kept = _of(points, label)
            served = [point["request_throughput"] for point in kept]
            for share, style in ((50, "-"), (95, "--")):
                values = [point[f"p{share}_{name}_ms"] for point in kept]
                said = f"{label} p{share}".strip()
                side.plot(served, values, style, color=colour, marker="o", markersize=3, label=said)
                _bounds(side, served, kept, f"p{share}_{name}_ms", colour)
            for point in kept:
                if point["saturated"]:
                    side.plot(point["request_throughput"], point[f"p95_{name}_ms"], "x", color=INK)
        side.set_title(title)
        side.set_xlabel("requests served a second" + (" (x: more were sent)" if any_saturated else ""))
        side.set_ylabel("ms")
        _scale(side)
        side.legend(fontsize=7)
    figure.subplots_adjust(wspace=0.28)
    return figure


def _scale(side: Any) -> None:
    """From 0, or in powers where values lie far apart."""
    values = [float(value) for line in side.lines for value in line.get_ydata() if value is not None and value > 0]
    if values and max(values) > WIDE * min(values):
        side.set_yscale("log")
        _ticks(side.yaxis, values)
    else:
        side.set_ylim(bottom=0)


def _ticks(axis: Any, values: Sequence[float]) -> None:
    """Of an axis in powers: plain numbers, 1, 2 and 5 of each power."""
    axis.set_major_locator(FixedLocator(round_numbers(min(values), max(values))))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten, from about `low` to about `high`.

    >>> round_numbers(8, 300)
    [1, 2, 5, 10, 20, 50, 100, 200, 500]
    """
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    return [each * 10**power for power in powers for each in (1, 2, 5)]


def _bounds(side: Any, served: Sequence[float], kept: Sequence[Point], key: str, colour: str) -> None:
    for at, point in zip(served, kept, strict=True):
        between = point["confidence_95"].get(key)
        if between:
            side.plot([at, at], between, color=colour, alpha=0.35, linewidth=2)


def pareto(points: Sequence[Point]) -> Figure | None:
    """Throughput of a card against speed for one user: what is bought with what."""
    usable = [point for point in points if point["median_tpot_ms"]]
    if len(usable) < 2:
        return None
    figure = Figure(figsize=(5, 3.6))
    side = figure.subplots()
    per_gpu = any(point["per_gpu"] for point in usable)
    for colour, label in zip(COLOURS, _labels(usable), strict=False):
        kept = _of(usable, label)
        users = [1000 / point["median_tpot_ms"] for point in kept]
        tokens = [
            point["per_gpu"]["output_tokens_per_s"] if point["per_gpu"] else point["output_throughput"]
            for point in kept
        ]
        side.plot(users, tokens, "-o", color=colour, markersize=4, label=label or None)
        # The first line's names stand left of its points, the others' right: lines beside each other are both read.
        left = label == _labels(usable)[0]
        place = {"xytext": (-5 if left else 5, 0), "ha": "right" if left else "left", "va": "center"}
        for point, x, y in zip(kept, users, tokens, strict=True):
            side.annotate(named(point), (x, y), fontsize=7, color=colour, textcoords="offset points", **place)
    side.set_title("Speed of one answer, and of all")
    side.margins(x=0.2, y=0.1)
    side.set_xlim(left=0)
    side.set_ylim(bottom=0)
    side.set_xlabel("tokens a second for one user (median)")
    side.set_ylabel("tokens a second " + ("a GPU" if per_gpu else "in all"))
    if any(_labels(usable)):
        side.legend(fontsize=7)
    return figure


def course(points: Sequence[Point], records: Sequence[Sequence[Record]]) -> Figure | None:
    """Every request of the last measurement over time: a stall or a queue is seen at once."""
    if not records or not records[-1]:
        return None
    figure = Figure(figsize=(9, 3))
    side = figure.subplots()
    last = records[-1]
    good, bad = [each for each in last if each.ok], [each for each in last if not each.ok]
    for colour, kind in zip(COLOURS, sorted({each.workload for each in good}), strict=False):
        own = [each for each in good if each.workload == kind]
        side.scatter(
            [each.intended_s for each in own],
            [each.ttft_ms or each.latency_ms for each in own],
            s=6,
            color=colour,
            label=kind,
        )
    if bad:
        side.scatter(
            [each.intended_s for each in bad],
            [each.latency_ms for each in bad],
            s=14,
            marker="x",
            color=INK,
            label="failed",
        )
    start_s, end_s = points[-1]["window_s"]
    side.axvspan(start_s, end_s, color=SOFT, alpha=0.12, linewidth=0)
    side.set_title(f"Time to first token of each request, {points[-1]['label']} {named(points[-1])}".replace("  ", " "))
    side.set_xlabel("seconds into the run (shaded: what counts)")
    side.set_ylabel("ms")
    side.set_ylim(bottom=0)
    side.legend(fontsize=7)
    return figure


def spread(points: Sequence[Point], records: Sequence[Sequence[Record]]) -> Figure | None:
    """Distribution of the time to first token, one line a measurement."""
    kept = [
        (point, [each.ttft_ms for each in own if each.ok and each.ttft_ms])
        for point, own in zip(points, records, strict=True)
    ]
    kept = [(point, values) for point, values in kept if len(values) > 4]
    if not kept:
        return None
    figure = Figure(figsize=(5, 3.4))
    side = figure.subplots()
    shares = [step / 200 for step in range(201)]
    for colour, (point, values) in zip(COLOURS * 8, kept, strict=False):
        line = [percentile(values, share) for share in shares]
        side.plot(
            line, [share * 100 for share in shares], color=colour, label=f"{point['label']} {named(point)}".strip()
        )
    side.set_title("How time to first token is spread")
    side.set_xlabel("ms")
    side.set_ylabel("percent of requests")
    every = [value for _, values in kept for value in values]
    if max(every) > WIDE * min(every):
        side.set_xscale("log")
        _ticks(side.xaxis, every)
    else:
        side.set_xlim(left=0)
    side.legend(fontsize=7)
    return figure
