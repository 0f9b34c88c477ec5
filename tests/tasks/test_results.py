"""What becomes of an answer's items: labels matched, repeats merged, parts that failed said."""

import json

import pytest

from server.errors import EngineFailed
from server.media.view import Clip, View
from server.tasks.detect import Detect, DetectRequest
from server.tasks.localize_events import LocalizeEvents, LocalizeEventsRequest
from server.tasks.task import Part, warnings_out

VIEW = View((280, 280), (280, 280), "data:,", "")


def detected(answer, **fields):
    result = Detect().parse(DetectRequest(image="data:,", **fields), [VIEW], json.dumps(answer))
    return result["objects"], {(warning["code"], warning["action"]) for warning in result["warnings"]}, result


def rider(sub_label, box=(10, 10, 50, 50)):
    return {"bbox_2d": list(box), "label": "motorcyclist", "sub_label": sub_label}


def test_a_misspelt_sub_label_is_the_one_that_was_asked_for_and_said():
    asked = {"labels": ["motorcyclist"], "sub_labels": ["wearing helmet", "not wearing helmet"]}
    objects, warnings, _ = detected(
        [rider("not wearing helmat "), rider("wearing helmet", (90, 90, 120, 130))], **asked
    )
    assert [each["sub_label"] for each in objects] == ["not wearing helmet", "wearing helmet"]
    assert warnings == {("sub_label_matched", "read as 'not wearing helmet'")}


def test_a_label_that_nobody_asked_for_is_kept_and_flagged():
    objects, warnings, result = detected([{"bbox_2d": [1, 2, 30, 40], "label": "zebra"}], labels=["cat"])
    assert objects[0]["label"] == "zebra"
    assert objects[0]["asked"] is False
    assert warnings == {("label_not_asked", "kept and flagged")}
    assert result["not_found"] == ["cat"]


@pytest.mark.parametrize("written", ["Cats", "cat.", "CAT", "cats"])
def test_case_and_plural_are_no_other_label(written):
    objects, warnings, _ = detected([{"bbox_2d": [1, 2, 30, 40], "label": written}], labels=["cat", "dog"])
    assert (objects[0]["label"], warnings) == ("cat", set())


def test_the_same_thing_twice_is_one_and_two_beside_each_other_are_two():
    boxes = [[10, 10, 100, 100], [11, 10, 100, 101], [60, 10, 150, 100]]
    objects, warnings, result = detected([{"bbox_2d": box, "label": "cat"} for box in boxes], labels=["cat"])
    assert [each["bbox_2d"] for each in objects] == [boxes[0], boxes[2]]
    assert result["count"] == 2
    assert warnings == {("duplicate_merged", "dropped")}


def test_a_point_where_a_box_was_asked_for_is_dropped_and_said():
    objects, warnings, _ = detected([{"bbox_2d": [56, 74], "label": "cat"}], labels=["cat"])
    assert objects == []
    assert warnings == {("point_as_box", "dropped")}


def test_a_box_where_a_point_was_asked_for_gives_its_middle():
    objects, warnings, _ = detected([{"bbox_2d": [10, 20, 30, 60], "label": "cat"}], labels=["cat"], mode="point")
    assert objects[0]["point_2d"] == [20, 40]
    assert warnings == {("point_from_box", "its middle was taken")}


def test_confidence_is_unknown_where_the_engine_gave_no_probabilities():
    objects, _, _ = detected([{"bbox_2d": [1, 2, 30, 40], "label": "cat"}], labels=["cat"])
    assert (objects[0]["confidence"], objects[0]["confidence_method"]) == (None, None)


def test_a_window_that_failed_is_said_and_the_others_are_kept():
    task, request = LocalizeEvents(), LocalizeEventsRequest(video="data:,")
    clips = [
        Clip((64, 64), (56, 56), "", "", tuple(at + step / 2 for step in range(20)), 2, at, at + 10, 28)
        for at in (0, 18)
    ]
    parts = []
    for clip in clips:
        reader = task.reader(request, [clip])
        reader.feed('[{"start_time": "00:02.00", "end_time": "00:03.00", "description": "A light grows."}]')
        reader.close("stop")
        parts.append(Part([clip], reader, span_s=(clip.start_s, clip.end_s)))
    parts.insert(1, Part([], failure=EngineFailed("gone"), span_s=(9, 19)))
    result = task.result(request, parts)
    assert [each["start_s"] for each in result["events"]] == [2, 20]
    assert result["sampling"]["windows"] == 3
    assert warnings_out(parts) == [
        {"code": "part_failed", "item": {"start_s": 9, "end_s": 19}, "action": "left out: gone"}
    ]
