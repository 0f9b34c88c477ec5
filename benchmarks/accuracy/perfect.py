"""An engine that sees all and never errs, in place of a model: what is missing then is the server's fault, or ours.

    python -m benchmarks.accuracy.perfect --port 9002
    scripts/serve --engine-url http://127.0.0.1:9002 --image-max-pixels 50176
    python -m benchmarks.accuracy --url http://127.0.0.1:8000 --out /tmp/perfect --require perfect

It speaks as the mock engine of `benchmarks.overhead` does, is asked in the words of `demo/prompts.py` and answers in
their form, in pixels of the picture that arrives and in seconds of the frames that arrive. Which scene it looks at it
takes from the request's `seed`; what it says of it, from the pixels (`sight.py`).
"""

import argparse
import asyncio
import base64
import io
import json
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import uvloop
from PIL import Image

from benchmarks.accuracy.sight import Seen, events_seen, scaled, things_seen
from benchmarks.accuracy.suites import scene_questions, scenes
from benchmarks.overhead import mock
from benchmarks.overhead.answers import Question
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.wire import Request
from demo import lessons, prompts
from demo.papers import Block, Page
from demo.scenes import Thing

ENGINE_FPS = 2.0
"""Frames a second that the gateway starts an engine with: frame i is the moment i / 2 of what it is shown."""
CHUNKS = 12
NOTHING = "I do not know this picture."


class PerfectEngine(mock.Mock):
    """Answers chat requests about scenes of known seeds; for the rest see `Mock`."""

    def _read(self, request: Request, query: bytes, chat: bool) -> tuple[Question, Behaviour]:
        question, behaviour = super()._read(request, query, chat)
        said = answer(orjson.loads(request.body))
        return question, replace(behaviour, answer=said, chunks=CHUNKS)


def answer(body: dict[str, Any]) -> str:
    """What is right to say to a chat request."""
    seed, content = body.get("seed"), body["messages"][-1]["content"]
    if not isinstance(seed, int) or not isinstance(content, list):
        return NOTHING
    text = next((part["text"] for part in content if part["type"] == "text"), "")
    sources = [part[part["type"]]["url"] for part in content if part["type"] != "text"]
    if not sources:
        return NOTHING
    frames = opened(sources[0])
    for pattern, tell in QUESTIONS:
        match = re.fullmatch(pattern, text, re.DOTALL)
        if match is not None:
            return tell(seed, frames, match)
    return NOTHING


def opened(source: str) -> list[Image.Image]:
    """The picture, or the frames, of a data: URI."""
    _, _, data = source.partition(",")
    return [Image.open(io.BytesIO(base64.b64decode(part))) for part in data.split(",")]


# -- pictures ----------------------------------------------------------------------------------------------------------

Frames = Sequence[Image.Image]
Tell = Callable[[int, Frames, re.Match[str]], str]


def things(seed: int, frames: Frames) -> list[Thing]:
    return things_seen(scenes.picture_of(seed), frames[0])


def is_named(thing: Thing, name: str) -> bool:
    """
    >>> [is_named(Thing("star", "red", (0, 0, 1, 1)), name) for name in ("star", "red star", "shape", "blue star")]
    [True, True, True, False]
    """
    return name in ("shape", thing.label, f"{thing.colour} {thing.label}")


def labels_of(clause: str) -> list[str]:
    """
    >>> labels_of("each circle, each red star and each cross")
    ['circle', 'red star', 'cross']
    """
    return [name.removeprefix("each ") for name in re.split(r", | and ", clause)]


def boxes(seed: int, frames: Frames, match: re.Match[str]) -> str:
    found = [
        {"bbox_2d": thing.bbox, "label": name}
        for thing in things(seed, frames)
        for name in labels_of(match[1])
        if is_named(thing, name)
    ]
    return prompts.answer(found)


def coloured_boxes(seed: int, frames: Frames, match: re.Match[str]) -> str:
    labels = labels_of(match[1])
    return prompts.answer(
        [
            {"bbox_2d": thing.bbox, "label": thing.label, "sub_label": thing.colour}
            for thing in things(seed, frames)
            if thing.label in labels
        ]
    )


def everything(seed: int, frames: Frames, match: re.Match[str]) -> str:
    return prompts.answer([{"bbox_2d": thing.bbox, "label": thing.label} for thing in things(seed, frames)])


def points(seed: int, frames: Frames, match: re.Match[str]) -> str:
    labels = labels_of(match[1])
    return prompts.answer(
        [
            {"point_2d": [(t.bbox[0] + t.bbox[2]) // 2, (t.bbox[1] + t.bbox[3]) // 2], "label": t.label}
            for t in things(seed, frames)
            if t.label in labels
        ]
    )


def number(seed: int, frames: Frames, match: re.Match[str]) -> str:
    return prompts.count_answer(sum(is_named(thing, match[1]) for thing in things(seed, frames)), match[1])


def one(seed: int, frames: Frames, match: re.Match[str]) -> str:
    """`the largest red star`, or `the circle left of the square`."""
    seen = things(seed, frames)
    related = dict(scene_questions.relations(seen))
    if match[1] in related:
        thing = related[match[1]]
        return prompts.answer([{"bbox_2d": thing.bbox, "label": thing.label}])
    _, place, name = match[1].split(" ", 2)
    if place not in lessons.PLACES:
        return "[]"
    found = [thing for thing in seen if is_named(thing, name)]
    return prompts.answer([{"bbox_2d": min(found, key=lessons.PLACES[place]).bbox, "label": name}] if found else [])


def description(seed: int, frames: Frames, match: re.Match[str]) -> str:
    names = [f"a {thing.colour} {thing.label}" for thing in things(seed, frames)]
    return f"The picture shows {' and '.join(names) or 'nothing'}."


# -- clips -------------------------------------------------------------------------------------------------------------


def span(seen: Seen) -> tuple[float, float]:
    """In seconds of what was shown."""
    return seen.first / ENGINE_FPS, (seen.last + 1) / ENGINE_FPS


def all_events(seed: int, frames: Frames, match: re.Match[str]) -> str:
    told = []
    for seen in events_seen(scenes.clip_of(seed), frames):
        start_s, end_s = span(seen)
        told.append({
            "start_time": prompts.clock(start_s), "end_time": prompts.clock(end_s),
            "description": seen.event.description,
        })  # fmt: skip
    return prompts.answer(told)


def one_moment(seed: int, frames: Frames, match: re.Match[str]) -> str:
    for seen in events_seen(scenes.clip_of(seed), frames):
        if seen.event.description.lower() == f"{match[1]}.":
            return prompts.moment_answer(*span(seen))
    return prompts.NO_MOMENT


# -- pages and screens -------------------------------------------------------------------------------------------------


def page_html(seed: int, frames: Frames, match: re.Match[str]) -> str:
    page = scenes.page_of(seed)
    blocks = [Block(each.kind, scaled(each.bbox, page.image.size, frames[0].size), each.text) for each in page.blocks]
    return Page(page.image, tuple(blocks), page.values).html


def values(seed: int, frames: Frames, match: re.Match[str]) -> str:
    known = scenes.page_of(seed).values
    return prompts.answer({name: known.get(name, "") for name in json.loads(match[1])})


def click(seed: int, frames: Frames, match: re.Match[str]) -> str:
    screen = scenes.screen_of(seed)
    button = next(button for button in screen.buttons if button.name == match[1])
    x1, y1, x2, y2 = scaled(button.bbox, screen.image.size, frames[0].size)
    return prompts.click_answer(((x1 + x2) // 2, (y1 + y2) // 2), button.name)


QUESTIONS: tuple[tuple[str, Tell], ...] = (
    (r"Detect (each .+) in the image and return their locations.*", coloured_boxes),
    (r"Outline the position of (each .+) and output all the coordinates in JSON format\.", boxes),
    (r"Point to (each .+) in the image, output.*", points),
    (r"How many instances of (.+) are there in the image\?", number),
    (r"Locate (.+), output its bbox coordinates using JSON format\.", one),
    (re.escape(prompts.EVERYTHING), everything),
    (re.escape(prompts.CAPTION), description),
    (re.escape(prompts.EVENTS), all_events),
    (r"Give the query: '(.+)', when does.*", one_moment),
    (re.escape(prompts.PAGE), page_html),
    (r"Extract the key-value information in the format:(.+)", values),
    (r'Click the "(.+)" button\.', click),
)
"""What is asked, and who answers."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.perfect", description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9002, help="0: any free one; the line printed names it")
    options = parser.parse_args()

    async def serve() -> None:
        engine = PerfectEngine("perfect")
        print(f"listening on {await engine.listen(options.host, options.port)}", flush=True)
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await stop.wait()
        await engine.close()

    uvloop.run(serve())


if __name__ == "__main__":
    main()
