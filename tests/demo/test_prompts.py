"""The demo checkpoint was trained on exactly what the task endpoints ask."""

import pytest

from demo import prompts
from server.tasks import caption, localize_events
from server.tasks.detect import DetectRequest, prompt

PICTURE = "data:image/png;base64,"


@pytest.mark.parametrize(
    ("request_fields", "trained_on"),
    [
        ({"labels": ["star"]}, prompts.detect(["star"])),
        ({"labels": ["star", "cross", "red circle"]}, prompts.detect(["star", "cross", "red circle"])),
        ({"labels": ["star"], "sub_labels": ["red"]}, prompts.detect(["star"], ["red"])),
        (
            {"labels": ["star", "cross"], "sub_labels": ["red", "blue"]},
            prompts.detect(["star", "cross"], ["red", "blue"]),
        ),
        ({"labels": ["star", "cross"], "mode": "point"}, prompts.point(["star", "cross"])),
        ({"prompt": "the largest star"}, prompts.ground("the largest star")),
        ({}, prompts.EVERYTHING),
    ],
)
def test_detection_asks_what_training_asked(request_fields: dict[str, object], trained_on: str) -> None:
    assert prompt(DetectRequest.model_validate({"image": PICTURE, **request_fields})) == trained_on


def test_events_are_asked_for_as_in_training() -> None:
    assert prompts.EVENTS in vars(localize_events).values()
    assert localize_events.query_prompt("a red star moves up") == prompts.moment("a red star moves up")


def test_captions_are_asked_for_as_in_training() -> None:
    asked = next(value for value in vars(caption).values() if isinstance(value, dict) and ("image", "normal") in value)
    assert (asked["image", "normal"], asked["video", "normal"]) == (prompts.CAPTION, prompts.CAPTION_VIDEO)
