"""Where a model is weak: recall of boxes with everything right, and tIoU, by what scenes are like."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Any

from benchmarks.accuracy.items import Record
from benchmarks.accuracy.scoring import HIT, Scores, scored

Slice = dict[str, Any]
Scored = list[tuple[Record, Scores]]


def slices(records: Sequence[Record]) -> list[Slice]:
    """One entry for each group of scenes: `kind`, `by` what they are grouped, what that `is`, and figures."""
    found: list[Slice] = []
    for kind, cuts, measure in (("detect", PICTURE_CUTS, _box_recall), ("events", CLIP_CUTS, _event_tiou)):
        scores = [(record, scored(record)) for record in records if record.kind == kind and record.is_final]
        for cut, name_of in cuts.items():
            groups: dict[str, Scored] = defaultdict(list)
            for record, score in scores:
                name = name_of(record.about)
                if name is not None:
                    groups[name].append((record, score))
            found += [{"kind": kind, "by": cut, "is": name, **measure(groups[name])} for name in sorted(groups)]
    return found


def _box_recall(scores: Scored) -> Slice:
    total = {key: sum(score[key] for _, score in scores) for key in ("truth", "hits", "coloured", "labelled")}
    right = "coloured" if total["coloured"] else "labelled"
    errors = [value for _, score in scores for value in score["corner_errors"]]
    return {
        "recall@0.5": round(total["hits"] / max(1, total["truth"]), 3),
        "with the right words": round(total[right] / max(1, total["truth"]), 3),
        "median corner error, %": round(median(errors), 2) if errors else None,
        "boxes": total["truth"],
    }


def _event_tiou(scores: Scored) -> Slice:
    tious = [value for _, score in scores for value in score["tious"]]
    return {
        "mean tIoU": round(fmean(tious), 3) if tious else None,
        "R@0.5": round(fmean([value >= HIT for value in tious]), 3) if tious else None,
        "events": len(tious),
    }


def band(value: float, edges: Sequence[float], unit: str) -> str:
    """
    >>> band(300, (250, 500), "px"), band(100, (250, 500), "px"), band(600, (250, 500), "px")
    ('250 to 500 px', '0 to 250 px', '500 px and more')
    """
    low = max((edge for edge in edges if edge <= value), default=0)
    high = min((edge for edge in edges if edge > value), default=None)
    return f"{low:g} {unit} and more" if high is None else f"{low:g} to {high:g} {unit}"


About = dict[str, Any]
PICTURE_CUTS: dict[str, Callable[[About], str | None]] = {
    "longer side": lambda about: band(max(about["wh"]), (112, 250, 500), "px"),
    "aspect ratio": lambda about: band(max(about["wh"]) / min(about["wh"]), (1, 1.5, 2.2), "to one"),
    "things": lambda about: str(about["objects"]) if about["objects"] < 7 else "7 and more",
    "ground": lambda about: about.get("ground"),
    "file": lambda about: about.get("file"),
}
CLIP_CUTS: dict[str, Callable[[About], str | None]] = {
    "length": lambda about: band(about["duration_s"], (0, 15, 30, 60), "s"),
    "frame": lambda about: "x".join(map(str, about["wh"])),
    "file's frames a second": lambda about: f"{about['fps']:g}",
    "events": lambda about: str(about["events"]),
}
