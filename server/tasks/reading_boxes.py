"""Boxes, points and labels in the objects that models write, whatever the keys and however the numbers are wrapped.

Qwen2.5-VL's own keys come first: `bbox_2d`, `point_2d`, `label`, `sub_label`, `text_content`. The others were seen in
its answers (`bbox` with `description`, `label2`, numbers as strings, two numbers in one string, a point as `bbox_2d`)
or in those of its relatives. Coordinates stay as written: pixels of the picture that was shown.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from server.geometry import Box, Point
from server.tasks.reading import Fields, inner_items, plain_keys

BOX_KEYS = ("bbox_2d", "bbox", "box_2d", "bbox_2", "2d_bbox", "box", "bounding_box", "boundingbox", "bounding_box_2d",
            "rect", "bboxes", "boxes", "coordinates", "position", "location")  # fmt: skip
POINT_KEYS = ("point_2d", "point", "points", "points_2d", "keypoint", "key_point", "coordinate", "center", "centre")
_SURE_KEYS = frozenset({"bbox_2d", "bbox", "box_2d", "point_2d"})  # a place even where the value is none
_CORNERS = (
    ("x1", "y1", "x2", "y2"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)
LABEL_KEYS = ("label", "name", "class", "class_name", "category", "object", "description", "prompt", "text_content",
              "text", "alt", "title", "type")  # fmt: skip
SUB_LABEL_KEYS = ("sub_label", "sublabel", "sub_labels", "label2", "attribute", "state", "status")
TEXT_KEYS = ("text_content", "text", "content", "transcription", "label", "description")
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,12})?")
_MAX_NESTING = 6


@dataclass(frozen=True, slots=True)
class Place:
    """A box or a point, exactly one of them, in pixels of the picture that was shown."""

    box: Box | None = None
    point: Point | None = None


def spot_items(fields: Fields, nested: bool) -> list[Fields]:
    """The objects, this one or ones inside it, that say where something is.

    >>> spot_items({"action": {"locate": {"bbox_2d": [563, 749], "prompt": "menu"}}}, False)
    [{'bbox_2d': [563, 749], 'prompt': 'menu'}]
    >>> spot_items({"cat": [1, 2, 3, 4], "dog": [[5, 6, 7, 8]]}, False)
    [{'label': 'cat', 'bbox_2d': [1, 2, 3, 4]}, {'label': 'dog', 'bbox_2d': [[5, 6, 7, 8]]}]
    >>> spot_items({"count": 3}, False)
    []
    """
    if (value := _place_value(fields)) is not None and (not nested or value[0] != "corners" or read_label(fields)):
        return [fields]
    inner = list(inner_items(fields, lambda each: _place_value(each) is not None))
    if inner or nested:
        return inner
    return [{"label": key, "bbox_2d": value} for key, value in fields.items() if _is_boxes(value)]


def read_places(fields: Fields) -> tuple[list[Place], str | None]:
    """Every place that an item names, and what was wrong where it names none or was read in another way than it stands.

    >>> read_places({"point_2d": ["243, 291"]})
    ([Place(box=None, point=Point(x=243.0, y=291.0))], None)
    >>> read_places({"bbox_2d": [1, 2, 3]})
    ([], 'box_numbers')
    >>> read_places({"bbox_2d": [563, 749]})[1]
    'point_as_box'
    """
    found = _place_value(fields)
    if found is None:
        return [], "box_missing"
    kind, value = found
    if value is None or value == [] or value == "":
        return [], "box_missing"
    groups = _groups(value, pairs=kind == "points")
    places: list[Place] = []
    problem = None
    for numbers in groups:
        place, wrong = _place(numbers)
        problem = wrong or problem
        if place is not None:
            places.append(place)
    if problem is None and kind == "box" and any(place.point for place in places):
        problem = "point_as_box"
    return places, problem or (None if places else "box_numbers")


def read_label(fields: Fields, keys: Sequence[str] = LABEL_KEYS) -> str | None:
    """The first of `keys` that holds words, without the blanks around them.

    >>> read_label({"bbox_2d": [], "sub_label": "wearing helmat "}, SUB_LABEL_KEYS)
    'wearing helmat'
    """
    plain = plain_keys(fields)
    for key in keys:
        value = plain.get(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def read_numbers(value: Any) -> list[float]:
    """All numbers in a value, in order, out of lists, strings and `{"x": .., "y": ..}`; nothing for what is no number.

    >>> read_numbers(["394", "105"]), read_numbers(["243, 291"]), read_numbers({"x": 1, "y": 2.5})
    ([394.0, 105.0], [243.0, 291.0], [1.0, 2.5])
    >>> read_numbers([1, None, True, "NaN", 2])
    [1.0, 2.0]
    """
    return list(_numbers(value, _MAX_NESTING))


def _numbers(value: Any, levels: int) -> Iterable[float]:
    if isinstance(value, bool) or value is None or levels == 0:
        return
    if isinstance(value, int | float):
        yield _finite(value)
    elif isinstance(value, str):
        yield from (float(number) for number in _NUMBER.findall(value[:200]))
    elif isinstance(value, list):
        for each in value[:64]:
            yield from _numbers(each, levels - 1)
    elif isinstance(value, dict):
        for each in list(value.values())[:8]:
            yield from _numbers(each, levels - 1)


def _finite(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return float("inf")


def _place_value(fields: Fields) -> tuple[str, Any] | None:
    """(`box`, `points` or `corners`; the value that names the place), or None where no key does."""
    plain = plain_keys(fields)
    for kind, keys in (("box", BOX_KEYS), ("points", POINT_KEYS)):
        for key in keys:
            if key in plain and (key in _SURE_KEYS or _is_place(plain[key])):
                return kind, plain[key]
    for corners in _CORNERS:
        if all(key in plain for key in corners):
            return "corners", [plain[key] for key in corners]
    if "x" in plain and "y" in plain:
        return "corners", [plain["x"], plain["y"]]
    return None


def _is_place(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"[\s\d.,()\[\]<>|-]{3,200}", value)) and len(read_numbers(value)) >= 2
    return isinstance(value, list | dict) and len(read_numbers(value)) >= 2 and not _holds_items(value)


def _holds_items(value: Any) -> bool:
    """Whether this is a list of whole items: `boxes: [{"bbox_2d": ...}]`."""
    each = value if isinstance(value, list) else [value]
    return any(isinstance(item, dict) and (read_label(item) or _SURE_KEYS & plain_keys(item).keys()) for item in each)


def _is_boxes(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    if all(isinstance(each, list) for each in value):
        return all(len(each) == 4 and len(read_numbers(each)) == 4 for each in value)
    return len(value) == 4 and len(read_numbers(value)) == 4


def _groups(value: Any, *, pairs: bool) -> list[list[float]]:
    """The numbers of each place: one, or several where a list of lists says so."""
    if isinstance(value, list) and value and all(isinstance(each, list | dict) for each in value):
        each_numbers = [read_numbers(each) for each in value]
        if pairs or any(len(numbers) >= 4 for numbers in each_numbers):
            return each_numbers
    if isinstance(value, list) and len(value) > 1 and all(isinstance(each, str) for each in value):
        each_numbers = [read_numbers(each) for each in value]
        if all(len(numbers) == 2 for numbers in each_numbers) and pairs:
            return each_numbers
    numbers = read_numbers(value)
    if pairs and len(numbers) > 4 and len(numbers) % 2 == 0:
        return [numbers[at : at + 2] for at in range(0, len(numbers), 2)]
    return [numbers]


def _place(numbers: list[float]) -> tuple[Place | None, str | None]:
    match numbers:
        case [x, y]:
            return Place(point=Point(x, y)), None
        case [x1, y1, x2, y2]:
            return Place(box=Box(x1, y1, x2, y2)), None
        case [x1, y1, x2, y2, score] if 0 <= score <= 1:
            return Place(box=Box(x1, y1, x2, y2)), "box_score_ignored"
        case [x1, y1, x2, y2, x3, y3, x4, y4]:
            xs, ys = (x1, x2, x3, x4), (y1, y2, y3, y4)
            return Place(box=Box(min(xs), min(ys), max(xs), max(ys))), "box_from_polygon"
        case _:
            return None, "box_numbers"
