"""Boxes and points, and moving them between pixel spaces. Pure: no request, no picture, no model.

Three spaces meet here, all with the origin at the top left, x to the right, y down:

    shown     pixels of the picture that the model saw, after smart_resize; what Qwen2.5-VL writes
    original  pixels of the caller's own picture, after its EXIF turn; what we answer
    output    original pixels, or fractions of the original: `unit` 0..1, `per_mille` 0..1000

Width and height are scaled each by its own factor: smart_resize stretches a picture a little to reach multiples of 28.
"""

import math
from dataclasses import dataclass
from typing import Literal

Size = tuple[int, int]
"""(width, height) in pixels, always in this order."""

CoordinateSpace = Literal["pixel", "unit", "per_mille"]

MIN_SIDE_PX = 1.0
"""A box that the model wrote with no width or height is widened to this many pixels of the original."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place, in whichever space the caller of these functions says."""

    x: float
    y: float

    def scaled(self, source_wh: Size, target_wh: Size) -> "Point":
        """The same place in another pixel space.

        >>> Point(100, 50).scaled((1000, 500), (2000, 1000))
        Point(x=200.0, y=100.0)
        """
        return Point(self.x / source_wh[0] * target_wh[0], self.y / source_wh[1] * target_wh[1])

    def clipped(self, wh: Size) -> "Point":
        """The nearest place inside a picture of `wh`.

        >>> Point(-3, 700).clipped((640, 480))
        Point(x=0.0, y=480.0)
        """
        return Point(_clamp(self.x, wh[0]), _clamp(self.y, wh[1]))


@dataclass(frozen=True, slots=True)
class Box:
    """Left, top, right, bottom, in whichever space the caller of these functions says."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def area(self) -> float:
        """
        >>> Box(0, 0, 4, 3).area
        12
        """
        return max(0, self.x2 - self.x1) * max(0, self.y2 - self.y1)

    @property
    def centre(self) -> Point:
        """
        >>> Box(0, 0, 4, 3).centre
        Point(x=2.0, y=1.5)
        """
        return Point((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2)

    def scaled(self, source_wh: Size, target_wh: Size) -> "Box":
        """The same box in another pixel space.

        >>> Box(10, 20, 110, 120).scaled((640, 640), (1280, 720))
        Box(x1=20.0, y1=22.5, x2=220.0, y2=135.0)
        """
        x_scale, y_scale = target_wh[0] / source_wh[0], target_wh[1] / source_wh[1]
        return Box(self.x1 * x_scale, self.y1 * y_scale, self.x2 * x_scale, self.y2 * y_scale)

    def ordered(self) -> "Box":
        """Corners swapped, where need be, so that x1 <= x2 and y1 <= y2.

        >>> Box(30, 40, 10, 20).ordered()
        Box(x1=10, y1=20, x2=30, y2=40)
        """
        return Box(min(self.x1, self.x2), min(self.y1, self.y2), max(self.x1, self.x2), max(self.y1, self.y2))

    def clipped(self, wh: Size) -> "Box":
        """The part inside a picture of `wh`; of no area where the box lies outside.

        >>> Box(-5, 20, 3000, 40).clipped((100, 100))
        Box(x1=0.0, y1=20.0, x2=100.0, y2=40.0)
        """
        return Box(_clamp(self.x1, wh[0]), _clamp(self.y1, wh[1]), _clamp(self.x2, wh[0]), _clamp(self.y2, wh[1]))

    def widened(self, wh: Size) -> "Box":
        """At least MIN_SIDE_PX wide and high, still inside a picture of `wh`.

        >>> Box(100, 5, 100, 9).widened((100, 100))
        Box(x1=99.0, y1=5, x2=100.0, y2=9)
        """
        x1, x2 = _at_least(self.x1, self.x2, wh[0])
        y1, y2 = _at_least(self.y1, self.y2, wh[1])
        return Box(x1, y1, x2, y2)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0..1; both boxes ordered and in the same space.

        >>> Box(0, 0, 2, 1).iou(Box(1, 0, 3, 1))
        0.3333333333333333
        """
        shared = Box(max(self.x1, other.x1), max(self.y1, other.y1), min(self.x2, other.x2), min(self.y2, other.y2))
        union = self.area + other.area - shared.area
        return shared.area / union if union > 0 else 0.0

    def union(self, other: "Box") -> "Box":
        """The smallest box around both.

        >>> Box(0, 0, 1, 1).union(Box(5, 5, 6, 7))
        Box(x1=0, y1=0, x2=6, y2=7)
        """
        return Box(min(self.x1, other.x1), min(self.y1, other.y1), max(self.x2, other.x2), max(self.y2, other.y2))


def place_box(written: Box, shown_wh: Size, original_wh: Size) -> tuple[Box | None, tuple[str, ...]]:
    """A box as the model wrote it, in the caller's pixels, ordered and inside; and what had to be done to it.

    The words are `box_reversed`, `box_clipped`, `box_degenerate` (it had no width or height, and now has a pixel), and
    `box_outside` or `box_not_finite`, for which there is no box.

    >>> place_box(Box(14, 28, 140, 56), shown_wh=(280, 280), original_wh=(560, 280))
    (Box(x1=28.0, y1=28.0, x2=280.0, y2=56.0), ())
    >>> place_box(Box(300, 0, 20, 56), shown_wh=(280, 280), original_wh=(280, 280))
    (Box(x1=20.0, y1=0.0, x2=280.0, y2=56.0), ('box_reversed', 'box_clipped'))
    >>> place_box(Box(300, 0, 400, 56), shown_wh=(280, 280), original_wh=(280, 280))
    (None, ('box_outside',))
    """
    if not all(map(math.isfinite, (written.x1, written.y1, written.x2, written.y2))):
        return None, ("box_not_finite",)
    done: list[str] = []
    box = written.ordered()
    if box != written:
        done.append("box_reversed")
    inside = box.clipped(shown_wh)
    degenerate = box.x1 == box.x2 or box.y1 == box.y2
    if inside.area == 0 and not (degenerate and inside == box):
        return None, ("box_outside",)
    if inside != box:
        done.append("box_clipped")
    if degenerate:
        done.append("box_degenerate")
    placed = inside.scaled(shown_wh, original_wh).clipped(original_wh)
    return (placed.widened(original_wh) if degenerate else placed), tuple(done)


def place_point(written: Point, shown_wh: Size, original_wh: Size) -> tuple[Point | None, tuple[str, ...]]:
    """A point as the model wrote it, in the caller's pixels; a point outside the picture is no point.

    >>> place_point(Point(14, 28), shown_wh=(280, 280), original_wh=(560, 280))
    (Point(x=28.0, y=28.0), ())
    >>> place_point(Point(281, 28), shown_wh=(280, 280), original_wh=(560, 280))
    (None, ('point_outside',))
    """
    if not (math.isfinite(written.x) and math.isfinite(written.y)):
        return None, ("point_not_finite",)
    if written.clipped(shown_wh) != written:
        return None, ("point_outside",)
    return written.scaled(shown_wh, original_wh).clipped(original_wh), ()


def box_numbers(box: Box, original_wh: Size, space: CoordinateSpace) -> list[float]:
    """A box in original pixels as the numbers of an answer: x1 < x2 and y1 < y2 also after rounding.

    Pixels are whole; `unit` has six decimals and `per_mille` three, finer than a pixel of any picture we take.

    >>> box_numbers(Box(10.4, 20, 10.45, 60), (100, 80), "pixel")
    [10, 20, 11, 60]
    >>> box_numbers(Box(10, 20, 30, 60), (100, 80), "unit")
    [0.1, 0.25, 0.3, 0.75]
    >>> box_numbers(Box(10, 20, 30, 60), (100, 80), "per_mille")
    [100.0, 250.0, 300.0, 750.0]
    """
    if space == "pixel":
        x1, x2 = _whole(box.x1, box.x2, original_wh[0])
        y1, y2 = _whole(box.y1, box.y2, original_wh[1])
        return [x1, y1, x2, y2]
    wide = box.widened(original_wh)
    scale, digits = (1, 6) if space == "unit" else (1000, 3)
    width, height = original_wh
    ratios = (wide.x1 / width, wide.y1 / height, wide.x2 / width, wide.y2 / height)
    return [round(ratio * scale, digits) for ratio in ratios]


def point_numbers(point: Point, original_wh: Size, space: CoordinateSpace) -> list[float]:
    """A point in original pixels as the numbers of an answer; a pixel is one that exists, 0..width-1.

    >>> point_numbers(Point(100, 20), (100, 80), "pixel")
    [99, 20]
    >>> point_numbers(Point(100, 20), (100, 80), "unit")
    [1.0, 0.25]
    """
    width, height = original_wh
    if space == "pixel":
        return [min(round(point.x), width - 1), min(round(point.y), height - 1)]
    scale, digits = (1, 6) if space == "unit" else (1000, 3)
    return [round(point.x / width * scale, digits), round(point.y / height * scale, digits)]


def _clamp(value: float, high: float) -> float:
    return float(min(max(value, 0.0), high))


def _at_least(low: float, high: float, limit: float) -> tuple[float, float]:
    if high - low >= MIN_SIDE_PX:
        return low, high
    start = min(max((low + high - MIN_SIDE_PX) / 2, 0.0), max(limit - MIN_SIDE_PX, 0.0))
    return start, min(start + MIN_SIDE_PX, float(limit))


def _whole(low: float, high: float, limit: int) -> tuple[int, int]:
    first, last = round(low), round(high)
    if first < last:
        return first, last
    first = min(math.floor((low + high) / 2), limit - 1)
    return first, first + 1
