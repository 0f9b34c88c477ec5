"""Boxes, spans and points against known ones. A box is (x1, y1, x2, y2) in pixels, a span (start, end) in seconds."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Numbers = Sequence[float]
Truth = TypeVar("Truth")
Given = TypeVar("Given")


def iou(a: Numbers, b: Numbers) -> float:
    """Intersection over union of two boxes.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def tiou(a: Numbers, b: Numbers) -> float:
    """Intersection over union of two spans.

    >>> tiou((0, 4), (2, 6))
    0.3333333333333333
    """
    return iou((a[0], 0, a[1], 1), (b[0], 0, b[1], 1))


def matched(
    truth: Sequence[Truth], given: Sequence[Given], likeness: Callable[[Truth, Given], float]
) -> list[tuple[int, int, float]]:
    """(index in truth, index in given, likeness), one to one, the most alike first; none without likeness.

    >>> matched([(0, 0, 2, 2)], [(9, 9, 10, 10), (0, 0, 2, 1), (0, 0, 2, 2)], iou)
    [(0, 2, 1.0)]
    """
    pairs = sorted(
        ((likeness(t, g), -i, -j) for i, t in enumerate(truth) for j, g in enumerate(given)),
        reverse=True,
    )
    taken: list[tuple[int, int, float]] = []
    seen_truth: set[int] = set()
    seen_given: set[int] = set()
    for like, i, j in pairs:
        if like > 0 and i not in seen_truth and j not in seen_given:
            seen_truth.add(i)
            seen_given.add(j)
            taken.append((-i, -j, like))
    return taken


def corner_errors(truth: Numbers, given: Numbers, wh: tuple[int, int]) -> list[float]:
    """How far each of four sides is off, in per cent of the picture's longer side.

    >>> corner_errors((10, 10, 50, 50), (12, 10, 50, 46), (200, 100))
    [1.0, 0.0, 0.0, 2.0]
    """
    return [100 * abs(a - b) / max(wh) for a, b in zip(truth, given, strict=True)]


def holds(box: Numbers, point: Numbers) -> bool:
    """
    >>> holds((0, 0, 10, 10), (10, 3)), holds((0, 0, 10, 10), (3, 11))
    (True, False)
    """
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def pointed(boxes: Sequence[Numbers], points: Sequence[Numbers]) -> int:
    """How many boxes get a point of their own.

    >>> pointed([(0, 0, 2, 2), (4, 0, 6, 2)], [(1, 1), (1, 1.5)])
    1
    """
    return len(matched(boxes, points, lambda box, point: float(holds(box, point))))
