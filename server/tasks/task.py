"""What a task is: a request, a question to the model, a reading of the answer, a result.

A task never meets an engine or HTTP. Whoever serves it (`server.answering`) does this, once for each picture, page or
window of a clip, or once for all of them:

    ask = task.ask(request, shown)                 messages and decoding options
    reader = task.reader(request, shown)
    items = reader.feed(piece, tokens)             as the answer arrives; `reader.looped` says when to stop it
    items = reader.close(finish_reason)            what only the end completed
    result = task.result(request, parts)           once all parts are read

A whole answer is read by feeding it at once: streaming cannot differ from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from server.errors import AnswerUnreadable, GatewayError
from server.media.view import Clip, View
from server.tasks.confidence import Confidences, Token
from server.tasks.reading import Notice
from server.tasks.repetition import STRIDE_CHARS, RepetitionDetector

Shown = Sequence[View | Clip]
"""What one question shows the model, in order."""
MediaKind = Literal["image", "document", "video"]

SYSTEM = "You are a helpful assistant."
"""The system prompt of Qwen's cookbooks, and of its chat template where none is given."""
REPETITION = "repetition"
"""`finish_reason` of an answer that was stopped because it went round."""
_RAW_CHARS = 20_000


class TaskRequest(BaseModel):
    """What every task takes beside its own fields."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str | None = None
    """Model to ask; the first one served if left out."""
    temperature: float = Field(default=0, ge=0, le=2)
    """0 gives the likeliest answer, and the same one every time."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer, in tokens, for each picture, page or window."""
    seed: int | None = None
    """Makes sampling at a temperature above 0 repeatable."""
    stream: bool = False
    """Send server-sent events: `item` as soon as each is known, then `result`, then `[DONE]`."""
    constrained: bool = True
    """Let a grammar hold the answer to its form, where it has one."""
    retry_on_repetition: bool = False
    """Ask once more, at a higher temperature, when an answer goes round."""


class WarningOut(BaseModel):
    """Something that was repaired, clipped, dropped or cut."""

    code: str
    item: Any = None
    action: str


class Usage(BaseModel):
    """Tokens, summed over all questions that were asked."""

    model_config = ConfigDict(extra="allow")
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class TaskResult(BaseModel):
    """The envelope of every task's result."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    object: str
    created: int
    """Unix time, in seconds."""
    model: str
    warnings: list[WarningOut]
    finish_reason: str
    """`stop`, `length` (the answer was cut off at max_tokens) or `repetition` (it went round and was stopped)."""
    usage: Usage


class Extent(BaseModel):
    """A size in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the model, in OpenAI's words."""

    messages: list[dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the chat request beside model, messages, temperature, seed and stream."""


class Reader(ABC):
    """Reads one answer as it arrives; keeps what it read for `Task.result`."""

    def __init__(self, shown: Shown, detector: RepetitionDetector | None = None) -> None:
        self.shown = shown
        self.text = ""
        self.confidences = Confidences()
        self.finish_reason = ""
        self.items: list[dict[str, Any]] = []
        self.warnings: list[Notice] = []
        self._pieces: list[str] = []
        self._length = 0  # characters read
        self._detector = detector or RepetitionDetector()
        self._items_looped = False

    @property
    def looped(self) -> bool:
        """The answer goes round: stop it, and close with `repetition`."""
        return self._items_looped or self._detector.loop is not None

    def feed(self, text: str, tokens: Sequence[Token] = ()) -> list[dict[str, Any]]:
        """Items that this piece completed, in the caller's space."""
        self.confidences.feed(tokens)
        items: list[dict[str, Any]] = []
        at = 0
        while at < len(text) and not self.looped:  # to the detector's next look: nothing behind a loop is read
            piece = text[at : at + STRIDE_CHARS - self._length % STRIDE_CHARS]
            at += len(piece)
            self._length += len(piece)
            self._pieces.append(piece)
            self._detector.feed(piece)
            items += self.read(piece)
        self._pieces.append(text[at:])
        self.items += items
        return items

    def close(self, finish_reason: str) -> list[dict[str, Any]]:
        """Items that only the end completed. Raises AnswerUnreadable for an answer that cannot be read at all."""
        self.text = "".join(self._pieces)
        self.finish_reason = REPETITION if self.looped else finish_reason
        if self.looped:
            loop = self._detector.loop
            excerpt = self.text[loop.start : loop.good_until][:200] if loop else self.text[-200:]
            self.warnings.append(Notice("repetition", excerpt, "the answer was stopped"))
        elif finish_reason == "length":
            self.warnings.append(Notice("answer_cut_off", None, "what was complete is kept; raise max_tokens"))
        items = self.end()
        self.items += items
        return items

    @property
    def good_text(self) -> str:
        """The answer without what only goes round."""
        loop = self._detector.loop
        return self.text[: loop.good_until] if loop else self.text

    def unreadable(self, why: str, *, code: str | None = None, **details: Any) -> AnswerUnreadable:
        """The error for an answer that cannot be read, with its text."""
        raw = self.text[:_RAW_CHARS]
        return AnswerUnreadable(
            f"the model's answer {why}",
            code=code,
            details={"raw": raw, "finish_reason": self.finish_reason, **details},
        )

    @abstractmethod
    def read(self, text: str) -> list[dict[str, Any]]:
        """Items that the next piece of the answer completed."""

    @abstractmethod
    def end(self) -> list[dict[str, Any]]:
        """Items left when the answer is whole; `text` and `finish_reason` are set. May raise AnswerUnreadable."""


@dataclass(slots=True)
class Part:
    """One question's outcome: read, or failed."""

    shown: Shown
    reader: Reader | None = None
    failure: GatewayError | None = None
    about: int | None = None
    """Page number of a document."""
    span_s: tuple[float, float] | None = None
    """Window of a clip."""


RequestT = TypeVar("RequestT", bound=TaskRequest)


class Task(ABC, Generic[RequestT]):
    """One entry of the TASKS table. Subclasses are stateless."""

    name: ClassVar[str]
    """As in the path: `/v1/{name}`."""
    object: ClassVar[str]
    """`object` of the result."""
    summary: ClassVar[str]
    """One sentence for `GET /v1/tasks` and OpenAPI."""
    inputs: ClassVar[dict[str, MediaKind]]
    """Fields of the request that hold media, one of which must be given, and what they hold."""
    request: ClassVar[type[TaskRequest]]
    result_model: ClassVar[type[TaskResult]]
    together: ClassVar[bool] = False
    """Whether all pages are shown in one question; else each has its own."""
    allows_failed_parts: ClassVar[bool] = False
    """Whether a result can be given though some parts failed."""

    @property
    def path(self) -> str:
        return f"/v1/{self.name}"

    @abstractmethod
    def ask(self, request: RequestT, shown: Shown) -> Ask:
        """The question."""

    @abstractmethod
    def reader(self, request: RequestT, shown: Shown) -> Reader:
        """Reads one answer to it."""

    def support(self, request: RequestT) -> "tuple[Task[Any], TaskRequest] | None":
        """Another task whose answers about each picture the result needs; its parts follow the task's own."""
        return None

    @abstractmethod
    def result(self, request: RequestT, parts: Sequence[Part]) -> dict[str, Any]:
        """The result's own fields; the envelope is the server's. Parts come in order; at least one was read."""

    def parse(self, request: RequestT, shown: Shown, answer: str, finish_reason: str = "stop") -> dict[str, Any]:
        """The result of one whole answer, warnings included. Raises AnswerUnreadable."""
        reader = self.reader(request, shown)
        reader.feed(answer)
        reader.close(finish_reason)
        parts = [Part(shown, reader)]
        return {**self.result(request, parts), "warnings": warnings_out(parts), "finish_reason": reader.finish_reason}


def question(shown: Shown, text: str, *, system: str = SYSTEM, text_first: bool = False) -> list[dict[str, Any]]:
    """Messages that show pictures or clips and then ask, as Qwen's README has it; agents are asked text first.

    >>> [part["type"] for part in question([View((28, 28), (28, 28), "data:,", "")], "What is it?")[1]["content"]]
    ['image_url', 'text']
    """
    media = [_content(each) for each in shown]
    words = [{"type": "text", "text": text}]
    content = words + media if text_first else media + words
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def _content(shown: View | Clip) -> dict[str, Any]:
    kind = "image_url" if isinstance(shown, View) else "video_url"
    return {"type": kind, kind: {"url": shown.url}}


def json_answer(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The decoding option that holds an answer to a JSON schema."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}}


def warnings_out(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The warnings of all parts, as in a result; a page's say which page. A part that failed is one."""
    warnings: list[dict[str, Any]] = []
    for part in parts:
        if part.failure is not None:
            item = (
                {"page": part.about}
                if part.span_s is None
                else dict(zip(("start_s", "end_s"), part.span_s, strict=True))
            )
            warnings.append({"code": "part_failed", "item": item, "action": f"left out: {part.failure.message}"})
        for notice in part.reader.warnings if part.reader else []:
            where = {"page": part.about} if part.about is not None and len(parts) > 1 else {}
            warnings.append({"code": notice.code, "item": notice.item, "action": notice.action, **where})
    return warnings


def extent(wh: tuple[int, int]) -> dict[str, int]:
    """A size as results state it.

    >>> extent((640, 480))
    {'width': 640, 'height': 480}
    """
    return {"width": wh[0], "height": wh[1]}


def first_view(shown: Shown) -> View:
    """The picture of a question that shows one."""
    view = shown[0]
    assert isinstance(view, View)
    return view
