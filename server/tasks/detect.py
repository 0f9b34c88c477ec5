"""`/v1/detect`: where things are, as boxes or points, by label, by description, or everything there is."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.geometry import Box, CoordinateSpace, Point
from server.tasks import confidence
from server.tasks.exports import coco, yolo
from server.tasks.inputs import Media
from server.tasks.labels import Labels
from server.tasks.overlay import draw
from server.tasks.reading import Notice
from server.tasks.reading_boxes import SUB_LABEL_KEYS, read_label
from server.tasks.spots import Spot, SpotReader, spot_schema
from server.tasks.task import (
    Ask,
    Extent,
    MediaKind,
    Part,
    Shown,
    Task,
    TaskRequest,
    TaskResult,
    extent,
    first_view,
    json_answer,
    question,
)

MAX_LABELS = 64
MAX_LABEL_CHARS = 200
MAX_PROMPT_CHARS = 4000
SAME_BOX_IOU = 0.9
"""Two boxes of one label that overlap by so much are one object."""
SAME_POINT_SHARE = 0.005
"""Two points of one label that lie nearer than this share of the picture's diagonal are one object."""

Label = str


class DetectRequest(TaskRequest):
    """What to find in a picture."""

    image: Media
    """URL, data: URI or OpenAI content part."""
    labels: list[Label] | None = Field(default=None, min_length=1, max_length=MAX_LABELS)
    """Names of what to find; any words."""
    sub_labels: list[Label] | None = Field(default=None, min_length=1, max_length=MAX_LABELS)
    """States or kinds to tell each found thing apart by: `["wearing helmet", "not wearing helmet"]`."""
    prompt: str | None = Field(default=None, min_length=1, max_length=MAX_PROMPT_CHARS)
    """A description of what to find: `the person who acts bravely`. Neither labels nor prompt: everything."""
    mode: Literal["box", "point"] = "box"
    coordinate_space: CoordinateSpace = "pixel"
    """`pixel` of the picture as sent (after its EXIF turn), `unit` 0..1, or `per_mille` 0..1000."""
    format: Literal["native", "coco", "yolo"] = "native"
    """Adds the same boxes as a COCO dataset or as YOLO label lines."""
    render: Literal["png", "svg"] | None = None
    """Adds the picture with what was found drawn on it, as a data: URI."""

    @model_validator(mode="after")
    def _one_question(self) -> "DetectRequest":
        if self.labels and self.prompt:
            raise ValueError("give labels or prompt, not both")
        if self.sub_labels and not self.labels:
            raise ValueError("sub_labels need labels")
        if self.mode == "point" and self.format != "native":
            raise ValueError(f"format {self.format} holds boxes; mode is point")
        for label in [*(self.labels or []), *(self.sub_labels or [])]:
            if not label.strip() or len(label) > MAX_LABEL_CHARS:
                raise ValueError(f"a label has 1 to {MAX_LABEL_CHARS} characters")
        return self


class FoundObject(BaseModel):
    """One thing that was found."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    bbox_2d: list[float] | None = None
    """[x1, y1, x2, y2] with x1 < x2 and y1 < y2, inside the picture; in mode `box`."""
    point_2d: list[float] | None = None
    """[x, y]; in mode `point`."""
    label: str | None
    sub_label: str | None = None
    confidence: float | None
    """Geometric mean of the probabilities of the tokens that say it; null where the engine gives none."""
    confidence_method: str | None
    asked: bool = True
    """False for a label that was not asked for."""


class DetectResult(TaskResult):
    """What was found in a picture."""

    objects: list[FoundObject]
    count: int
    not_found: list[str]
    """Asked labels that nothing was found for."""
    image: Extent
    """The picture as sent, after its EXIF turn."""
    model_input: Extent
    """The picture as the model saw it."""
    coordinate_space: CoordinateSpace
    coco: dict[str, Any] | None = None
    yolo: dict[str, Any] | None = None
    overlay: str | None = None


class DetectReader(SpotReader):
    """Objects of one answer: labels matched to those asked for, repeats left out."""

    def __init__(self, request: DetectRequest, shown: Shown) -> None:
        super().__init__(shown, self._object, shape=request.mode, space=request.coordinate_space)
        self._labels = Labels(request.labels or [])
        self._sub_labels = Labels(request.sub_labels or [])
        self.spots: list[tuple[str | None, Box | None, Point | None]] = []

    def _object(self, spot: Spot) -> dict[str, Any] | None:
        label, asked = self._meant(read_label(spot.fields), self._labels, "label")
        sub_label, _ = self._meant(read_label(spot.fields, SUB_LABEL_KEYS), self._sub_labels, "sub_label")
        if self._is_repeat(label, spot):
            self.warnings.append(Notice("duplicate_merged", spot.fields, "dropped"))
            return None
        self.spots.append((label, spot.box, spot.point))
        found: dict[str, Any] = {"bbox_2d" if spot.box else "point_2d": spot.numbers, "label": label}
        if sub_label is not None or self._sub_labels.asked:
            found["sub_label"] = sub_label
        found["confidence"] = spot.confidence
        found["confidence_method"] = confidence.METHOD if spot.confidence is not None else None
        if not asked:
            found["asked"] = False
        return found

    def _meant(self, written: str | None, labels: Labels, what: str) -> tuple[str | None, bool]:
        """(The label as asked, or as written where it fits none; whether it was asked for)."""
        if written is None:
            if labels.asked and what == "label":
                self.warnings.append(Notice("label_missing", None, "kept without one"))
            return (labels.asked[0], True) if len(labels.asked) == 1 else (None, not labels.asked)
        if not labels.asked:
            return written, True
        label, exact = labels.match(written)
        if label is None:
            self.warnings.append(Notice(f"{what}_not_asked", written, "kept and flagged"))
            return written, False
        if not exact:
            self.warnings.append(Notice(f"{what}_matched", written, f"read as {label!r}"))
        return label, True

    def _is_repeat(self, label: str | None, spot: Spot) -> bool:
        width, height = self._view.original_wh
        near = SAME_POINT_SHARE * (width**2 + height**2) ** 0.5
        for other, box, point in self.spots:
            if other != label:
                continue
            if box and spot.box and box.iou(spot.box) >= SAME_BOX_IOU:
                return True
            if point and spot.point and abs(point.x - spot.point.x) <= near and abs(point.y - spot.point.y) <= near:
                return True
        return False


class Detect(Task[DetectRequest]):
    """See the module."""

    name = "detect"
    object = "detection"
    summary = "Find things in a picture: boxes or points, by label, by description, or everything."
    inputs: ClassVar[dict[str, MediaKind]] = {"image": "image"}
    request = DetectRequest
    result_model = DetectResult

    def ask(self, request: DetectRequest, shown: Shown) -> Ask:
        options: dict[str, Any] = {"logprobs": True}
        if request.constrained:
            words: dict[str, list[str] | None] = {"label": request.labels}
            if request.sub_labels:
                words["sub_label"] = request.sub_labels
            options |= json_answer("objects", spot_schema(request.mode, words))
        return Ask(question(shown, prompt(request)), options)

    def reader(self, request: DetectRequest, shown: Shown) -> DetectReader:
        return DetectReader(request, shown)

    def result(self, request: DetectRequest, parts: Sequence[Part]) -> dict[str, Any]:
        reader = parts[0].reader
        assert isinstance(reader, DetectReader)
        view = first_view(parts[0].shown)
        objects = reader.items
        found = {each["label"] for each in objects}
        result: dict[str, Any] = {
            "objects": objects,
            "count": len(objects),
            "not_found": [label for label in dict.fromkeys(request.labels or []) if label not in found],
            "image": extent(view.original_wh),
            "model_input": extent(view.shown_wh),
            "coordinate_space": request.coordinate_space,
        }
        boxes = [box for _, box, _ in reader.spots if box is not None]
        if request.format == "coco":
            result["coco"] = coco(objects, boxes, view.original_wh, request.labels)
        if request.format == "yolo":
            result["yolo"] = yolo(objects, boxes, view.original_wh, request.labels)
        if request.render:
            result["overlay"] = draw(request.render, view, objects, [spot[1] or spot[2] for spot in reader.spots])
        return result


def prompt(request: DetectRequest) -> str:
    """Qwen's own words for each kind of question; "each" and not "all", or it merges what it finds into one box.

    >>> prompt(DetectRequest(image="data:,", labels=["cat", "dog"]))
    'Outline the position of each cat and each dog and output all the coordinates in JSON format.'
    >>> prompt(DetectRequest(image="data:,", prompt="the brave one"))
    'Locate the brave one, output its bbox coordinates using JSON format.'
    >>> prompt(DetectRequest(image="data:,", labels=["star"], mode="point"))
    'Point to each star in the image, output the coordinates in JSON format like {"point_2d": [x, y], "label": "star"}.'
    """
    if request.mode == "point":
        names = request.labels or [request.prompt or "object"]
        who = each(names) if request.labels or not request.prompt else names[0]
        return (
            f"Point to {who} in the image, output the coordinates in JSON format "
            f'like {{"point_2d": [x, y], "label": "{names[0]}"}}.'
        )
    if request.labels and request.sub_labels:
        others = "".join(f' or "{name}"' for name in request.sub_labels[1:])
        remark = f" #{others}" if others else ""
        return (
            f"Detect {each(request.labels)} in the image and return their locations in the form of coordinates. "
            f'The format of output should be like {{"bbox_2d": [x1, y1, x2, y2], "label": "{request.labels[0]}", '
            f'"sub_label": "{request.sub_labels[0]}"{remark}}}.'
        )
    if request.labels:
        return f"Outline the position of {each(request.labels)} and output all the coordinates in JSON format."
    if request.prompt:
        return f"Locate {request.prompt}, output its bbox coordinates using JSON format."
    return "Please output bbox coordinates and names of every item in this image in JSON format."


def each(names: Sequence[str]) -> str:
    """
    >>> each(["circle", "star", "cross"])
    'each circle, each star and each cross'
    """
    words = [f"each {name}" for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
