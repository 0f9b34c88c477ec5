"""Reads answers that say where things are: detection, pointing, lines of text. One item each, in the caller's space."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from server.geometry import Box, CoordinateSpace, Point, box_numbers, place_box, place_point, point_numbers
from server.tasks.list_reader import ListReader
from server.tasks.reading import Fields, Found, ItemStream, Notice
from server.tasks.reading_boxes import Place, read_label, read_places, spot_items
from server.tasks.reading_lines import spot_lines
from server.tasks.repetition import RepetitionDetector
from server.tasks.task import Shown, first_view

Shape = Literal["box", "point"]
_ACTIONS = {
    "box_reversed": "corners were put in order",
    "box_clipped": "clipped to the picture",
    "box_degenerate": "widened to one pixel",
    "box_from_polygon": "the rectangle around it was taken",
    "box_score_ignored": "the fifth number was left out",
    "point_from_box": "its middle was taken",
    "json_repaired": "repaired",
    "cut_off": "kept as far as it goes",
}
"""What is done about each fault; an item with any other fault is dropped."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One thing at one place, in pixels of the caller's picture."""

    fields: Fields
    box: Box | None
    point: Point | None
    numbers: list[float]
    """The place as the answer gives it."""
    confidence: float | None


MakeItem = Callable[[Spot], dict[str, Any] | None]
"""An item of the answer, or None to leave it out."""


class SpotReader(ListReader):
    """Items with a box, or with a point, each placed in the caller's picture as soon as it closes."""

    without_items = "holds no list of objects"

    def __init__(
        self,
        shown: Shown,
        make_item: MakeItem,
        *,
        shape: Shape,
        space: CoordinateSpace,
        detector: RepetitionDetector | None = None,
    ) -> None:
        super().__init__(shown, ItemStream(spot_items, spot_lines), detector)
        self._view = first_view(shown)
        self._make_item, self._shape, self._space = make_item, shape, space

    def placed(self, found: Found) -> list[dict[str, Any]]:
        """See `ListReader.placed`."""
        places, problem = read_places(found.fields)
        if problem == "point_as_box" and self._shape == "point":
            problem = None
        codes = [*found.codes, *([problem] if problem in _ACTIONS else [])]
        items = []
        for place in places:
            numbers, spot_box, spot_point, done = self._place(place)
            if numbers is None:
                self._drop(done[-1], found)
                continue
            self._items_looped = self._items_looped or self._same.add((*numbers, read_label(found.fields)))
            if self._items_looped:
                break
            confidence = self.confidences.of(found.start, self._source(found))
            item = self._make_item(Spot(found.fields, spot_box, spot_point, numbers, confidence))
            codes += done
            if item is not None:
                items.append(item)
        if not places:
            self._drop(problem or "box_missing", found)
        else:
            self.warnings += [Notice(code, found.fields, _ACTIONS[code]) for code in dict.fromkeys(codes)]
        return items

    def _place(self, place: Place) -> tuple[list[float] | None, Box | None, Point | None, tuple[str, ...]]:
        shown_wh, original_wh = self._view.shown_wh, self._view.original_wh
        if self._shape == "box":
            if place.box is None:
                return None, None, None, ("point_as_box",)
            box, done = place_box(place.box, shown_wh, original_wh)
            return (box and box_numbers(box, original_wh, self._space)) or None, box, None, done
        written = place.point or (place.box.ordered().centre if place.box else None)
        assert written is not None
        point, done = place_point(written, shown_wh, original_wh)
        if point is not None and place.box is not None:
            done = (*done, "point_from_box")
        return (point and point_numbers(point, original_wh, self._space)) or None, None, point, done

    def _drop(self, code: str, found: Found) -> None:
        code = "item_cut_off" if "cut_off" in found.codes else code
        self.warnings.append(Notice(code, found.fields, "dropped"))

    def _source(self, found: Found) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0][found.start : found.end]


def spot_schema(shape: Shape, words: dict[str, list[str] | None]) -> dict[str, Any]:
    """The JSON schema of a list of places with words to each; a list of words allows only those.

    >>> spot_schema("point", {"label": ["cat"]})["items"]["properties"]["label"]
    {'type': 'string', 'enum': ['cat']}
    """
    key, count = ("bbox_2d", 4) if shape == "box" else ("point_2d", 2)
    number = {"type": "integer", "minimum": 0, "maximum": 9999}
    place = {"type": "array", "items": number, "minItems": count, "maxItems": count}
    properties: dict[str, Any] = {key: place}
    for name, allowed in words.items():
        properties[name] = {"type": "string", "enum": allowed} if allowed else {"type": "string"}
    item = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "array", "items": item}
