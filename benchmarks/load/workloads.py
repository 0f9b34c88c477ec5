"""What is sent: one file of all workloads. Adding one is a function and a line in WORKLOADS.

A workload gives sessions; a session is a list of steps, sent one after the other, each made when the answer before it
is known. Most have one step. Everything comes from the seed, so the same run can be sent to two servers.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.load import inputs
from benchmarks.load.hosted import Hosted
from benchmarks.load.inputs import CLIPS, PICTURES, Media, Size

CHAT = "/v1/chat/completions"
MIXED = (("text", 3), ("photo", 4), ("document", 2), ("conversation", 1), ("agent", 1))
"""What `mixed` is made of unless told otherwise: OpenAI's own parts alone, which have no clips."""
WORDS = ("please", "describe", "what", "this", "shows", "name", "the", "objects", "colours", "places", "and", "numbers")


@dataclass(frozen=True)
class Shape:
    """What a workload is made of; every field is a flag."""

    seed: int = 0
    model: str = "qwen2.5-vl"
    picture_wh: Size = (1280, 960)
    pictures: int = 1
    repeats: float = 0.0
    """Share of requests whose pictures were sent before."""
    text_words: int = 24
    max_tokens: int = 64
    exact_tokens: bool = False
    """Ask for exactly `max_tokens` (vLLM's ignore_eos): comparable, but no real answers."""
    turns: int = 3
    clip_s: float = 8
    stream: bool = True
    folder: Path | None = None
    """Pictures, or clips, of one's own instead of made ones."""
    mix: tuple[tuple[str, int], ...] = MIXED
    """(workload, its share) of `mixed`."""
    hosted: Hosted | None = None
    """Where pictures and clips are put for the server to fetch; None: they are sent."""


@dataclass(frozen=True)
class Step:
    """One request of a session."""

    path: str
    body: dict[str, Any]
    pictures: int = 0
    megapixels: float = 0.0
    repeats: bool = False


Make = Callable[[Sequence[str]], Step]
"""A step from the answers before it."""


@dataclass(frozen=True)
class Session:
    kind: str
    steps: Sequence[Make] = field(default_factory=list)


def text(shape: Shape, index: int) -> Session:
    """Words alone."""
    return Session("text", [lambda _: _chat(shape, _user([_words(shape, index)]))])


def photo(shape: Shape, index: int) -> Session:
    """One question about `pictures` pictures."""
    shown, repeats = _pictures(shape, index)
    step = _chat(shape, _user([*map(_image, shown), _words(shape, index)]), shown=shown, repeats=repeats)
    return Session("photo", [lambda _: step])


def document(shape: Shape, index: int) -> Session:
    """A scanned page, asked for as HTML, with a longer answer."""
    page, repeats = _one(shape, index, inputs.document)
    parts = [_image(page), {"type": "text", "text": "QwenVL HTML "}]
    step = _chat(shape, _user(parts), max_tokens=4 * shape.max_tokens, shown=[page], repeats=repeats)
    return Session("document", [lambda _: step])


def clip(shape: Shape, index: int) -> Session:
    """A short clip."""
    film, repeats = _clip(shape, index)
    part = {"type": "video_url", "video_url": {"url": film.uri}}
    step = _chat(shape, _user([part, _words(shape, index)]), repeats=repeats)
    return Session("clip", [lambda _: step])


def conversation(shape: Shape, index: int) -> Session:
    """Questions one after the other about the same picture; each holds all that was said before."""
    shown, repeats = _pictures(shape, index)
    first = _user([*map(_image, shown), _words(shape, index)])

    def turn(answers: Sequence[str]) -> Step:
        messages = [first]
        for number, answer in enumerate(answers):
            messages += [{"role": "assistant", "content": answer or "-"}, _user([_words(shape, index + number + 1)])]
        return _chat(shape, *messages, shown=shown, repeats=repeats or bool(answers))

    return Session("conversation", [turn] * shape.turns)


def agent(shape: Shape, index: int) -> Session:
    """Steps of an agent: a new screenshot each, with what it did before in words."""
    shots = [_one(shape, index * shape.turns + number, inputs.screenshot) for number in range(shape.turns)]

    def step(answers: Sequence[str]) -> Step:
        done = json.dumps([answer[:80] for answer in answers], ensure_ascii=False)
        asked = {"type": "text", "text": f"Task: press the first button. Done so far: {done}. What is the next action?"}
        shot, repeats = shots[len(answers)]
        return _chat(shape, _user([_image(shot), asked]), shown=[shot], repeats=repeats)

    return Session("agent", [step] * shape.turns)


# -- this server's own tasks -----------------------------------------------------------------------------------------


def detect(shape: Shape, index: int) -> Session:
    """Boxes, on one picture."""
    (shown, *_), repeats = _pictures(shape, index)
    return _task(shape, "detect", shown, repeats, image=shown.uri, labels=["sign", "box"])


def read_text(shape: Shape, index: int) -> Session:
    """The lines of a page."""
    shown, repeats = _one(shape, index, inputs.document)
    return _task(shape, "read-text", shown, repeats, image=shown.uri, level="line")


def caption(shape: Shape, index: int) -> Session:
    """A sentence about a picture."""
    (shown, *_), repeats = _pictures(shape, index)
    return _task(shape, "caption", shown, repeats, image=shown.uri, length="short")


def extract(shape: Shape, index: int) -> Session:
    """Two fields of a page."""
    shown, repeats = _one(shape, index, inputs.document)
    fields = {"total": {"type": "string"}, "date": {"type": "string"}}
    return _task(shape, "extract", shown, repeats, image=shown.uri, schema={"type": "object", "properties": fields})


def act(shape: Shape, index: int) -> Session:
    """One step on a screen."""
    shown, repeats = _one(shape, index, inputs.screenshot)
    return _task(shape, "act", shown, repeats, screenshot=shown.uri, task="press the first button")


def parse_document(shape: Shape, index: int) -> Session:
    """A page as blocks."""
    shown, repeats = _one(shape, index, inputs.document)
    return _task(shape, "parse-document", shown, repeats, document=shown.uri)


def localize_events(shape: Shape, index: int) -> Session:
    """What happens when in a clip."""
    film, repeats = _clip(shape, index)
    return _task(shape, "localize-events", film, repeats, video=film.uri)


Workload = Callable[[Shape, int], Session]
WORKLOADS: Mapping[str, Workload] = {
    "text": text,
    "photo": photo,
    "document": document,
    "clip": clip,
    "conversation": conversation,
    "agent": agent,
    "detect": detect,
    "read-text": read_text,
    "caption": caption,
    "extract": extract,
    "act": act,
    "parse-document": parse_document,
    "localize-events": localize_events,
}


def read_mix(text: str) -> tuple[tuple[str, int], ...]:
    """From `text=3,clip=1`. Raises ValueError, naming what there is.

    >>> read_mix("photo=4,clip=1")
    (('photo', 4), ('clip', 1))
    >>> read_mix("photo=4,film=1")
    Traceback (most recent call last):
    ValueError: 'film=1' is no share; write for example text=3,photo=4 (of text, photo, document, clip, conversation, agent, detect, read-text, caption, extract, act, parse-document, localize-events)
    """  # noqa: E501  # a doctest's line cannot be broken
    found = []
    for entry in text.split(","):
        name, _, share = entry.partition("=")
        if name.strip() not in WORKLOADS or not share.strip().isdigit() or not int(share):
            raise ValueError(f"{entry!r} is no share; write for example text=3,photo=4 (of {', '.join(WORKLOADS)})")
        found.append((name.strip(), int(share)))
    return tuple(found)


def sessions(name: str, shape: Shape, count: int) -> list[Session]:
    """`count` sessions of a workload, or of the mixture. Raises KeyError for a name that is none.

    >>> [session.kind for session in sessions("mixed", Shape(picture_wh=(64, 64)), 4)]
    ['agent', 'text', 'photo', 'document']
    >>> {session.kind for session in sessions("mixed", Shape(mix=(("text", 1),)), 4)}
    {'text'}
    """
    if name != "mixed":
        return [WORKLOADS[name](shape, index) for index in range(count)]
    generator = random.Random(f"mixed {shape.seed}")
    names, shares = zip(*shape.mix, strict=True)
    kinds = generator.choices(names, weights=shares, k=count)
    return [WORKLOADS[kind](shape, index) for index, kind in enumerate(kinds)]


# -- parts -----------------------------------------------------------------------------------------------------------


def _chat(
    shape: Shape,
    *messages: dict[str, Any],
    max_tokens: int | None = None,
    shown: Sequence[Media] = (),
    repeats: bool = False,
) -> Step:
    most = max_tokens or shape.max_tokens
    body: dict[str, Any] = {"model": shape.model, "messages": list(messages), "max_tokens": most, "temperature": 0}
    if shape.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if shape.exact_tokens:
        body |= {"ignore_eos": True, "min_tokens": most}
    return Step(CHAT, body, len(shown), sum(each.megapixels for each in shown), repeats)


def _task(shape: Shape, name: str, shown: Media, repeats: bool, **fields: Any) -> Session:
    body = {**fields, "max_tokens": shape.max_tokens, "stream": shape.stream}
    pictures = int(shown.kind.startswith("image/"))
    step = Step(f"/v1/{name}", body, pictures, shown.megapixels, repeats)
    return Session(name, [lambda _: step])


def _user(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def _image(shown: Media) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": shown.uri}}


def _words(shape: Shape, index: int) -> dict[str, Any]:
    generator = random.Random(f"words {shape.seed} {index}")
    return {"type": "text", "text": " ".join(generator.choices(WORDS, k=shape.text_words))}


def _number(shape: Shape, index: int) -> tuple[int, bool]:
    """(seed of this request's picture, whether an earlier request had it). The first one never repeats."""
    generator = random.Random(f"repeats {shape.seed} {index}")
    if index and generator.random() < shape.repeats:
        return 1_000_003 * shape.seed + generator.randrange(index), True
    return 1_000_003 * shape.seed + index, False


def _pictures(shape: Shape, index: int) -> tuple[list[Media], bool]:
    """As many as a request has."""
    number, repeats = _number(shape, index)
    if shape.folder is not None:
        own = inputs.files_in(shape.folder, tuple(PICTURES.items()))
        first = number * shape.pictures
        shown = [_placed(shape, own[(first + at) % len(own)]) for at in range(shape.pictures)]
        return shown, repeats or (index + 1) * shape.pictures > len(own)
    made = (inputs.picture(shape.picture_wh, number * 101 + at) for at in range(shape.pictures))
    return [_placed(shape, each) for each in made], repeats


def _one(shape: Shape, index: int, make: Callable[[int], Media]) -> tuple[Media, bool]:
    """A page or screen."""
    number, repeats = _number(shape, index)
    if shape.folder is not None:
        own = inputs.files_in(shape.folder, tuple(PICTURES.items()))
        return _placed(shape, own[number % len(own)]), repeats or index >= len(own)
    return _placed(shape, make(number)), repeats


def _clip(shape: Shape, index: int) -> tuple[Media, bool]:
    number, repeats = _number(shape, index)
    if shape.folder is not None:
        own = inputs.files_in(shape.folder, tuple(CLIPS.items()))
        return _placed(shape, own[number % len(own)]), repeats or index >= len(own)
    return _placed(shape, inputs.video(number, shape.clip_s)), repeats


def _placed(shape: Shape, media: Media) -> Media:
    """With its URL, where the server is to fetch it."""
    return media if shape.hosted is None else replace(media, url=shape.hosted.url(media.data, media.kind))
