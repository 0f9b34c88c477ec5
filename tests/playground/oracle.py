"""A mock engine that knows the playground's samples: it looks at the picture it is shown, and answers what is on it.

Answers are in pixels of the picture as shown, as the model's are, so that a box on the screen is right only if every
step on the way there is.
"""

import base64
import importlib.util
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
from PIL import Image, ImageChops, ImageStat

from benchmarks.overhead.answers import Question
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from benchmarks.overhead.wire import Request
from demo.scenes import Page, Picture, Screen

SAMPLES = Path(__file__).parents[2] / "clients/playground/samples"
Box = tuple[float, float, float, float]
LOOK_WH = (48, 48)
STRANGER = 12.0
"""Mean difference of grey levels from which a picture is none of the samples."""
CAPTION = "Six shapes on white: two blue squares, an orange circle, a blue star, a red and a green triangle."
CHAT = "The picture shows **six shapes**:\n\n- an orange circle\n- a blue star\n- two blue squares\n- two triangles"
THOUGHT = "The Login button is at the bottom left."


@cache
def samples() -> ModuleType:
    """clients/playground/samples/make.py."""
    spec = importlib.util.spec_from_file_location("playground_samples", SAMPLES / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Oracle(Mock):
    """Answers what it sees, unless `behaviour.answer` says what to say."""

    @property
    def url(self) -> str:
        """Where it listens."""
        assert isinstance(self._address, tuple), "on a port, not a Unix socket"
        host, port = self._address
        return f"http://{host}:{port}"

    def _read(self, request: Request, query: bytes, chat: bool) -> tuple[Question, Behaviour]:
        question, behaviour = super()._read(request, query, chat)
        if not behaviour.answer:
            behaviour = replace(behaviour, answer=answer(orjson.loads(request.body)), chunks=behaviour.chunks or 12)
        return question, behaviour


def answer(body: dict[str, Any]) -> str:
    """What a model that sees perfectly would write."""
    texts, pictures, clips = [], [], 0
    for message in body["messages"]:
        content = message["content"]
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] == "text":
                texts.append(part["text"])
            elif part["type"] == "image_url":
                pictures.append(part["image_url"]["url"])
            else:
                clips += 1
    asked = "\n".join(texts)
    if clips and "time" in asked:
        return events(asked)
    scene, scale = seen(pictures[0]) if pictures else (None, (1.0, 1.0))
    if "QwenVL HTML" in asked and isinstance(scene, Page):
        return re.sub(r'data-bbox="([^"]*)"', lambda found: f'data-bbox="{_scaled_text(found[1], scale)}"', scene.html)
    if "<tools>" in asked and isinstance(scene, Screen):
        return act(asked, scene, scale)
    if isinstance(scene, Picture) and ("coordinates" in asked):
        return json.dumps(list(found(asked, scene, scale)))
    if "Spotting" in asked and isinstance(scene, Page):
        return json.dumps(list(lines(scene, scale)))
    if ("JSON" in asked or "key-value" in asked) and isinstance(scene, Page):
        return json.dumps(scene.values)
    return CAPTION if "Describe" in asked else CHAT


def seen(uri: str) -> tuple[Picture | Page | Screen | None, tuple[float, float]]:
    """The sample that a picture is, and the scale from its pixels to those of the picture."""
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    look = _look(image)
    known = sorted(
        ((sum(ImageStat.Stat(ImageChops.difference(look, other)).mean), at) for at, (other, _) in enumerate(_known()))
    )
    difference, at = known[0]
    if difference > STRANGER:
        return None, (1.0, 1.0)
    scene = _known()[at][1]
    return scene, (image.width / scene.image.width, image.height / scene.image.height)


@cache
def _known() -> list[tuple[Image.Image, Picture | Page | Screen]]:
    made = samples()
    scenes = [*made.PICTURES.values(), *made.PAGES, made.RECEIPT, made.SCREEN]
    return [(_look(scene.image), scene) for scene in scenes]


def _look(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize(LOOK_WH, Image.Resampling.BOX)


def scaled(box: Box, scale: tuple[float, float]) -> list[int]:
    return [round(value * scale[at % 2]) for at, value in enumerate(box)]


def _scaled_text(numbers: str, scale: tuple[float, float]) -> str:
    x1, y1, x2, y2 = map(float, numbers.split())
    return " ".join(map(str, scaled((x1, y1, x2, y2), scale)))


def found(asked: str, scene: Picture, scale: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """The things that the question names; all of them if it names none."""
    for thing in scene.objects:
        description = f"{thing.colour} {thing.label}"
        wanted = "every item" in asked or f"each {thing.label}" in asked or description in asked
        if not wanted or ("sub_label" in asked and f'"{thing.colour}"' not in asked):
            continue
        box = scaled(thing.bbox, scale)
        place = (
            {"point_2d": [(box[0] + box[2]) // 2, (box[1] + box[3]) // 2]} if "point_2d" in asked else {"bbox_2d": box}
        )
        label = description if "Locate" in asked else thing.label
        yield {**place, "label": label, **({"sub_label": thing.colour} if "sub_label" in asked else {})}


def lines(scene: Page, scale: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """A page's words, line by line; a table's cells by themselves."""
    for block in scene.blocks:
        for line in block.lines:
            yield {"bbox_2d": scaled(line.bbox, scale), "text_content": line.text}


def events(asked: str) -> str:
    """What happens in the clip, or when what is asked for does."""
    happenings = samples().CLIP.events
    if "Give the query" in asked:
        happenings = [event for event in happenings if event.colour in asked and event.label in asked]
    return json.dumps(
        [
            {"start_time": clock(event.start_s), "end_time": clock(event.end_s), "description": event.description}
            for event in happenings
        ]
    )


def clock(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{seconds % 60:05.2f}"


def act(asked: str, scene: Screen, scale: tuple[float, float]) -> str:
    """A click on the button that the task names."""
    button = next((button for button in scene.buttons if button.name in asked.rpartition("</tools>")[2]), None)
    if button is None:
        arguments: dict[str, Any] = {"action": "terminate", "status": "failure"}
    else:
        x, y = button.centre
        arguments = {"action": "left_click", "coordinate": [round(x * scale[0]), round(y * scale[1])]}
    call = json.dumps({"name": "computer_use", "arguments": arguments})
    return f"<thinking>{THOUGHT}</thinking>\n<tool_call>\n{call}\n</tool_call>"
