"""`/v1/caption`: what a picture or a video shows, in three lengths."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from server.media.view import Clip
from server.tasks.inputs import Frames, Media
from server.tasks.repetition import RepetitionDetector
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
    question,
)

Length = Literal["short", "normal", "long"]
PROMPTS: dict[tuple[str, Length], str] = {
    ("image", "short"): "Describe this image in one sentence.",
    ("image", "normal"): "Describe this image.",
    ("image", "long"): "Describe this image in detail.",
    ("video", "short"): "Describe this video in one sentence.",
    ("video", "normal"): "Describe this video.",
    ("video", "long"): "Could you go into detail about the content of this long video?",
}
"""README's and the video cookbook's words; the short forms are ours."""
MAX_TOKENS: dict[Length, int] = {"short": 128, "normal": 512, "long": 2048}


class CaptionRequest(TaskRequest):
    """What to describe, and how fully."""

    image: Media | None = None
    """URL, data: URI or OpenAI content part."""
    video: Frames | None = None
    """URL, data: URI, OpenAI content part, or a list of frames in order."""
    length: Length = "normal"

    @model_validator(mode="after")
    def _one_input(self) -> "CaptionRequest":
        if (self.image is None) == (self.video is None):
            raise ValueError("give image or video, one of them")
        return self


class CaptionResult(TaskResult):
    """A description."""

    caption: str
    model_input: Extent


class TextReader(Reader):
    """Plain text; items are its pieces as they come, `{"delta": ...}`."""

    def read(self, text: str) -> list[dict[str, Any]]:
        return [{"delta": text}] if text else []

    def end(self) -> list[dict[str, Any]]:
        if not self.good_text.strip():
            raise self.unreadable("is empty")
        return []


class Caption(Task[CaptionRequest]):
    """See the module."""

    name = "caption"
    object = "caption"
    summary = "Describe a picture or a video in a sentence, a paragraph, or at length."
    inputs: ClassVar[dict[str, MediaKind]] = {"image": "image", "video": "video"}
    request = CaptionRequest
    result_model = CaptionResult
    together = True

    def ask(self, request: CaptionRequest, shown: Shown) -> Ask:
        kind = "video" if isinstance(shown[0], Clip) else "image"
        return Ask(question(shown, PROMPTS[kind, request.length]), {"max_tokens": MAX_TOKENS[request.length]})

    def reader(self, request: CaptionRequest, shown: Shown) -> TextReader:
        return TextReader(shown, RepetitionDetector(numbers_differ=True))

    def result(self, request: CaptionRequest, parts: Sequence[Part]) -> dict[str, Any]:
        reader = parts[0].reader
        assert reader is not None
        return {"caption": reader.good_text.strip(), "model_input": extent(parts[0].shown[0].shown_wh)}
