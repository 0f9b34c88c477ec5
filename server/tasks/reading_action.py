"""The action in an agent's answer: Qwen's `<tool_call>`, with or without its closer, or the JSON alone.

    <tool_call>
    {"name": "mobile_use", "arguments": {"action": "click", "coordinate": [935, 406]}}
    </tool_call>

Seen in the wild: another symbol in place of the closer, a lost brace, `{"name": "click", "point": [x, y]}` without
`arguments`, planners' `{"action": {"type": "Tap", "locate": {"bbox_2d": ...}}}`, thoughts around the call.
"""

import re
from dataclasses import dataclass
from typing import Any

from server.tasks.reading import Fields, Notice, plain_keys
from server.tasks.reading_boxes import read_label, read_numbers, read_places
from server.tasks.reading_value import read_value

_CALL = re.compile(r"<\s*tool_call\s*>", re.IGNORECASE)
_CLOSER = re.compile(r"<\s*/\s*tool_call\s*>", re.IGNORECASE)
_THOUGHT = re.compile(r"<\s*(?:thinking|think|thought)\s*>(.*?)(?:<\s*/|\Z)", re.DOTALL | re.IGNORECASE)
_CONCLUSION = re.compile(r"<\s*conclusion\s*>(.*?)(?:<\s*/|\Z)", re.DOTALL | re.IGNORECASE)
_TOOLS = frozenset({"computer_use", "mobile_use", "computer", "mobile"})
_COORDINATES = {"coordinate": ("coordinate", "coordinates", "point", "point_2d", "position", "start_box", "start",
                               "bbox_2d", "bbox", "locate"),
                "coordinate2": ("coordinate2", "coordinates2", "end_box", "end", "end_coordinate", "to")}  # fmt: skip
_ARGUMENTS = ("keys", "text", "pixels", "time", "button", "status")


@dataclass(frozen=True, slots=True)
class Call:
    """What the model wants to do, in its own words; coordinates in pixels of the screenshot that was shown."""

    action: str
    arguments: dict[str, Any]
    """`coordinate`, `coordinate2` as [x, y] floats, `keys`, `text`, `pixels`, `time`, `button`, `status`."""
    thought: str | None = None
    conclusion: str | None = None


def read_call(answer: str) -> tuple[Call | None, list[Notice]]:
    """The first action in an answer; None if there is none.

    >>> read_call('<tool_call>\\n{"name": "click", "point": [428, 2178]}\\n\\u2697')[0]
    Call(action='click', arguments={'coordinate': [428.0, 2178.0]}, thought=None, conclusion=None)
    >>> read_call('{"name": "computer_use", "arguments": {"action": "key", "keys": ["ctrl", "c"]}')[0].arguments
    {'keys': ['ctrl', 'c']}
    >>> read_call("There is no such button.")
    (None, [])
    """
    begin = _CALL.search(answer)
    body = answer[begin.end() :] if begin else answer
    value, notices = read_value(_CLOSER.split(body, maxsplit=1)[0])
    if value is None:
        return None, notices
    if begin and not _CLOSER.search(body):
        notices.append(Notice("tool_call_not_closed", body[-40:], "read as if it were"))
    named = _named(plain_keys(value), 3)
    if named is None:
        return None, notices
    action, fields = named
    return Call(action, _arguments(fields), _words(_THOUGHT, answer), _words(_CONCLUSION, answer)), notices


def _named(fields: Fields, levels: int) -> tuple[str, Fields] | None:
    """(action, the fields that belong to it), whichever way they are wrapped."""
    if levels == 0:
        return None
    name = fields.get("name") or fields.get("action") or fields.get("type") or fields.get("action_type")
    inner = _inner(fields)
    if isinstance(name, dict):
        return _named(plain_keys(name), levels - 1)
    if not isinstance(name, str):
        return _named(inner, levels - 1) if inner else None
    if name.lower() in _TOOLS:
        return _named(inner if inner else {key: value for key, value in fields.items() if key != "name"}, levels - 1)
    return name.strip().lower().replace(" ", "_"), {**fields, **inner}


def _inner(fields: Fields) -> Fields:
    for key in ("arguments", "args", "parameters", "param", "params", "action_inputs"):
        value = fields.get(key)
        if isinstance(value, str):
            value = read_value(value)[0]
        if isinstance(value, dict):
            return plain_keys(value)
    return {}


def _arguments(fields: Fields) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for name, keys in _COORDINATES.items():
        point = next((point for key in keys if (point := _point(fields.get(key))) is not None), None)
        if point is not None:
            arguments[name] = point
    for key in _ARGUMENTS:
        if fields.get(key) is not None:
            arguments[key] = fields[key]
    if "text" not in arguments and (text := read_label(fields, ("content", "value", "app", "app_name", "answer"))):
        arguments["text"] = text
    return arguments


def _point(value: Any) -> list[float] | None:
    """[x, y] of a point, or of a box's middle."""
    if isinstance(value, dict):
        places, _ = read_places(value)
        if places and places[0].point:
            return [places[0].point.x, places[0].point.y]
        if places and places[0].box:
            return [places[0].box.centre.x, places[0].box.centre.y]
        return None
    numbers = read_numbers(value)
    if len(numbers) == 4:
        return [(numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2]
    return numbers if len(numbers) == 2 else None


def _words(pattern: re.Pattern[str], answer: str) -> str | None:
    match = pattern.search(answer)
    return (match[1].strip() or None) if match else None
