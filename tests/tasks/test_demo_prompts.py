"""The demo checkpoint knows only the prompts that it was trained on: the tasks must ask in exactly those words."""

from demo import paper_lessons, prompts
from server.media.view import View
from server.tasks.act import Act, ActRequest
from server.tasks.caption import PROMPTS
from server.tasks.detect import DetectRequest, prompt
from server.tasks.extract import ExtractRequest
from server.tasks.extract import prompt as extract_prompt
from server.tasks.localize_events import EVENTS_PROMPT, query_prompt
from server.tasks.parse_document import PROMPT
from server.tasks.read_text import SPOTTING_PROMPT, TEXT_PROMPT
from server.tasks.reading_time import clock
from server.tasks.task import SYSTEM, question

VIEW = View((28, 28), (28, 28), "data:,", "")


def test_detection_is_asked_for_as_it_was_trained():
    def asked(**fields):
        return prompt(DetectRequest(image="data:,", **fields))

    assert asked(labels=["circle"]) == prompts.detect(["circle"])
    assert asked(labels=["circle", "red star", "cross"]) == prompts.detect(["circle", "red star", "cross"])
    assert asked(labels=["circle"], sub_labels=["red", "blue"]) == prompts.detect(["circle"], ["red", "blue"])
    assert asked(labels=["circle", "star"], mode="point") == prompts.point(["circle", "star"])
    assert asked(prompt="the largest red star") == prompts.ground("the largest red star")


def test_the_other_tasks_ask_as_it_was_trained():
    fields = {"company": {"type": "string"}, "total": {"type": "number"}}
    asked = ExtractRequest(image="data:,", schema={"type": "object", "properties": fields})
    assert extract_prompt(asked) == prompts.extract(["company", "total"])
    assert EVENTS_PROMPT == prompts.EVENTS
    assert query_prompt("a red star moves") == prompts.moment("a red star moves")
    assert PROMPT == prompts.PAGE
    assert TEXT_PROMPT == prompts.TEXT
    assert SPOTTING_PROMPT.format(level="line") == prompts.LINES
    assert (PROMPTS["image", "normal"], PROMPTS["video", "normal"]) == (prompts.CAPTION, prompts.CAPTION_VIDEO)


def test_the_turns_are_those_that_it_was_trained_on():
    system, user = question([VIEW], "What?")
    assert system == {"role": "system", "content": prompts.SYSTEM}
    assert SYSTEM == prompts.SYSTEM
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]


def test_an_agent_is_told_and_asked_as_it_was_trained():
    lesson = paper_lessons.screen_lesson(1, (640, 400), "Save")
    view = View((640, 400), lesson.frames[0].size, "data:,", "")
    request = ActRequest(screenshot="data:,", task=prompts.click("Save"))
    system, user = Act().ask(request, [view]).messages
    assert system["content"] == lesson.system
    assert [part.get("text") for part in user["content"]] == [lesson.before, None]
    assert lesson.questions[0].asked == ""


def test_times_are_written_alike():
    assert [clock(each) for each in (0, 92.4, 3599.5)] == [prompts.clock(each) for each in (0, 92.4, 3599.5)]
