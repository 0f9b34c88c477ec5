"""Figures over records: means, medians and rates, each with what it is taken over; and the same in slices."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import Any

from benchmarks.accuracy.coco_figures import average_precision
from benchmarks.accuracy.items import Record
from benchmarks.accuracy.scoring import HIT, Scores, scored


@dataclass(frozen=True)
class Figure:
    """One number."""

    value: float
    count: int
    """Of what it was taken over."""
    of: str
    """What those are."""


Figures = dict[str, Figure]
Scored = list[tuple[Record, Scores]]


def figures(records: Sequence[Record]) -> Figures:
    """All figures of a run. Records that are not final (the server failed) are left out and counted."""
    by_kind: dict[str, Scored] = defaultdict(list)
    for record in records:
        if record.is_final:
            by_kind[record.kind].append((record, scored(record)))
    found: Figures = {}
    for kind, summarise in SUMMARIES.items():
        if by_kind[kind]:
            found |= summarise(NAMES.get(kind, kind), by_kind[kind])
    found["answers that could not be read"] = _rate([record.error is not None for record in records], "answers")
    failed = [record for record in records if not record.is_final]
    found["questions that failed"] = Figure(len(failed), len(records), "questions")
    return found


def _mean(values: Iterable[float], of: str) -> Figure:
    kept = [float(value) for value in values]
    return Figure(fmean(kept) if kept else 0.0, len(kept), of)


def _rate(values: Iterable[bool], of: str) -> Figure:
    return _mean(map(float, values), of)


def _share(part: int, whole: int, of: str) -> Figure:
    return Figure(part / whole if whole else 0.0, whole, of)


def _all(scores: Scored, name: str) -> list[Any]:
    return [value for _, score in scores for value in score[name]]


def _each(scores: Scored, name: str) -> list[Any]:
    return [score[name] for _, score in scores]


def _detection(name: str, scores: Scored) -> Figures:
    total = {key: sum(_each(scores, key)) for key in ("truth", "given", "hits", "labelled", "coloured")}
    errors = _all(scores, "corner_errors")
    records = [record for record, _ in scores]
    boxes = total["truth"]
    found = {
        f"{name} {key}": Figure(value, boxes, "boxes there are") for key, value in average_precision(records).items()
    }
    if any("sub_label" in each for record in records for each in record.truth["objects"]):
        with_colour = average_precision(records, with_sub_labels=True)
        found |= {
            f"{name} {key}, sub-labels too": Figure(value, boxes, "boxes there are")
            for key, value in with_colour.items()
            if key == "mAP@0.5"
        }
        found[f"{name} recall@0.5, label and sub-label right"] = _share(total["coloured"], boxes, "boxes there are")
    found |= {
        f"{name} recall@0.5": _share(total["hits"], boxes, "boxes there are"),
        f"{name} recall@0.5, label right": _share(total["labelled"], boxes, "boxes there are"),
        f"{name} precision@0.5": _share(total["hits"], total["given"], "boxes given"),
        f"{name} mean IoU": _mean(_all(scores, "ious"), "boxes there are"),
        f"{name} number of boxes right": _rate(_each(scores, "number_right"), "pictures"),
    }
    if errors:
        found[f"{name} median corner error, % of longer side"] = Figure(median(errors), len(errors), "sides of hits")
        found[f"{name} p90 corner error, % of longer side"] = Figure(_p90(errors), len(errors), "sides of hits")
    return found


def _p90(values: Sequence[float]) -> float:
    """
    >>> round(_p90([1.0] * 9 + [2.0]), 2)
    1.9
    """
    return quantiles(values, n=10)[-1] if len(values) > 1 else values[0]


def _absent(name: str, scores: Scored) -> Figures:
    return {"a label that is not there: nothing found": _rate(_each(scores, "right"), "pictures")}


def _count(name: str, scores: Scored) -> Figures:
    return {
        f"{name} exact": _rate(_each(scores, "exact"), "questions"),
        f"{name} mean error": _mean(_each(scores, "error"), "questions"),
    }


def _ground(name: str, scores: Scored) -> Figures:
    return {
        f"{name} IoU>=0.5": _rate(_each(scores, "hit"), "phrases"),
        f"{name} mean IoU": _mean(_each(scores, "iou"), "phrases"),
    }


def _point(name: str, scores: Scored) -> Figures:
    total = {key: sum(_each(scores, key)) for key in ("truth", "given", "hits")}
    return {
        f"{name} recall": _share(total["hits"], total["truth"], "things there are"),
        f"{name} precision": _share(total["hits"], total["given"], "points given"),
        f"{name} each in its place, none too many": _rate(_each(scores, "right"), "pictures"),
    }


def _caption(name: str, scores: Scored) -> Figures:
    total = {key: sum(_each(scores, key)) for key in ("truth", "named", "shared")}
    return {
        f"{name} names all and nothing else": _rate(_each(scores, "exact"), "pictures"),
        f"{name} recall of things": _share(total["shared"], total["truth"], "things there are"),
        f"{name} precision of things": _share(total["shared"], total["named"], "things named"),
    }


def _events(name: str, scores: Scored) -> Figures:
    tious = _all(scores, "tious")
    total = {key: sum(_each(scores, key)) for key in ("given", "hits")}
    found = {
        f"{name} mean tIoU": _mean(tious, "events there are"),
        f"{name} R@0.5": _rate([value >= HIT for value in tious], "events there are"),
        f"{name} R@0.7": _rate([value >= 0.7 for value in tious], "events there are"),
        f"{name} precision@0.5": _share(total["hits"], total["given"], "events told"),
        f"{name} described right": _rate(_all(scores, "described"), "hits"),
    }
    errors = _all(scores, "edge_errors_s")
    if errors:
        found[f"{name} median error of start and end, s"] = Figure(median(errors), len(errors), "edges of hits")
    return found


def _moment(name: str, scores: Scored) -> Figures:
    tious = _each(scores, "tiou")
    found = {f"{name} mean tIoU": _mean(tious, "queries")}
    for least in (0.3, 0.5, 0.7):
        found[f"{name} R@{least}"] = _rate([value >= least for value in tious], "queries")
    return found


def _no_moment(name: str, scores: Scored) -> Figures:
    return {"a moment that does not occur: nothing told": _rate(_each(scores, "right"), "queries")}


def _page(name: str, scores: Scored) -> Figures:
    total = {key: sum(_each(scores, key)) for key in ("truth", "given", "hits")}
    return {
        f"{name} text edit distance": _mean(_each(scores, "edit_distance"), "pages"),
        f"{name} mean block IoU": _mean(_all(scores, "block_ious"), "blocks there are"),
        f"{name} block recall@0.5": _share(total["hits"], total["truth"], "blocks there are"),
        f"{name} block precision@0.5": _share(total["hits"], total["given"], "blocks given"),
        f"{name} block type right": _rate(_all(scores, "typed"), "hits"),
    }


def _extract(name: str, scores: Scored) -> Figures:
    return {
        f"{name} values exact": _rate(_all(scores, "right"), "values"),
        f"{name} records exact": _rate(_each(scores, "all"), "pages"),
    }


def _act(name: str, scores: Scored) -> Figures:
    return {f"{name} click on the button": _rate(_each(scores, "hit"), "screens")}


NAMES = {
    "some": "detect some",
    "everything": "detect everything",
    "count-words": "count in words",
    "long-events": "long events",
}
"""Kind -> how its figures are called, where that is not its name."""
SUMMARIES: dict[str, Callable[[str, Scored], Figures]] = {
    "detect": _detection,
    "some": _detection,
    "everything": _detection,
    "absent": _absent,
    "count": _count,
    "count-words": _count,
    "ground": _ground,
    "relate": _ground,
    "point": _point,
    "caption": _caption,
    "events": _events,
    "long-events": _events,
    "moment": _moment,
    "no-moment": _no_moment,
    "page": _page,
    "extract": _extract,
    "act": _act,
}


BINS = 20


def distributions(records: Sequence[Record]) -> dict[str, list[int]]:
    """How many boxes and events have an IoU of 0 to 0.05, 0.05 to 0.1, ..., 0.95 to 1, each with its best answer."""
    found: dict[str, list[int]] = {}
    for record in records:
        for name, title in (("ious", "IoU"), ("tious", "tIoU"), ("block_ious", "block IoU")):
            values = scored(record).get(name) if record.is_final else None
            if values:
                bins = found.setdefault(f"{NAMES.get(record.kind, record.kind)} {title}", [0] * BINS)
                for value in values:
                    bins[min(int(value * BINS), BINS - 1)] += 1
    return found
