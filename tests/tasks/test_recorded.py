"""Every recorded answer of the model is read to what a person would read from it."""

import re

import pytest

from server.geometry import Box
from server.media.view import Clip, View
from server.tasks.detect import Detect, DetectRequest
from server.tasks.localize_events import LocalizeEvents, LocalizeEventsRequest
from server.tasks.read_text import ReadText, ReadTextRequest, bare
from server.tasks.reading import read_items
from server.tasks.reading_action import read_call
from server.tasks.reading_boxes import read_label, read_places, spot_items
from server.tasks.reading_html import read_page
from server.tasks.reading_lines import spot_lines
from server.tasks.reading_time import event_items, event_lines, read_event
from server.tasks.reading_value import read_value
from server.tasks.repetition import RepetitionDetector
from tests.tasks import recorded
from tests.tasks.recorded import record

pytestmark = pytest.mark.skipif(not recorded.FOLDER.is_dir(), reason="the recorded answers are not here")


def read_spots(answer):
    found, _ = read_items(answer, spot_items, spot_lines)
    places = [(place, read_label(item.fields)) for item in found for place in read_places(item.fields)[0]]
    return [
        ([box.x1, box.y1, box.x2, box.y2] if (box := place.box) else [place.point.x, place.point.y], label)
        for place, label in places
    ]


def read_events(answer):
    return [read_event(item.fields)[0] for item in read_items(answer, event_items, event_lines)[0]]


def test_every_file_is_accounted_for():
    named = {
        *recorded.SOUND_SPOTS, *recorded.SPOTS, *recorded.SOUND_EVENTS, *recorded.EVENTS, *recorded.PAGES,
        *recorded.PROSE, *recorded.PLAIN_TEXT, *recorded.LOOPS, *recorded.ACTIONS, *recorded.LISTS, *recorded.RECORDS,
        *recorded.OTHERS,
    }  # fmt: skip
    assert {path.stem for path in recorded.FOLDER.glob("*.json")} == named


@pytest.mark.parametrize("name", [*recorded.SOUND_SPOTS, *recorded.SPOTS])
def test_places(name):
    assert read_spots(record(name).answer) == recorded.spots(name)


@pytest.mark.parametrize("name", [name for name in recorded.SOUND_SPOTS if "ocr" not in name and "blog" not in name])
def test_places_come_home_to_the_callers_pixels(name):
    entry = record(name)
    if entry.image_wh is None or entry.shown_wh is None:
        pytest.skip("sizes were not recorded")
    view = View(entry.image_wh, entry.shown_wh, "data:,", "")
    result = Detect().parse(DetectRequest(image="data:,"), [view], entry.answer)
    x, y = (a / b for a, b in zip(entry.image_wh, entry.shown_wh, strict=True))
    assert result["count"] == len(recorded.spots(name))
    for found, (written, label) in zip(result["objects"], recorded.spots(name), strict=True):
        expected = [written[0] * x, written[1] * y, written[2] * x, written[3] * y]
        assert all(abs(a - b) <= 1 for a, b in zip(found["bbox_2d"], expected, strict=True))
        assert found["label"] == label


@pytest.mark.parametrize("name", ["11_ocr_v2_cell13_text_spotting", "32_ocr_v1_cell12_text_spotting"])
def test_lines_come_home_to_the_callers_pixels(name):
    entry = record(name)
    view = View(entry.image_wh, entry.shown_wh, "data:,", "")
    result = ReadText().parse(ReadTextRequest(image="data:,", level="line"), [view], entry.answer)
    assert [line["text"] for line in result["lines"]] == [text for _, text in recorded.spots(name)]
    assert result["text"].endswith("CHANGE DUE\n3,000")


@pytest.mark.parametrize("name", [*recorded.SOUND_EVENTS, *recorded.EVENTS])
def test_events(name):
    assert [(round(a, 3), round(b, 3)) for a, b in read_events(record(name).answer)] == recorded.events(name)


@pytest.mark.parametrize("name", recorded.SOUND_EVENTS)
def test_events_of_a_clip(name):
    times = tuple(at / 2 for at in range(600))
    clip = Clip((640, 360), (308, 168), "data:,", "", times, 2, 0, 300, 300)
    result = LocalizeEvents().parse(LocalizeEventsRequest(video="data:,"), [clip], record(name).answer)
    found = [(each["start_s"], each["end_s"]) for each in result["events"]]
    assert found == recorded.events(name)
    assert all(each["description"] for each in result["events"])


@pytest.mark.parametrize("name", recorded.PAGES)
def test_pages(name):
    answer = record(name).answer
    blocks, notices = read_page(answer)
    written = re.findall(r'<(?:p|h\d|div)(?: class="[^"]*")? data-bbox="(\d+) (\d+) (\d+) (\d+)"', answer)
    assert [block.box for block in blocks if block.box] == [Box(*map(float, numbers)) for numbers in written]
    paragraphs = re.findall(r"<(?:p|h\d) data-bbox=[^>]*>([^<]*)", answer)
    read = "\n".join(block.text for block in blocks)
    for words in paragraphs:
        assert " ".join(words.split()) in read
    assert [notice.code for notice in notices] == (["cut_off"] if "truncated" in name else [])


def test_a_page_of_ordinary_html():
    blocks, _ = read_page(record("62_blog_docparsing8").answer)
    assert blocks[0].text == "淘宝·许愿淘彩头分25亿"
    assert {"福寿康宁", "换一批 | 定制心愿"} <= {block.text for block in blocks}
    assert not any("background-color" in block.text for block in blocks)


@pytest.mark.parametrize("name", recorded.PLAIN_TEXT)
def test_plain_text_is_the_answer_as_it_stands(name):
    answer = record(name).answer
    assert bare(answer) == "\n".join(line.rstrip() for line in answer.strip().split("\n"))


def test_text_in_a_fence_behind_a_lead_in():
    text = bare(record("08_ocr_v2_cell7_ocr").answer)
    assert text.startswith("Auntie Anne's\n\nCINNAMON SUGAR")
    assert text.endswith("CHANGE DUE\n3,000")


def test_text_in_a_markdown_fence_that_was_cut_off():
    assert bare(record("issues_13_lazy_image_markdown").answer).startswith("# Example diagram")


@pytest.mark.parametrize("name", recorded.PROSE)
def test_prose_holds_no_boxes_and_goes_not_round(name):
    answer = record(name).answer
    assert read_spots(answer) == []
    detector = RepetitionDetector()
    detector.feed(answer)
    assert detector.loop is None


@pytest.mark.parametrize("name", recorded.LOOPS)
def test_a_loop_that_goes_on_is_seen(name):
    answer = record(name).answer
    tail = answer[-300:] if "time_ranges" not in name else answer[-130:]
    detector = RepetitionDetector(numbers_differ=True)
    detector.feed(answer + tail * 12)
    assert detector.loop is not None


@pytest.mark.parametrize("name", recorded.ACTIONS)
def test_actions(name):
    call, _ = read_call(record(name).answer)
    assert (call and (call.action, call.arguments)) == recorded.ACTIONS[name]


@pytest.mark.parametrize("name", recorded.LISTS)
def test_lists(name):
    assert read_value(record(name).answer, (list,))[0] == recorded.LISTS[name]


@pytest.mark.parametrize("name", recorded.RECORDS)
def test_records(name):
    answer = record(name).answer
    expected = recorded.sound_json(answer)
    assert read_value(answer, (dict, list))[0] == expected
