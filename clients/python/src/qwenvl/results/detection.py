"""What was found in a picture."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from qwenvl.drawing import Drawable, Mark
from qwenvl.drawing.marks import in_pixels
from qwenvl.inputs import Source
from qwenvl.results.base import CoordinateSpace, Extent, Model, Result
from qwenvl.results.optional import library, table


class FoundObject(Model):
    """One thing that was found."""

    bbox_2d: tuple[float, float, float, float] | None = None
    """(x1, y1, x2, y2) with x1 < x2 and y1 < y2, in the result's `coordinate_space`; in mode `box`."""
    point_2d: tuple[float, float] | None = None
    """(x, y); in mode `point`."""
    label: str | None = None
    sub_label: str | None = None
    confidence: float | None = None
    """How sure the model was of these words, 0..1: no calibrated probability."""
    confidence_method: str | None = None
    asked: bool = True
    """False for a label that was not asked for."""

    @property
    def words(self) -> str:
        """The label with its sub-label, as it is drawn."""
        return ", ".join(filter(None, (self.label, self.sub_label)))

    @property
    def place(self) -> tuple[float, ...]:
        """The box or the point."""
        return self.bbox_2d or self.point_2d or ()


class Detection(Result, Drawable):
    """What was found in a picture."""

    objects: list[FoundObject]
    count: int
    not_found: list[str] = Field(default_factory=list)
    """Asked labels that nothing was found for."""
    image: Extent
    """The picture as sent, after its EXIF turn."""
    model_input: Extent
    """The picture as the model saw it."""
    coordinate_space: CoordinateSpace = "pixel"

    @property
    def counts(self) -> dict[str, int]:
        """How many of each label, those looked for in vain included."""
        found = Counter(each.label or "" for each in self.objects)
        return {**found, **dict.fromkeys(self.not_found, 0)}

    def marks(self) -> list[Mark]:
        return [Mark(self.pixels(each), each.words, each.words) for each in self.objects if each.place]

    def pixels(self, found: FoundObject) -> tuple[float, ...]:
        """The box or point of one of the objects in pixels, whatever the coordinate space."""
        return in_pixels(found.place, self.coordinate_space, self.image.wh)

    def _drawn_on(self) -> tuple[Source | None, tuple[int, int] | None, int]:
        return (None if isinstance(self._source, list) else self._source), self.image.wh, 1

    # -- other people's forms ----------------------------------------------------------------------------------------
    def to_coco(self, file_name: str = "", labels: Sequence[str] = ()) -> dict[str, Any]:
        """A COCO dataset of this picture; several pictures go into one with `qwenvl.coco_dataset`."""
        return coco_dataset({file_name: self}, labels)

    def to_yolo(self, labels: Sequence[str] | None = None) -> str:
        """YOLO's label file: `class x_centre y_centre width height`, shares of the picture, a line for each box.

        Classes count from 0 in `labels`, or in the order in which labels were found. Objects of other labels are left
        out.
        """
        names = list(labels) if labels is not None else label_names([self])
        width, height = self.image.wh
        lines = []
        for found in self.objects:
            if found.bbox_2d is None or (found.label or "object") not in names:
                continue
            x1, y1, x2, y2 = self.pixels(found)
            shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{names.index(found.label or 'object')} {' '.join(f'{share:.6g}' for share in shares)}\n")
        return "".join(lines)

    def to_rows(self) -> list[dict[str, Any]]:
        """A row for each object, in pixels: label, sub_label, confidence, x1, y1, x2, y2 (a point: x, y)."""
        rows = []
        for found in self.objects:
            names = ("x", "y") if found.point_2d else ("x1", "y1", "x2", "y2")
            about = {"label": found.label, "sub_label": found.sub_label, "confidence": found.confidence}
            rows.append({**about, **dict(zip(names, self.pixels(found), strict=False))})
        return rows

    def to_pandas(self) -> Any:
        """`to_rows` as a pandas.DataFrame."""
        return table(self.to_rows())

    def to_supervision(self, labels: Sequence[str] | None = None) -> Any:
        """A supervision.Detections of the boxes; `class_id` counts in `labels` or in the order found (-1: neither)."""
        sv, np = (library(name, "supervision", "Detections") for name in ("supervision", "numpy"))
        names = list(labels) if labels is not None else label_names([self])
        boxes = [found for found in self.objects if found.bbox_2d is not None]
        if not boxes:
            return sv.Detections.empty()
        texts = [found.label or "object" for found in boxes]
        sure = [found.confidence for found in boxes]
        return sv.Detections(
            xyxy=np.array([self.pixels(found) for found in boxes], dtype=np.float32),
            class_id=np.array([names.index(text) if text in names else -1 for text in texts], dtype=int),
            confidence=None if None in sure else np.array(sure, dtype=np.float32),
            data={"class_name": np.array(texts), "sub_label": np.array([found.sub_label or "" for found in boxes])},
        )


def label_names(detections: Sequence[Detection]) -> list[str]:
    """Every label once, in the order found; `object` for what has none."""
    return list(dict.fromkeys(found.label or "object" for each in detections for found in each.objects))


def coco_dataset(detections: dict[str, Detection], labels: Sequence[str] = ()) -> dict[str, Any]:
    """One COCO dataset of many pictures, by file name; boxes are [x, y, width, height] in pixels.

    Categories count from 1: `labels` first, then others as they were found.
    """
    names = list(dict.fromkeys([*labels, *label_names(list(detections.values()))]))
    annotations: list[dict[str, Any]] = []
    for image_id, detection in enumerate(detections.values(), start=1):
        for found in detection.objects:
            if found.bbox_2d is None:
                continue
            x1, y1, x2, y2 = detection.pixels(found)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": names.index(found.label or "object") + 1,
                    "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                    "area": round((x2 - x1) * (y2 - y1), 2),
                    "iscrowd": 0,
                    "score": found.confidence,
                }
            )
    return {
        "images": [
            {"id": number, "file_name": name, "width": each.image.width, "height": each.image.height}
            for number, (name, each) in enumerate(detections.items(), start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": annotations,
    }
