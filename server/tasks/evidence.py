"""Where the values of a record stand on the pages: found by searching the lines that were spotted, never invented."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rapidfuzz import fuzz

Match = Literal["exact", "normalised", "fuzzy", "none"]
NEAR = 88
"""Similarity, 0..100, from which a line counts as holding a value."""
MAX_FIELDS = 500
_SHORTEST_FUZZY_CHARS = 5
_NOT_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page."""

    page: int
    text: str
    bbox_2d: list[float]


def evidence(data: Any, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """One entry for each value of the record; `bbox_2d` and `quote` are null where the pages do not show it.

    >>> lines = [Line(1, "TOTAL  17,000", [1, 2, 3, 4])]
    >>> [(each["field"], each["match"], each["quote"]) for each in evidence({"total": 17000, "tip": 3}, lines)]
    [('total', 'normalised', 'TOTAL  17,000'), ('tip', 'none', None)]
    """
    found = []
    for at, (field, value) in enumerate(_leaves(data, "")):
        if at == MAX_FIELDS:
            break
        line, match = _find(value, lines)
        found.append(
            {
                "field": field,
                "page": line.page if line else 1,
                "bbox_2d": line.bbox_2d if line else None,
                "quote": line.text if line else None,
                "match": match,
            }
        )
    return found


def _leaves(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{field}.{key}".lstrip("."))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _leaves(each, f"{field}[{at}]")
    elif value is not None and not isinstance(value, bool) and str(value).strip():
        yield field, str(value).strip()


def _find(value: str, lines: Sequence[Line]) -> tuple[Line | None, Match]:
    whole = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")
    for line in lines:
        if whole.search(line.text):
            return line, "exact"
    plain = _plain(value)
    if plain:
        for line in lines:
            if _holds(_plain(line.text), plain) or _same_number(value, line.text):
                return line, "normalised"
    if len(plain) < _SHORTEST_FUZZY_CHARS or plain.isdecimal():
        return None, "none"  # a number with another digit is another number
    best = max(lines, key=lambda line: _likeness(plain, line.text), default=None)
    return (best, "fuzzy") if best is not None and _likeness(plain, best.text) >= NEAR else (None, "none")


def _plain(text: str) -> str:
    return _NOT_WORD.sub(" ", text.casefold()).strip()


def _holds(line: str, words: str) -> bool:
    return f" {words} " in f" {line} "


def _same_number(value: str, line: str) -> bool:
    """Whether the line holds the number under another spelling: 5.25 as 5,25 or $5.250; 17000 as 17,000."""
    try:
        number = float(value)
    except ValueError:
        return False
    for written in re.findall(r"\d[\d.,']{0,20}", line):
        bare = written.rstrip(".,").replace("'", "")
        spellings = {bare.replace(",", ""), bare.replace(".", "").replace(",", ".")}
        if any(_is(each, number) for each in spellings):
            return True
    return False


def _is(written: str, number: float) -> bool:
    try:
        return float(written) == number
    except ValueError:
        return False


def _likeness(plain: str, line: str) -> float:
    return float(fuzz.partial_ratio(plain, _plain(line)))
