"""The tasks, one function each: what a caller gives, turned into a request that is not sent yet.

`Client` and `AsyncClient` take their methods from here, so that both have the same ones. To add a task: a function
here and a line in each of them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, ParamSpec, Self, TypedDict, TypeVar, Unpack, get_args

from qwenvl.inputs import ClipInput, MediaInput, Source, source, sources
from qwenvl.results import (
    Action,
    Caption,
    CoordinateSpace,
    Detection,
    Document,
    Event,
    EventList,
    Extraction,
    FoundObject,
    Page,
    ReadText,
    Result,
    TextLine,
)

P = ParamSpec("P")
R = TypeVar("R", bound=Result)
I = TypeVar("I")  # noqa: E741 - an item

Progress = Callable[[int, int], None]
"""progress(sent_bytes, total_bytes), called while a request with files is sent."""


class Options(TypedDict, total=False):
    """What every task takes beside its own arguments."""

    model: str
    """Model to ask; the client's, or the first one served."""
    temperature: float
    """0 gives the likeliest answer, and the same one every time."""
    max_tokens: int
    """Longest answer, in tokens, for each picture, page or window."""
    seed: int
    constrained: bool
    """Let a grammar hold the answer to its form, where it has one: true if left out."""
    retry_on_repetition: bool
    """Ask once more, at a higher temperature, when an answer goes round."""
    timeout_s: float
    """Longest silence of the server, in seconds; the client's if left out."""
    on_upload: Progress
    """Called with (sent, total) bytes while files are sent."""
    idempotency_key: str
    """The same key and request are worked on once; the client makes one for its own retries."""


_OURS = ("timeout_s", "on_upload", "idempotency_key")


@dataclass(frozen=True)
class Call(Generic[R, I]):
    """A request that is not sent yet."""

    path: str
    media: dict[str, Source | list[Source]]
    fields: dict[str, Any]
    options: Options
    result: type[R]
    item: Callable[[dict[str, Any]], I]
    finish: Callable[[R], None] = field(default=lambda _: None)

    @property
    def source(self) -> Source | list[Source] | None:
        """What is asked about."""
        return next(iter(self.media.values()), None)

    def asked_of(self, model: str | None) -> Self:
        """The same call for a model, unless it names one itself."""
        return self if model is None else replace(self, fields={"model": model, **self.fields})

    def read(self, data: Any, request_id: str | None) -> R:
        """The result out of the answer's JSON."""
        result = self.result.model_validate(data)
        result.came_from(self.source, request_id)
        self.finish(result)
        return result


def _call(
    path: str,
    result: type[R],
    item: Callable[[dict[str, Any]], I],
    media: dict[str, Source | list[Source]],
    fields: dict[str, Any],
    options: Options,
    finish: Callable[[R], None] = lambda _: None,
) -> Call[R, I]:
    given = {name: value for name, value in fields.items() if value is not None}
    given |= {name: value for name, value in options.items() if name not in _OURS and value is not None}
    return Call(path, media, given, options, result, item, finish)


def signature(make: Callable[..., Any]) -> inspect.Signature:
    """A task's signature as a client's method: what it returns is the result of the call.

    >>> signature(caption).return_annotation.__name__
    'Caption'
    """
    found = inspect.signature(make)
    return found.replace(return_annotation=get_args(found.return_annotation)[0])


def detect(
    image: MediaInput,
    labels: Sequence[str] | None = None,
    *,
    sub_labels: Sequence[str] | None = None,
    prompt: str | None = None,
    mode: Literal["box", "point"] = "box",
    coordinate_space: CoordinateSpace = "pixel",
    **options: Unpack[Options],
) -> Call[Detection, FoundObject]:
    """Find things in a picture.

    `labels` names them (`["cat", "dog"]`), `sub_labels` tells each found one apart (`["asleep", "awake"]`), `prompt`
    describes them instead (`"the person who acts bravely"`); with neither, everything is found. `mode="point"` gives
    points instead of boxes; `result.count` and `result.counts` count. Streams each object as it is found.
    """
    fields = {
        "labels": _listed(labels, "labels"),
        "sub_labels": _listed(sub_labels, "sub_labels"),
        "prompt": prompt,
        "mode": mode,
        "coordinate_space": coordinate_space,
    }
    return _call("/v1/detect", Detection, FoundObject.model_validate, {"image": source(image)}, fields, options)


def parse_document(
    document: MediaInput,
    *,
    pages: str | None = None,
    output: Sequence[Literal["html", "markdown", "json"]] | None = None,
    image_captions: bool | None = None,
    coordinate_space: CoordinateSpace = "pixel",
    **options: Unpack[Options],
) -> Call[Document, Page]:
    """Turn a PDF, TIFF or picture of a page into blocks in reading order, HTML and Markdown.

    `pages` chooses some: `"1-5,8"`. `output` leaves out forms that are not wanted (`json` are the blocks).
    `image_captions` lets the model describe figures. Streams each page as it is finished.
    """
    origin = source(document)
    fields = {
        "pages": pages,
        "output": list(output) if output else None,
        "image_captions": image_captions,
        "coordinate_space": coordinate_space,
    }

    def page(data: dict[str, Any]) -> Page:
        read = Page.model_validate(data)
        read.came_from(origin, coordinate_space)
        return read

    def finish(result: Document) -> None:
        for each in result.pages:
            each.came_from(origin, coordinate_space)

    return _call("/v1/parse-document", Document, page, {"document": origin}, fields, options, finish)


def localize_events(
    video: ClipInput,
    query: str | None = None,
    *,
    max_events: int | None = None,
    min_duration: float | None = None,
    max_duration: float | None = None,
    fps: float | None = None,
    **options: Unpack[Options],
) -> Call[EventList, Event]:
    """Say what happens when in a video, or when what `query` describes happens.

    `video` is a file, a URL, or the frames in order (`fps` then says at which rate they were taken). Durations are in
    seconds. Streams each event of each window; the result has those that a window's edge cut in two joined.
    """
    fields = {
        "query": query,
        "max_events": max_events,
        "min_duration": min_duration,
        "max_duration": max_duration,
        "fps": fps,
    }
    media = {"video": sources(video)}
    return _call("/v1/localize-events", EventList, Event.model_validate, media, fields, options)


def read_text(
    image: MediaInput,
    *,
    level: Literal["text", "line", "word"] = "text",
    order: Literal["model", "position"] = "model",
    page: int | None = None,
    coordinate_space: CoordinateSpace = "pixel",
    **options: Unpack[Options],
) -> Call[ReadText, TextLine | str]:
    """Read the words in a picture, or on one `page` of a document, plain or with the place of each line or word.

    Streams pieces of text at level `text`, lines at the others.
    """
    fields = {"level": level, "order": order, "page": page, "coordinate_space": coordinate_space}

    def finish(result: ReadText) -> None:
        result.on_page(page or 1)

    name = "image" if page is None else "document"
    return _call("/v1/read-text", ReadText, _line, {name: source(image)}, fields, options, finish)


def caption(
    image: MediaInput | None = None,
    *,
    video: ClipInput | None = None,
    length: Literal["short", "normal", "long"] = "normal",
    **options: Unpack[Options],
) -> Call[Caption, str]:
    """Describe a picture or a video in a sentence, a paragraph, or at length. Streams pieces of text."""
    if (image is None) == (video is None):
        raise ValueError("give image or video, one of them")
    media: dict[str, Source | list[Source]] = {}
    if image is not None:
        media["image"] = source(image)
    if video is not None:
        media["video"] = sources(video)
    return _call("/v1/caption", Caption, _delta, media, {"length": length}, options)


def extract(
    document: MediaInput,
    schema: dict[str, Any] | type[Any] | None = None,
    *,
    question: str | None = None,
    pages: str | None = None,
    evidence: bool | None = None,
    **options: Unpack[Options],
) -> Call[Extraction, dict[str, Any]]:
    """Find facts in a picture or document, as JSON valid against `schema`, or as the answer to `question`.

    `schema` is a JSON Schema or a pydantic model. `evidence` says where each value stands.
    """
    origin = source(document)
    fields = {"schema": _schema(schema), "question": question, "pages": pages, "evidence": evidence}
    name = "document" if pages is not None or _is_document(origin) else "image"
    media: dict[str, Source | list[Source]] = {name: origin}
    return _call("/v1/extract", Extraction, lambda item: dict(item["data"]), media, fields, options)


def act(
    screenshot: MediaInput,
    task: str,
    *,
    history: Sequence[dict[str, Any] | str] | None = None,
    environment: Literal["computer", "mobile"] = "computer",
    device_pixel_ratio: float | None = None,
    format: Literal["native", "openai", "anthropic"] = "native",
    **options: Unpack[Options],
) -> Call[Action, dict[str, Any]]:
    """Choose the next action on a screen. Nothing is done to any device: doing it is yours.

    `history` holds the actions done so far (each `result.action`, or words). `device_pixel_ratio` is how many pixels
    of the screenshot are one pixel in which the device takes clicks: 2 on most Retina screens.
    """
    fields = {
        "task": task,
        "history": list(history) if history else None,
        "environment": environment,
        "device_pixel_ratio": device_pixel_ratio,
        "format": format,
    }
    media: dict[str, Source | list[Source]] = {"screenshot": source(screenshot)}
    return _call("/v1/act", Action, lambda item: dict(item["action"]), media, fields, options)


def ask(
    task: str,
    media: Mapping[str, ClipInput],
    fields: Mapping[str, Any] | None = None,
    **options: Unpack[Options],
) -> Call[Result, dict[str, Any]]:
    """Any task that the server has, by its name, also one that this client does not know (`tasks()` lists them).

    >>> ask("count", {"image": b"\\xff\\xd8\\xff"}, {"thing": "cat"}).path
    '/v1/count'
    """
    given = {name: sources(value) for name, value in media.items()}
    return _call(f"/v1/{task}", Result, dict, given, dict(fields or {}), options)


def _listed(words: Sequence[str] | None, name: str) -> list[str] | None:
    if isinstance(words, str):
        raise TypeError(f'{name} is a list of words: ["{words}"]')
    return list(words) if words is not None else None


def _schema(schema: dict[str, Any] | type[Any] | None) -> dict[str, Any] | None:
    if schema is None or isinstance(schema, dict):
        return schema
    make = getattr(schema, "model_json_schema", None)
    if make is None:
        raise TypeError("schema is neither a JSON Schema nor a pydantic model")
    return dict(make())


def _is_document(origin: Source) -> bool:
    name = getattr(origin, "media_type", "")
    return name in {"application/pdf", "image/tiff"} or origin.name.lower().endswith((".pdf", ".tif", ".tiff"))


def _delta(item: dict[str, Any]) -> str:
    return str(item.get("delta", ""))


def _line(item: dict[str, Any]) -> TextLine | str:
    return TextLine.model_validate(item) if "bbox_2d" in item else _delta(item)
