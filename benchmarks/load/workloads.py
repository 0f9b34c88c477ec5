"""What is sent: one file of all workloads. Adding one is a function and a line in WORKLOADS.

A workload gives sessions; a session is a list of steps, sent one after the other, each made when the answer before it
is known. Most have one step. Everything comes from the seed, so the same run can be sent to two servers.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load import inputs
from benchmarks.load.inputs import Size, uri

CHAT = "/v1/chat/completions"
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
    """Pictures of one's own instead of made ones."""


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
    parts = [*(_image(data) for data in shown), _words(shape, index)]
    size = inputs.megapixels([shape.picture_wh] * len(shown))
    step = _chat(shape, _user(parts), pictures=len(shown), megapixels=size, repeats=repeats)
    return Session("photo", [lambda _: step])


def document(shape: Shape, index: int) -> Session:
    """A scanned page, asked for as HTML, with a longer answer."""
    number, repeats = _number(shape, index)
    parts = [_image(inputs.document(number)), {"type": "text", "text": "QwenVL HTML "}]
    step = _chat(shape, _user(parts), max_tokens=4 * shape.max_tokens, pictures=1, megapixels=2.175, repeats=repeats)
    return Session("document", [lambda _: step])


def clip(shape: Shape, index: int) -> Session:
    """A short clip."""
    number, repeats = _number(shape, index)
    part = {"type": "video_url", "video_url": {"url": uri(inputs.video(number, shape.clip_s), "video/mp4")}}
    step = _chat(shape, _user([part, _words(shape, index)]), repeats=repeats)
    return Session("clip", [lambda _: step])


def conversation(shape: Shape, index: int) -> Session:
    """Questions one after the other about the same picture; each holds all that was said before."""
    shown, repeats = _pictures(shape, index)
    first = _user([*(_image(data) for data in shown), _words(shape, index)])
    size = inputs.megapixels([shape.picture_wh] * len(shown))

    def turn(answers: Sequence[str]) -> Step:
        messages = [first]
        for number, answer in enumerate(answers):
            messages += [{"role": "assistant", "content": answer or "-"}, _user([_words(shape, index + number + 1)])]
        return _chat(shape, *messages, pictures=len(shown), megapixels=size, repeats=repeats or bool(answers))

    return Session("conversation", [turn] * shape.turns)


def agent(shape: Shape, index: int) -> Session:
    """Steps of an agent: a new screenshot each, with what it did before in words."""
    seeds = [1_000_003 * shape.seed + index * shape.turns + number for number in range(shape.turns)]
    shots = [inputs.screenshot(seed) for seed in seeds]

    def step(answers: Sequence[str]) -> Step:
        done = json.dumps([answer[:80] for answer in answers], ensure_ascii=False)
        asked = {"type": "text", "text": f"Task: press the first button. Done so far: {done}. What is the next action?"}
        parts = [_image(shots[len(answers)], "image/png"), asked]
        return _chat(shape, _user(parts), pictures=1, megapixels=1.024)

    return Session("agent", [step] * shape.turns)


def detect(shape: Shape, index: int) -> Session:
    """This server's own detection task, on one picture."""
    (data, *_), repeats = _pictures(shape, index)
    body = {"image": uri(data), "labels": ["sign", "box"], "max_tokens": shape.max_tokens, "stream": shape.stream}
    step = Step("/v1/detect", body, 1, inputs.megapixels([shape.picture_wh]), repeats)
    return Session("detect", [lambda _: step])


Workload = Callable[[Shape, int], Session]
WORKLOADS: Mapping[str, Workload] = {
    "text": text,
    "photo": photo,
    "document": document,
    "clip": clip,
    "conversation": conversation,
    "agent": agent,
    "detect": detect,
}
MIXED: Mapping[str, int] = {"text": 3, "photo": 4, "document": 2, "conversation": 1}
"""Workload -> its share of `mixed`."""


def sessions(name: str, shape: Shape, count: int) -> list[Session]:
    """`count` sessions of a workload, or of the mixture. Raises KeyError for a name that is none.

    >>> [session.kind for session in sessions("mixed", Shape(picture_wh=(64, 64)), 4)]
    ['conversation', 'text', 'photo', 'document']
    """
    if name != "mixed":
        return [WORKLOADS[name](shape, index) for index in range(count)]
    generator = random.Random(f"mixed {shape.seed}")
    kinds = generator.choices(list(MIXED), weights=list(MIXED.values()), k=count)
    return [WORKLOADS[kind](shape, index) for index, kind in enumerate(kinds)]


# -- parts -----------------------------------------------------------------------------------------------------------


def _chat(
    shape: Shape,
    *messages: dict[str, Any],
    max_tokens: int | None = None,
    pictures: int = 0,
    megapixels: float = 0.0,
    repeats: bool = False,
) -> Step:
    most = max_tokens or shape.max_tokens
    body: dict[str, Any] = {"model": shape.model, "messages": list(messages), "max_tokens": most, "temperature": 0}
    if shape.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if shape.exact_tokens:
        body |= {"ignore_eos": True, "min_tokens": most}
    return Step(CHAT, body, pictures, megapixels, repeats)


def _user(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def _image(data: bytes, kind: str = "image/jpeg") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri(data, kind)}}


def _words(shape: Shape, index: int) -> dict[str, Any]:
    generator = random.Random(f"words {shape.seed} {index}")
    return {"type": "text", "text": " ".join(generator.choices(WORDS, k=shape.text_words))}


def _number(shape: Shape, index: int) -> tuple[int, bool]:
    """(seed of this request's picture, whether an earlier request had it). The first one never repeats."""
    generator = random.Random(f"repeats {shape.seed} {index}")
    if index and generator.random() < shape.repeats:
        return 1_000_003 * shape.seed + generator.randrange(index), True
    return 1_000_003 * shape.seed + index, False


def _pictures(shape: Shape, index: int) -> tuple[list[bytes], bool]:
    number, repeats = _number(shape, index)
    if shape.folder is not None:
        own = inputs.files_in(shape.folder)
        return [own[(number + at) % len(own)] for at in range(shape.pictures)], index >= len(own)
    return [inputs.picture(shape.picture_wh, number * 101 + at) for at in range(shape.pictures)], repeats
