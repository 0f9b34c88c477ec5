"""What one record says: numbers by kind, each from the truth and the answer alone. An unreadable answer found nothing.

A score is a share (0..1), an error, or a list of them; `figures.py` takes means and medians over records.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rapidfuzz.distance import Levenshtein

from benchmarks.accuracy.items import Fields, Record
from benchmarks.accuracy.matching import corner_errors, holds, iou, matched, pointed, tiou

Scores = dict[str, Any]
HIT = 0.5
"""Likeness from which a box or span counts as found."""
BLOCK_TYPES = {"h1": "title", "p": "paragraph", "image": "figure", "table": "table"}
"""Tags of our own pages -> types in answers; other suites speak in types."""


def given_objects(record: Record) -> list[Fields]:
    """Boxes of an answer, those of labels that were not asked for included."""
    return [each for each in (record.answer or {}).get("objects", []) if each.get("bbox_2d")]


def detect(record: Record) -> Scores:
    """Boxes, labels, sub-labels where the truth has them, how many, and how far corners are off."""
    truth = [each for each in record.truth["objects"] if not each.get("crowd")]
    given = given_objects(record)
    pairs = matched(truth, given, lambda t, g: iou(t["bbox"], g["bbox_2d"]))
    hits = [(truth[i], given[j]) for i, j, like in pairs if like >= HIT]
    labelled = [(t, g) for t, g in hits if t["label"] == g["label"]]
    coloured = [(t, g) for t, g in labelled if "sub_label" in t and t["sub_label"] == g.get("sub_label")]
    best = dict.fromkeys(range(len(truth)), 0.0) | {i: like for i, _, like in pairs}
    wh = image_wh(record)
    return {
        "truth": len(truth),
        "given": len(given),
        "hits": len(hits),
        "labelled": len(labelled),
        "coloured": len(coloured),
        "ious": [best[i] for i in range(len(truth))],
        "corner_errors": [each for t, g in hits for each in corner_errors(t["bbox"], g["bbox_2d"], wh)],
        "number_right": len(truth) == len(given),
    }


def image_wh(record: Record) -> tuple[int, int]:
    """The picture's own size, as the suite knows it."""
    width, height = record.about["wh"]
    return width, height


def absent(record: Record) -> Scores:
    """Nothing must be found. An unreadable answer is not one that says so."""
    return {"right": record.answer is not None and not given_objects(record)}


def count(record: Record) -> Scores:
    """How many boxes."""
    return counted(record, None if record.answer is None else len(given_objects(record)))


def count_words(record: Record) -> Scores:
    """The first number of an answer in words."""
    choices = (record.answer or {}).get("choices") or [{}]
    return counted(record, first_number(str((choices[0].get("message") or {}).get("content") or "")))


def counted(record: Record, given: int | None) -> Scores:
    truth = int(record.truth["count"])
    return {"truth": truth, "given": given, "exact": given == truth, "error": abs((given or 0) - truth)}


NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def first_number(text: str) -> int | None:
    """
    >>> first_number("There are 2 red stars."), first_number("There are no stars."), first_number("Many.")
    (2, 0, None)
    """
    match = re.search(rf"\b(?:(\d+)|({'|'.join(NUMBER_WORDS)}|zero|a|an))\b", text, re.IGNORECASE)
    if match is None:
        return None
    if match[1]:
        return int(match[1])
    word = match[2].lower()
    return {"zero": 0, "a": 1, "an": 1}.get(word, NUMBER_WORDS.index(word) if word in NUMBER_WORDS else 0)


def ground(record: Record) -> Scores:
    """The first box that is given; further ones make it no better."""
    given = given_objects(record)
    likeness = iou(record.truth["bbox"], given[0]["bbox_2d"]) if given else 0.0
    return {"iou": likeness, "hit": likeness >= HIT, "alone": len(given) == 1}


def point(record: Record) -> Scores:
    """Points that fall into boxes, one each."""
    boxes = record.truth["boxes"]
    points = [each["point_2d"] for each in (record.answer or {}).get("objects", []) if each.get("point_2d")]
    hits = pointed(boxes, points)
    right = record.answer is not None and hits == len(boxes) == len(points)
    return {"truth": len(boxes), "given": len(points), "hits": hits, "right": right}


NAMED = re.compile(r"\b(red|green|blue|yellow|orange|purple) (circle|square|triangle|star|cross)\b", re.IGNORECASE)


def caption(record: Record) -> Scores:
    """Which of the things named are there, and which of those there are named."""
    text = str((record.answer or {}).get("caption", ""))
    named = Counter(" ".join(match).lower() for match in NAMED.findall(text))
    truth: Counter[str] = Counter(record.truth["names"])
    shared = (named & truth).total()
    return {"truth": truth.total(), "named": named.total(), "shared": shared, "exact": named == truth and bool(text)}


# -- time --------------------------------------------------------------------------------------------------------------


def given_spans(record: Record) -> list[Fields]:
    return list((record.answer or {}).get("events", []))


def events(record: Record) -> Scores:
    """For each event that happens the likeness of what was told of it."""
    truth, given = record.truth["events"], given_spans(record)
    pairs = matched(truth, given, lambda t, g: tiou(t["span"], (g["start_s"], g["end_s"])))
    best = dict.fromkeys(range(len(truth)), 0.0) | {i: like for i, _, like in pairs}
    hits = [(truth[i], given[j]) for i, j, like in pairs if like >= HIT]
    return {
        "tious": [best[i] for i in range(len(truth))],
        "truth": len(truth),
        "given": len(given),
        "hits": len(hits),
        "described": [t["description"] == g["description"] for t, g in hits],
        "edge_errors_s": [
            abs(a - b) for t, g in hits for a, b in zip(t["span"], (g["start_s"], g["end_s"]), strict=True)
        ],
    }


def moment(record: Record) -> Scores:
    """The first span of the answer against the likest of the right ones."""
    given = given_spans(record)
    first = (given[0]["start_s"], given[0]["end_s"]) if given else (0.0, 0.0)
    return {"tiou": max((tiou(span, first) for span in record.truth["spans"]), default=0.0), "given": len(given)}


def no_moment(record: Record) -> Scores:
    """Nothing must be told. An unreadable answer is not one that says so."""
    return {"right": record.answer is not None and not given_spans(record)}


# -- pages and screens -------------------------------------------------------------------------------------------------


def page(record: Record) -> Scores:
    """Its text in reading order, and its blocks. The answer's pixels may be others than the suite's: a PDF's have a
    size that the server chooses, so the truth is moved to the page that was answered.
    """
    pages = (record.answer or {}).get("pages") or [{}]
    given = pages[0].get("blocks") or []
    truth = [moved(block, record, pages[0]) for block in record.truth["blocks"]]
    boxed = [block for block in given if block.get("bbox_2d")]
    pairs = matched(truth, boxed, lambda t, g: iou(t["bbox"], g["bbox_2d"]))
    hits = [(truth[i], boxed[j]) for i, j, like in pairs if like >= HIT]
    best = dict.fromkeys(range(len(truth)), 0.0) | {i: like for i, _, like in pairs}
    return {
        "edit_distance": edit_distance(page_text(truth), page_text(given)),
        "block_ious": [best[i] for i in range(len(truth))],
        "truth": len(truth),
        "given": len(given),
        "hits": len(hits),
        "typed": [BLOCK_TYPES.get(t["type"], t["type"]) == g["type"] for t, g in hits],
    }


def moved(block: Fields, record: Record, answered: Fields) -> Fields:
    """A block of the truth in pixels of the page that was answered."""
    width, height = record.truth["wh"]
    scale = [answered.get("width", width) / width, answered.get("height", height) / height] * 2
    return {**block, "bbox": [value * by for value, by in zip(block["bbox"], scale, strict=True)]}


def page_text(blocks: Sequence[Fields]) -> str:
    """Words alone: how a table's cells are kept apart is no part of the page.

    >>> page_text([{"text": "A  title"}, {"text": ""}, {"text": "1 | 2\\n3\\t4"}])
    'A title 1 2 3 4'
    """
    return " ".join(" ".join(block.get("text", "") for block in blocks).replace("|", " ").split())


def edit_distance(truth: str, given: str) -> float:
    """Edits over the length of the longer text, 0 for the same and 1 for nothing shared.

    >>> edit_distance("kitten", "sitting")
    0.42857142857142855
    """
    return float(Levenshtein.normalized_distance(truth, given))


def extract(record: Record) -> Scores:
    """Values that are exactly right."""
    data = (record.answer or {}).get("data") or {}
    truth = record.truth["data"]
    right = [str(data.get(name, "")).strip() == str(value) for name, value in truth.items()]
    return {"right": right, "all": all(right)}


def act(record: Record) -> Scores:
    """Whether the click falls on the button."""
    action = (record.answer or {}).get("action") or {}
    place = action.get("coordinate")
    is_click = "click" in str(action.get("action"))
    return {"hit": bool(is_click and place and holds(record.truth["bbox"], place)), "click": is_click}


SCORERS: dict[str, Callable[[Record], Scores]] = {
    "detect": detect,
    "some": detect,
    "everything": detect,
    "absent": absent,
    "count": count,
    "count-words": count_words,
    "ground": ground,
    "relate": ground,
    "point": point,
    "caption": caption,
    "events": events,
    "long-events": events,
    "moment": moment,
    "no-moment": no_moment,
    "page": page,
    "extract": extract,
    "act": act,
}


def scored(record: Record) -> Scores:
    return SCORERS[record.kind](record)
