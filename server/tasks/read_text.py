"""`/v1/read-text`: the words in a picture or on a page, plain or with the place of every line or word."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from server.geometry import Box, CoordinateSpace
from server.tasks import confidence
from server.tasks.caption import TextReader
from server.tasks.inputs import Media
from server.tasks.reading_boxes import TEXT_KEYS, read_label
from server.tasks.spots import Spot, SpotReader, spot_schema
from server.tasks.task import (
    Ask,
    Extent,
    MediaKind,
    Part,
    Reader,
    Shown,
    Task,
    TaskRequest,
    TaskResult,
    extent,
    first_view,
    json_answer,
    question,
)

TEXT_PROMPT = "Please output only the text content from the image without any additional descriptions or formatting."
SPOTTING_PROMPT = "Spotting all the text in the image with {level}-level, and output in JSON format."
_LEAD_IN = ("the text in the image reads", "the text in the image is", "text content", "图片中的文字")


class ReadTextRequest(TaskRequest):
    """What to read."""

    image: Media | None = None
    """URL, data: URI or OpenAI content part."""
    document: Media | None = None
    """A PDF or TIFF instead, of which one page is read."""
    page: int = Field(default=1, ge=1)
    """Page of the document, from 1."""
    level: Literal["text", "line", "word"] = "text"
    """`text` gives the words alone; `line` and `word` give the place of each."""
    order: Literal["model", "position"] = "model"
    """`model` keeps the order in which the model reads; `position` goes from top to bottom, left to right."""
    coordinate_space: CoordinateSpace = "pixel"

    @model_validator(mode="after")
    def _one_input(self) -> "ReadTextRequest":
        if (self.image is None) == (self.document is None):
            raise ValueError("give image or document, one of them")
        return self


class Line(BaseModel):
    """One line or word."""

    bbox_2d: list[float]
    text: str
    confidence: float | None
    confidence_method: str | None


class ReadTextResult(TaskResult):
    """The words of a picture."""

    text: str
    lines: list[Line]
    image: Extent
    model_input: Extent
    coordinate_space: CoordinateSpace


class LineReader(SpotReader):
    """Lines of one answer."""

    def __init__(self, request: ReadTextRequest, shown: Shown) -> None:
        super().__init__(shown, self._line, shape="box", space=request.coordinate_space)
        self.boxes: list[Box] = []

    def _line(self, spot: Spot) -> dict[str, Any] | None:
        text = read_label(spot.fields, TEXT_KEYS)
        if text is None or spot.box is None:
            return None
        self.boxes.append(spot.box)
        method = confidence.METHOD if spot.confidence is not None else None
        return {"bbox_2d": spot.numbers, "text": text, "confidence": spot.confidence, "confidence_method": method}


class ReadText(Task[ReadTextRequest]):
    """See the module."""

    name = "read-text"
    object = "text"
    summary = "Read the words in a picture: plain, or with the box of every line or word."
    inputs: ClassVar[dict[str, MediaKind]] = {"image": "image", "document": "document"}
    request = ReadTextRequest
    result_model = ReadTextResult

    def ask(self, request: ReadTextRequest, shown: Shown) -> Ask:
        if request.level == "text":
            return Ask(question(shown, TEXT_PROMPT))
        options: dict[str, Any] = {"logprobs": True}
        if request.constrained:
            options |= json_answer("lines", spot_schema("box", {"text_content": None}))
        return Ask(question(shown, SPOTTING_PROMPT.format(level=request.level)), options)

    def reader(self, request: ReadTextRequest, shown: Shown) -> Reader:
        return TextReader(shown) if request.level == "text" else LineReader(request, shown)

    def result(self, request: ReadTextRequest, parts: Sequence[Part]) -> dict[str, Any]:
        reader, view = parts[0].reader, first_view(parts[0].shown)
        assert reader is not None
        lines = reader.items if isinstance(reader, LineReader) else []
        if isinstance(reader, LineReader) and request.order == "position":
            lines = [
                line for line, _ in sorted(zip(lines, reader.boxes, strict=True), key=lambda each: _place(each[1]))
            ]
        separator = " " if request.level == "word" else "\n"
        text = separator.join(line["text"] for line in lines) if request.level != "text" else bare(reader.good_text)
        return {
            "text": text,
            "lines": lines,
            "image": extent(view.original_wh),
            "model_input": extent(view.shown_wh),
            "coordinate_space": request.coordinate_space,
        }


def bare(answer: str) -> str:
    """The words without what the model says around them: a fence, "The text in the image reads:".

    >>> bare("The text in the image reads:\\n\\n```\\nTOTAL\\n17,000\\n```")
    'TOTAL\\n17,000'
    >>> bare("TOTAL \\n17,000 ")
    'TOTAL\\n17,000'
    """
    text = answer.strip()
    first, _, rest = text.partition("\n")
    if rest and first.rstrip().endswith((":", "\uff1a")) and first.lower().lstrip("*# ").startswith(_LEAD_IN):
        text = rest.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2]
        text = text[: text.rfind("```")] if text.rstrip().endswith("```") else text
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


def _place(box: Box) -> tuple[float, float]:
    """Rows of a third of a line's height, then from the left."""
    height = max(box.y2 - box.y1, 1.0)
    return (round(box.centre.y / height * 1.5) * height / 1.5, box.x1)
