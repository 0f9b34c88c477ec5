"""Whatever the model writes: a task raises its own error alone, boxes stay in the picture, streams change nothing."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import AnswerUnreadable
from server.media.view import Clip, View
from server.tasks import TASKS
from server.tasks.task import Part, Task, TaskRequest
from tests.tasks.growth import in_proportion

VIEW = View((333, 777), (336, 784), "", "", page=1, page_wh_pt=(100.0, 200.0))
CLIP = Clip((640, 360), (308, 168), "", "", tuple(at / 2 for at in range(120)), 2, 0, 60, 60)
SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}, "lines": {"type": "array"}}}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("detect", {"image": "data:,", "labels": ["cat", "dog"], "sub_labels": ["wet"], "format": "coco", "render": "svg"}),
    ("detect", {"image": "data:,", "prompt": "it", "mode": "point", "coordinate_space": "unit"}),
    ("detect", {"image": "data:,", "coordinate_space": "per_mille", "format": "yolo"}),
    ("read-text", {"image": "data:,"}),
    ("read-text", {"image": "data:,", "level": "word", "order": "position"}),
    ("caption", {"image": "data:,"}),
    ("extract", {"image": "data:,", "question": "?"}),
    ("extract", {"image": "data:,", "schema": SCHEMA}),
    ("parse-document", {"image": "data:,"}),
    ("localize-events", {"video": "data:,"}),
    ("localize-events", {"video": "data:,", "query": "it"}),
    ("act", {"screenshot": "data:,", "task": "pay"}),
    ("act", {"screenshot": "data:,", "task": "tap", "environment": "mobile", "format": "openai"}),
    ("act", {"screenshot": "data:,", "task": "tap", "format": "anthropic", "device_pixel_ratio": 2}),
]
LIMITS = {"pixel": (333, 777), "unit": (1, 1), "per_mille": (1000, 1000)}
NUMBER = st.sampled_from(
    [
        "0",
        "1",
        "-5",
        "300",
        "783",
        "784",
        "9999",
        "1e308",
        "NaN",
        "null",
        '"12"',
        '"3, 4"',
        "true",
        "9" * 40,
        "-1e999",
        '"\\ud800"',
    ]
)
PIECES = [
    *("{", "}", "[", "]", '"', ",", ":", "\n", "```json\n", "```", "words ", " " * 200, "!" * 150, "it's"),
    *("<p>", "</p>", '<p data-bbox="5 5 90 70">', "<table><tr><td>", "<tool_call>", "no cats found"),
    *('"bbox_2d": [', '"point_2d": [', '"label": "cat"', '"label": "dgo"', '"text_content": "x"'),
    *('"start_time": "00:05.00"', '"end_time": "9:99"', "0:05 - 0:10 ", "from 3 to 400 seconds", '"total": '),
    *('{"name": "computer_use", "arguments": {', '"action": "left_click"', '"action": "swipe"', '"coordinate": ['),
    *('"coordinate2": [700, 1]', '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}, ' * 3),
]
MESS = st.lists(st.sampled_from(PIECES) | NUMBER | st.text(max_size=4), max_size=25).map("".join)


def task_named(name: str) -> Task[Any]:
    return next(task for task in TASKS if task.name == name)


def made(index: int) -> tuple[Task[Any], TaskRequest, list[Any]]:
    name, fields = REQUESTS[index]
    task = task_named(name)
    return task, task.request.model_validate(fields), [CLIP if name == "localize-events" else VIEW]


def read(index: int, pieces: list[str], finish_reason: str) -> Any:
    """(items as they came, the result), or the error's code."""
    task, request, shown = made(index)
    reader = task.reader(request, shown)
    items: list[Any] = []
    try:
        for piece in pieces:
            items += reader.feed(piece)
            if reader.looped:
                break
        items += reader.close(finish_reason)
        result = task.result(request, [Part(shown, reader)])
    except AnswerUnreadable as failure:
        return failure.code
    return items, result


def places(value: Any) -> list[list[float]]:
    if isinstance(value, dict):
        own = [value[key] for key in ("bbox_2d", "point_2d") if value.get(key)]
        inner = (each for name, each in value.items() if name != "data")  # what was extracted may have any names
        return own + [place for each in inner for place in places(each)]
    return [place for each in value for place in places(each)] if isinstance(value, list) else []


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(REQUESTS) - 1), MESS, st.sampled_from(["stop", "length"]))
def test_no_answer_makes_a_task_raise_or_leave_the_picture(index, answer, finish_reason):
    outcome = read(index, [answer], finish_reason)
    if isinstance(outcome, str):
        assert outcome in {"answer_unreadable", "action_impossible"}
        return
    orjson.dumps(outcome)  # numbers without end and halves of characters would cost the answer
    space = REQUESTS[index][1].get("coordinate_space", "pixel")
    width, height = LIMITS[space]
    for place in places(outcome[1]):
        assert all(math.isfinite(number) for number in place)
        assert all(0 <= x <= width for x in place[::2])
        assert all(0 <= y <= height for y in place[1::2])
        assert len(place) == 2 or (place[0] < place[2] and place[1] < place[3])
    for event in outcome[1].get("events", []):
        assert 0 <= event["start_s"] <= event["end_s"] <= 60


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(REQUESTS) - 1), MESS, st.data())
def test_a_streamed_answer_gives_what_the_whole_gives(index, answer, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=10)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    whole, streamed = read(index, [answer], "stop"), read(index, pieces, "stop")
    if isinstance(whole, str) or isinstance(streamed, str):
        assert whole == streamed
        return
    assert streamed[1] == whole[1]
    if not any("delta" in item for item in whole[0]):
        assert streamed[0] == whole[0]


@pytest.mark.parametrize("index", range(len(REQUESTS)), ids=lambda index: f"{index} {REQUESTS[index][0]}")
@pytest.mark.parametrize(
    "unit",
    ['{"bbox_2d": [1, 2, 30, 40], "label": "cat"}, ', "word number ", "{", '{"a": "x, ', "<p>a", "0:01 - 0:02 a\n"],
)
def test_every_task_takes_time_in_proportion_to_the_answer(index, unit):
    def work(size):
        answer = "".join(unit.replace("1", str(at), 1) + str(at) for at in range(size // (len(unit) + 6)))
        read(index, [answer], "length")

    assert in_proportion(work)
