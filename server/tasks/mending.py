"""JSON that is not quite JSON, mended by json-repair into what can be written as JSON again."""

import math
from typing import Any

import json_repair


def mended(text: str) -> Any:
    """The value that a text was probably meant to be; None where there is none.

    json-repair reads what JSON readers refuse, and gives values that JSON writers refuse: whole numbers of any length,
    infinite ones, halves of surrogate pairs. Those become what a strict reader makes of them, or text.

    >>> mended('{"total": 123456789012345678901234567890, "rest": 1e999, "who": "\\\\ud800x",')
    {'total': 1.2345678901234568e+29, 'rest': 'inf', 'who': '?x'}
    >>> mended("{" * 10_000) is None
    True
    """
    try:
        return _writable(json_repair.loads(text, skip_json_loads=True))
    except (ValueError, RecursionError):  # nested too deep; a number of more digits than Python reads
        return None


def _writable(value: Any) -> Any:
    match value:
        case dict():
            return {_writable(name): _writable(each) for name, each in value.items()}
        case list():
            return [_writable(each) for each in value]
        case str():
            return value.encode("utf-8", "replace").decode()
        case int() if value.bit_length() > 63:
            return float(value) if value.bit_length() < 1024 else str(value)
        case float() if not math.isfinite(value):
            return str(value)
    return value
