"""Pictures of the distributions behind the figures, as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from benchmarks.accuracy.figures import Figures
from benchmarks.accuracy.items import Record
from benchmarks.accuracy.scoring import HIT, Scores, scored

INK, SOFT, ACCENT = "#1f2937", "#9ca3af", "#2563eb"
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
    "figure.dpi": 130,
}
RATES = (
    "detect mAP@0.5",
    "detect mAP@0.5:0.95",
    "detect some mAP@0.5",
    "detect everything mAP@0.5",
    "count exact",
    "count in words exact",
    "ground IoU>=0.5",
    "relate IoU>=0.5",
    "point each in its place, none too many",
    "a label that is not there: nothing found",
    "caption names all and nothing else",
    "events mean tIoU",
    "events R@0.5",
    "long events mean tIoU",
    "moment mean tIoU",
    "page mean block IoU",
    "extract values exact",
    "act click on the button",
)


def draw(folder: Path, records: Sequence[Record], figures: Figures) -> list[Path]:
    """The plots for which there are records; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    by_kind: dict[str, list[tuple[Record, Scores]]] = {}
    for record in records:
        if record.is_final:
            by_kind.setdefault(record.kind, []).append((record, scored(record)))
    files = []
    with mpl.rc_context(STYLE):
        files.append(overview(folder / "overview.png", figures))
        if "detect" in by_kind:
            files.append(boxes(folder / "boxes.png", by_kind["detect"]))
        if "count" in by_kind:
            files.append(counts(folder / "counts.png", by_kind["count"]))
        if "events" in by_kind or "long-events" in by_kind:
            told = [*by_kind.get("events", []), *by_kind.get("long-events", [])]
            files.append(spans(folder / "events.png", told))
    return [file for file in files if file is not None]


def overview(file: Path, figures: Figures) -> Path | None:
    """The rates from 0 to 1, side by side."""
    names = [name for name in RATES if name in figures]
    if not names:
        return None
    canvas = Canvas(figsize=(7, 0.8 + 0.27 * len(names)), layout="constrained")
    axes = canvas.subplots()
    values = [figures[name].value for name in names]
    axes.barh(names, values, color=ACCENT, height=0.62)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    for at, value in enumerate(values):
        axes.text(value + 0.01, at, f"{value:.2f}", va="center", color=INK)
    axes.set_title("Right answers, 0 to 1")
    return saved(canvas, file)


def boxes(file: Path, scores: Sequence[tuple[Record, Scores]]) -> Path:
    """How alike boxes are to the right ones, and how far their sides are off on canvases of each size."""
    canvas = Canvas(figsize=(9, 3.2), layout="constrained")
    left, right = canvas.subplots(1, 2)
    ious = [value for _, score in scores for value in score["ious"]]
    left.hist(ious, bins=[at / 20 for at in range(21)], color=ACCENT)
    left.axvline(HIT, color=SOFT, linestyle="--")
    left.set(xlabel="IoU of each thing's best box (0: none)", ylabel="things", title=f"IoU, {len(ious)} things")
    sides = [max(record.about["wh"]) for record, score in scores for _ in score["corner_errors"]]
    errors = [error for _, score in scores for error in score["corner_errors"]]
    right.scatter(sides, errors, s=6, alpha=0.35, color=ACCENT, linewidths=0)
    right.axhline(1.5, color=SOFT, linestyle="--")
    right.set(xlabel="longer side, px", ylabel="% of the longer side", title="How far sides of found boxes are off")
    return saved(canvas, file)


def counts(file: Path, scores: Sequence[tuple[Record, Scores]]) -> Path:
    """Numbers told against numbers there are."""
    most = max([1, *(score["truth"] for _, score in scores), *(score["given"] or 0 for _, score in scores)])
    grid = [[0] * (most + 1) for _ in range(most + 1)]
    for _, score in scores:
        grid[score["truth"]][score["given"] or 0] += 1
    canvas = Canvas(figsize=(4, 3.6), layout="constrained")
    axes = canvas.subplots()
    axes.imshow(grid, cmap="Blues", origin="lower")
    for truth, row in enumerate(grid):
        for given, number in enumerate(row):
            if number:
                shade = "white" if number > max(map(max, grid)) / 2 else INK
                axes.text(given, truth, str(number), ha="center", va="center", color=shade)
    axes.set(xlabel="boxes given", ylabel="things there are", title=f"Counting, {len(scores)} questions")
    axes.set_xticks(range(most + 1))
    axes.set_yticks(range(most + 1))
    return saved(canvas, file)


def spans(file: Path, scores: Sequence[tuple[Record, Scores]]) -> Path:
    """How alike events are to the right ones, over all and by where in the clip they begin."""
    canvas = Canvas(figsize=(9, 3.2), layout="constrained")
    left, right = canvas.subplots(1, 2)
    tious = [value for _, score in scores for value in score["tious"]]
    starts = [float(each["span"][0]) for record, _ in scores for each in record.truth["events"]]
    left.hist(tious, bins=[at / 20 for at in range(21)], color=ACCENT)
    left.axvline(HIT, color=SOFT, linestyle="--")
    left.set(xlabel="tIoU of each event's best answer (0: none)", ylabel="events", title=f"tIoU, {len(tious)} events")
    right.scatter(starts, tious, s=10, alpha=0.5, color=ACCENT, linewidths=0)
    right.axhline(HIT, color=SOFT, linestyle="--")
    right.set(xlabel="start in the clip, s", ylabel="tIoU", ylim=(-0.03, 1.03), title="By where an event begins")
    return saved(canvas, file)


def saved(canvas: Any, file: Path) -> Path:
    canvas.savefig(file)
    return file
