"""Found boxes in the forms that training and evaluation tools read: COCO and YOLO."""

from collections.abc import Sequence
from typing import Any

from server.geometry import Box, Size


def categories(objects: Sequence[dict[str, Any]], labels: Sequence[str] | None) -> list[str]:
    """Names in the order of their numbers: those asked for first, then others as they were found.

    >>> categories([{"label": "dog"}, {"label": None}], ["cat"])
    ['cat', 'dog', 'object']
    """
    return list(dict.fromkeys([*(labels or []), *(each["label"] or "object" for each in objects)]))


def coco(
    objects: Sequence[dict[str, Any]], boxes: Sequence[Box], original_wh: Size, labels: Sequence[str] | None
) -> dict[str, Any]:
    """A COCO dataset of one picture; boxes are [x, y, width, height] in pixels, categories count from 1.

    >>> coco([{"label": "cat", "confidence": None}], [Box(1, 2, 4, 8)], (10, 10), None)["annotations"][0]["bbox"]
    [1, 2, 3, 6]
    """
    names = categories(objects, labels)
    return {
        "images": [{"id": 1, "width": original_wh[0], "height": original_wh[1], "file_name": ""}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": names.index(each["label"] or "object") + 1,
                "bbox": [round(value, 2) for value in (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1)],
                "area": round(box.area, 2),
                "iscrowd": 0,
                "score": each["confidence"],
            }
            for number, (each, box) in enumerate(zip(objects, boxes, strict=True), start=1)
        ],
    }


def yolo(
    objects: Sequence[dict[str, Any]], boxes: Sequence[Box], original_wh: Size, labels: Sequence[str] | None
) -> dict[str, Any]:
    """YOLO's names, and its label file: `class x_centre y_centre width height`, shares of the picture.

    >>> yolo([{"label": "cat"}], [Box(0, 0, 5, 10)], (10, 10), None)
    {'names': ['cat'], 'labels': '0 0.25 0.5 0.5 1\\n'}
    """
    names = categories(objects, labels)
    width, height = original_wh
    lines = []
    for each, box in zip(objects, boxes, strict=True):
        middle = box.centre
        shares = (middle.x / width, middle.y / height, (box.x2 - box.x1) / width, (box.y2 - box.y1) / height)
        lines.append(f"{names.index(each['label'] or 'object')} {' '.join(f'{share:.6g}' for share in shares)}\n")
    return {"names": names, "labels": "".join(lines)}
