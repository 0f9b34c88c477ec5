"""Boxes and points that stand outside all JSON: XML points, `x1,y1,x2,y2 label`, bare lists of numbers.

A line must be such a form as a whole (XML excepted): four numbers in the middle of a sentence are no box.
"""

import re
from collections.abc import Iterator, Sequence

from server.tasks.reading import Fields, Found

_NUMBER = r"-?\d{1,7}(?:\.\d{1,6})?"
_FOUR = rf"({_NUMBER}\s{{0,8}},\s{{0,8}}{_NUMBER}\s{{0,8}},\s{{0,8}}{_NUMBER}\s{{0,8}},\s{{0,8}}{_NUMBER})"
_BULLET = r"\s{0,40}(?:[-*•]\s{1,4}|\d{1,3}[.)]\s{1,4})?"
_NUMBERS_FIRST = re.compile(rf"{_BULLET}[\[(]?\s{{0,4}}{_FOUR}\s{{0,4}}[\])]?[,:;]?(?:\s{{1,8}}(\S[^\n]{{0,200}}))?\s*")
_LABEL_FIRST = re.compile(rf"{_BULLET}([^\[\](){{}}<>\n]{{1,80}}?)\s{{0,4}}[:=-]\s{{0,4}}[\[(]\s{{0,4}}{_FOUR}\s{{0,4}}[\])][.,;]?\s*")  # fmt: skip  # noqa: E501
_LISTS = re.compile(r"[\s\d.,\[\]-]{7,}")
_LIST = re.compile(rf"\[\s{{0,8}}{_FOUR}\s{{0,8}}\]")
_XML = re.compile(r"<\s{0,4}points?\b([^<>]{0,2000})>([^<>]{0,300})", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b([A-Za-z]{1,8})(\d{0,4})\s{0,4}=\s{0,4}(?:\"([^\"]{0,300})\"|'([^']{0,300})')")


def spot_lines(text: str, start: int) -> Sequence[Found]:
    """Items in one line, or in a piece of a line beside JSON, that begins at `start` in the answer.

    >>> [found.fields for found in spot_lines("43,378,996,957 cakes", 0)]
    [{'bbox_2d': '43,378,996,957', 'label': 'cakes'}]
    >>> [found.fields for found in spot_lines('< points x1="284" y1="305" alt="a pin">rolling pin</points>', 0)]
    [{'points': [['284', '305']], 'label': 'rolling pin'}]
    >>> spot_lines("There are 12 items, 3 of them red.", 0)
    []
    """
    if len(text) < 7 or not any(char in text for char in "0123456789"):
        return []
    if "<" in text:
        return list(_xml_points(text, start))
    if match := _NUMBERS_FIRST.fullmatch(text):
        return [_found(text, start, {"bbox_2d": match[1], "label": _words(match[2])})]
    if match := _LABEL_FIRST.fullmatch(text):
        return [_found(text, start, {"bbox_2d": match[2], "label": _words(match[1])})]
    if _LISTS.fullmatch(text):
        return [Found({"bbox_2d": each[1]}, start + each.start(), start + each.end()) for each in _LIST.finditer(text)]
    return []


def _found(text: str, start: int, fields: Fields) -> Found:
    return Found(fields, start, start + len(text.rstrip()))


def _words(text: str | None) -> str | None:
    return text.strip(" \t\r\"'*`,.;:") if text else None


def _xml_points(text: str, start: int) -> Iterator[Found]:
    for match in _XML.finditer(text):
        xs: dict[str, str] = {}
        ys: dict[str, str] = {}
        alt = None
        for name, index, double, single in _ATTRIBUTE.findall(match[1]):
            value = double or single
            if name.lower() == "x":
                xs[index] = value
            elif name.lower() == "y":
                ys[index] = value
            elif name.lower() == "alt":
                alt = value
        points = [[xs[index], ys[index]] for index in xs if index in ys]
        label = match[2].strip() or alt
        if points:
            yield Found({"points": points, "label": label}, start + match.start(), start + match.end())
        elif re.fullmatch(rf"\s*{_NUMBER}\s{{0,8}}[,\s]\s{{0,8}}{_NUMBER}\s*", match[2]):
            yield Found({"points": [match[2].strip()], "label": alt}, start + match.start(), start + match.end())
