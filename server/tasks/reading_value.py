"""One JSON value out of an answer: a record, or an action. Lists of items have a reader of their own, `reading`."""

import re
from typing import Any

import orjson

from server.tasks.mending import mended
from server.tasks.reading import Notice, repair_cost

MAX_VALUE_CHARS = 200_000
"""Longest text searched for a value; longer than any answer that a request may ask for."""
MAX_REPAIR_COST = 250_000
"""Most work on repairing one value; see `reading.repair_cost`."""
_FENCE = re.compile(r"```[A-Za-z0-9_+-]{0,20}[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\],]', re.DOTALL)
_MAX_OPEN = 64
_BEGINS = re.compile(r"[{\[]")


def read_value(answer: str, kinds: tuple[type, ...] = (dict,)) -> tuple[Any, list[Notice]]:
    """The first value of one of `kinds` (dict, list) in an answer, repaired where need be; None if there is none.

    Of one that was cut off, the member that was being written is left out: half a number is another number.

    >>> read_value('Here you are:\\n```json\\n{"total": 5.25}\\n```\\nAnything else?')
    ({'total': 5.25}, [])
    >>> read_value('{"total": 5.25, "company": "ACM')[0]
    {'total': 5.25}
    >>> read_value("I see no receipt.")
    (None, [])
    """
    text = answer[:MAX_VALUE_CHARS].strip()
    for candidate in (text, *(fence[1].strip() for fence in _FENCE.finditer(text))):
        value = _loads(candidate)
        if isinstance(value, kinds):
            return value, []
    begin = next((match.start() for match in _BEGINS.finditer(text) if _opens(text[match.start()], kinds)), None)
    if begin is None:
        return None, []
    body = text[begin:].split("```", 1)[0]
    value = _first_value(body, kinds)
    if value is not None:
        return value, []
    value = _closed(body, kinds)
    if value is not None:
        return value, [Notice("cut_off", body[-100:], "kept up to the last whole member")]
    if repair_cost(body) <= MAX_REPAIR_COST:
        value = _repaired(body, kinds)
    return value, ([Notice("json_repaired", body[:200], "repaired")] if value is not None else [])


def _opens(char: str, kinds: tuple[type, ...]) -> bool:
    return (dict if char == "{" else list) in kinds


def _first_value(text: str, kinds: tuple[type, ...]) -> Any:
    """The value that sound JSON begins `text` with, whatever follows; a few closers are tried."""
    closer = "}" if text[0] == "{" else "]"
    ends = [match.end() for match in re.finditer(re.escape(closer), text)]
    for end in [*ends[:2], *ends[-4:]]:
        value = _loads(text[:end])
        if isinstance(value, kinds):
            return value
    return None


def _closed(text: str, kinds: tuple[type, ...]) -> Any:
    """Sound JSON that only was cut off, up to its last whole member; None where that is not what is wrong.

    >>> _closed('{"a": [1, 2], "b": {"c": 3, "d": "cut of', (dict,))
    {'a': [1, 2], 'b': {'c': 3}}
    """
    closers: list[str] = []
    last: tuple[int, str] | None = None  # where the last whole member ended, and what is open there
    for match in _MARKS.finditer(text):
        mark = match[0]
        if mark in "{[":
            closers.append("}" if mark == "{" else "]")
            if len(closers) > _MAX_OPEN:
                return None
        elif mark in "}]":
            if not closers or closers.pop() != mark:
                return None
            last = (match.end(), "".join(reversed(closers)))
        elif mark == ",":
            last = (match.start(), "".join(reversed(closers)))
    if last is None:
        return None
    value = _loads(text[: last[0]] + last[1])
    return value if isinstance(value, kinds) else None


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _repaired(text: str, kinds: tuple[type, ...]) -> Any:
    value = mended(text)
    if isinstance(value, kinds):
        return value or None
    if isinstance(value, list) and dict in kinds:  # prose or a second value behind the first
        return next((each for each in value if isinstance(each, dict) and each), None)
    return None
