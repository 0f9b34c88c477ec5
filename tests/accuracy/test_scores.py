"""What a score is, on answers short enough to reckon by hand."""

from typing import Any

import pytest

from benchmarks.accuracy.coco_figures import average_precision
from benchmarks.accuracy.figures import distributions, figures
from benchmarks.accuracy.items import Record
from benchmarks.accuracy.limits import Limit, broken
from benchmarks.accuracy.scoring import scored

STAR, CROSS = ({"bbox": [0, 0, 100, 100], "label": "star"}, {"bbox": [200, 0, 300, 100], "label": "cross"})


def box(x1: float, y1: float, x2: float, y2: float, label: str, confidence: float | None = None) -> dict[str, Any]:
    return {"bbox_2d": [x1, y1, x2, y2], "label": label, "confidence": confidence}


def record(kind: str, truth: dict[str, Any], answer: dict[str, Any] | None, **more: Any) -> Record:
    return Record("1", kind, truth, {"wh": [400, 200]}, answer, **more)


def detected(*boxes: dict[str, Any]) -> Record:
    return record("some", {"objects": [STAR, CROSS]}, {"objects": list(boxes)})


def test_a_miss_and_a_false_alarm_cost_average_precision_as_coco_reckons_it():
    both = [box(0, 0, 100, 100, "star"), box(200, 0, 300, 100, "cross")]
    assert average_precision([detected(*both)])["mAP@0.5"] == pytest.approx(1)
    assert average_precision([detected(both[0])])["mAP@0.5"] == pytest.approx(0.5)
    assert average_precision([detected()])["mAP@0.5"] == 0
    confident = box(300, 100, 390, 190, "star", 0.9)
    sure = [confident, {**both[0], "confidence": 0.8}, {**both[1], "confidence": 0.8}]
    unsure = [{**confident, "confidence": 0.1}, *sure[1:]]
    assert average_precision([detected(*sure)])["mAP@0.5"] == pytest.approx(0.75)
    assert average_precision([detected(*unsure)])["mAP@0.5"] == pytest.approx(1)


def test_average_precision_counts_how_well_boxes_fit():
    shifted = [box(0, 0, 100, 60, "star"), box(200, 0, 300, 100, "cross")]
    figures_of = average_precision([detected(*shifted)])
    assert figures_of["mAP@0.5"] == pytest.approx(1)
    assert figures_of["mAP@0.75"] == pytest.approx(0.5)


def test_boxes_are_matched_one_to_one():
    scores = scored(detected(box(0, 0, 100, 100, "star"), box(0, 0, 100, 98, "star"), box(0, 0, 9, 9, "cross")))
    assert (scores["hits"], scores["given"], scores["ious"]) == (1, 3, [1.0, 0.0])
    assert scores["number_right"] is False


def test_a_label_and_a_box_are_right_each_by_itself():
    scores = scored(detected(box(0, 0, 100, 96, "cross"), box(200, 0, 300, 100, "cross")))
    assert (scores["hits"], scores["labelled"]) == (2, 1)
    assert scores["corner_errors"] == [0, 0, 0, 0, 0, 0, 0, 1]  # the likest pair first; 4 px of 400


def test_an_unreadable_answer_found_nothing_and_does_not_count_as_none():
    unreadable = record("absent", {}, None, error="answer_unreadable")
    assert scored(unreadable)["right"] is False
    assert scored(record("absent", {}, {"objects": []}))["right"] is True
    missed = record("some", {"objects": [STAR]}, None, error="answer_unreadable")
    assert scored(missed)["ious"] == [0.0]
    found = figures([unreadable, missed])
    assert found["answers that could not be read"].value == 1
    assert found["detect some recall@0.5"].value == 0


def test_a_question_that_the_server_failed_counts_apart():
    found = figures([record("some", {"objects": [STAR]}, None, error="engine_failed")])
    assert "detect some recall@0.5" not in found
    assert found["questions that failed"].value == 1


@pytest.mark.parametrize(
    ("said", "exact"), [("There are 2 stars.", True), ("Two.", True), ("There are no stars.", False), ("Many", False)]
)
def test_a_number_in_words_is_read(said: str, exact: bool):
    answer = {"choices": [{"message": {"content": said}}]}
    assert scored(record("count-words", {"count": 2}, answer))["exact"] is exact


def test_a_further_box_makes_a_phrase_no_better():
    truth = {"bbox": [0, 0, 100, 100]}
    right, wrong = box(0, 0, 100, 100, "star"), box(200, 0, 300, 100, "star")
    assert scored(record("ground", truth, {"objects": [right, wrong]}))["hit"] is True
    assert scored(record("ground", truth, {"objects": [wrong, right]}))["hit"] is False


def test_every_thing_needs_a_point_of_its_own():
    truth = {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10]]}
    twice = [{"point_2d": [5, 5]}, {"point_2d": [6, 6]}]
    assert scored(record("point", truth, {"objects": twice}))["hits"] == 1
    assert scored(record("point", truth, {"objects": [twice[0], {"point_2d": [25, 5]}]}))["right"] is True


def test_a_caption_is_right_when_it_names_each_thing_as_often_as_it_is_there():
    truth = {"names": ["red star", "red star", "blue cross"]}
    said = "There is a red star, another red star and a blue cross."
    assert scored(record("caption", truth, {"caption": said}))["exact"] is True
    scores = scored(record("caption", truth, {"caption": "A red star and a green circle."}))
    assert (scores["exact"], scores["shared"], scores["named"]) == (False, 1, 2)


def told(start_s: float, end_s: float, description: str = "") -> dict[str, Any]:
    return {"start_s": start_s, "end_s": end_s, "description": description}


def test_events_are_matched_one_to_one_and_misses_are_zero():
    truth = {"events": [{"span": [0, 10], "description": "A."}, {"span": [20, 30], "description": "B."}]}
    answer = {"events": [told(0, 8, "A."), told(1, 9, "A."), told(50, 60, "C.")]}
    scores = scored(record("events", truth, answer))
    assert (scores["tious"], scores["described"], scores["given"]) == ([0.8, 0.0], [True], 3)
    assert scores["edge_errors_s"] == [0, 2]


def test_a_page_is_compared_in_the_pixels_in_which_it_was_answered():
    truth = {"wh": [100, 200], "blocks": [{"type": "h1", "bbox": [10, 10, 50, 20], "text": "A title"}]}
    block = {"type": "title", "bbox_2d": [20, 20, 100, 40], "text": "A  title"}
    answer = {"pages": [{"width": 200, "height": 400, "blocks": [block]}]}
    scores = scored(record("page", truth, answer))
    assert (scores["block_ious"], scores["edit_distance"], scores["typed"]) == ([1.0], 0.0, [True])


def test_a_value_is_right_only_as_it_is_written():
    truth = {"data": {"total": "12.50", "date": "3.01"}}
    assert scored(record("extract", truth, {"data": {"total": "12.50", "date": "3.1"}}))["right"] == [True, False]


@pytest.mark.parametrize(("action", "hit"), [("left_click", True), ("mouse_move", False)])
def test_only_a_click_on_the_button_hits(action: str, hit: bool):
    answer = {"action": {"action": action, "coordinate": [15, 15]}}
    assert scored(record("act", {"bbox": [10, 10, 20, 20]}, answer))["hit"] is hit


def test_a_distribution_counts_in_twentieths():
    found = distributions([detected(box(0, 0, 100, 52, "star"), box(200, 0, 300, 100, "cross"))])
    assert {at: count for at, count in enumerate(found["detect some IoU"]) if count} == {10: 1, 19: 1}


def test_a_limit_that_was_not_measured_does_not_hold():
    found = figures([record("absent", {}, {"objects": []})])
    limits = {"a label that is not there: nothing found": Limit(1), "count exact": Limit(0.9)}
    assert broken(found, limits) == ["count exact: not measured, needed at least 0.9"]
