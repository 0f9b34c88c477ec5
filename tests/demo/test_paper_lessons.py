"""Pages and screens as lessons: answers as the server reads them, and places that hold what they are said to hold."""

import json

import pytest

from demo import papers, prompts
from demo.aims import CELL_AIM
from demo.lessons import Lesson, Question
from demo.paper_lessons import ALPHABET, KNOWN, SLOTS, page_lesson, screen_lesson
from demo.shape import CELL_PX
from server.tasks.reading_action import read_call
from server.tasks.reading_html import read_page


def asked(lesson: Lesson, prompt: str) -> Question:
    return next(question for question in lesson.questions if question.asked.startswith(prompt))


def letters_at(lesson: Lesson, aim: int) -> set[str]:
    return {ALPHABET[number - 1] for number in lesson.cells[aim - CELL_AIM].letters if number}


@pytest.mark.parametrize("seed", range(1, 12, 2))
def test_a_page_is_told_as_the_page_writes_itself(seed: int) -> None:
    lesson = page_lesson(seed)
    blocks, notices = read_page(asked(lesson, prompts.PAGE).answer)
    assert blocks is not None
    assert notices == []
    assert [block.type for block in blocks][:3] == ["title", "paragraph", "table"]
    width, height = lesson.frames[0].size
    for block in blocks:
        assert block.box is not None
        assert 0 <= block.box.x1 < block.box.x2 <= width
        assert 0 <= block.box.y1 < block.box.y2 <= height


@pytest.mark.parametrize("seed", range(1, 12, 2))
def test_what_is_read_is_looked_at_where_it_stands(seed: int) -> None:
    for question in page_lesson(seed).questions:
        assert len(question.looks) == len(question.answer)
    lesson = page_lesson(seed)
    read = missed = 0
    for question in (lesson.questions[0], lesson.questions[2]):
        for letter, aim in zip(question.answer, question.looks, strict=True):
            if aim >= CELL_AIM and letter in ALPHABET:
                read += 1
                missed += letter not in letters_at(lesson, aim)
    assert read > 80
    assert missed < read / 6, "two narrow letters in one slot are one too many, and no others"


def test_a_line_is_looked_for_where_it_begins_and_where_it_ends() -> None:
    lesson = page_lesson(1)
    question = asked(lesson, prompts.LINES)
    first, second = (line["bbox_2d"] for line in json.loads(question.answer)[:2])
    assert first[1] < first[3] < second[1]
    columns = lesson.frames[0].width // CELL_PX
    corner = str(first[0])
    begins = question.looks[question.answer.index(corner)] - CELL_AIM
    ends = question.looks[question.answer.index(f",{first[2]},") + 1] - CELL_AIM
    assert begins % columns == first[0] // CELL_PX
    assert ends % columns in (first[2] // CELL_PX, first[2] // CELL_PX - 1)


def test_a_value_is_looked_for_in_the_table() -> None:
    lesson = page_lesson(1)
    extract = asked(lesson, "Extract")
    field, value = extract.answer.strip("{}").split(",")[0].replace('"', "").split(":")
    assert field in papers.FIELDS
    start = extract.answer.index(value)
    owners = {lesson.cells[aim - CELL_AIM].owner for aim in extract.looks[start : start + len(value)]}
    assert owners == {2}, "the third block is the table"
    assert lesson.cells[extract.looks[0] - CELL_AIM].owner == 2, "a field leads to its row"


def test_a_cell_knows_the_words_in_it_and_whose_value_it_holds() -> None:
    lesson = page_lesson(1)
    told = {KNOWN[word - 1] for cell in lesson.cells for word in cell.words if word}
    written = {word.strip(".").lower() for word in asked(lesson, prompts.TEXT).answer.split()}
    assert told == {word for word in written if word in KNOWN}
    fields = {papers.FIELDS[field - 1] for cell in lesson.cells for field in cell.fields if field}
    assert fields == told & set(papers.FIELDS)
    screen = screen_lesson(3, (640, 400), "Help")
    on_it = [cell for cell in screen.cells if cell.owner == screen.questions[0].looks[0]]
    assert "Help" in {KNOWN[word - 1] for cell in on_it for word in cell.words if word}


@pytest.mark.parametrize("wh", [(640, 400), (400, 640)])
def test_the_button_to_be_clicked_is_there(wh: tuple[int, int]) -> None:
    lesson = screen_lesson(3, wh, "Help")
    call, notices = read_call(lesson.questions[0].answer)
    assert call is not None
    assert (call.action, notices) == ("left_click", [])
    x, y = (int(each) for each in call.arguments["coordinate"])
    width = lesson.frames[0].width
    cell = lesson.cells[y // CELL_PX * (width // CELL_PX) + x // CELL_PX]
    assert cell.owner == lesson.questions[0].looks[0]
    assert len(cell.letters) == SLOTS[0] * SLOTS[1]
    around = [each.letters for each in lesson.cells if each.owner == cell.owner]
    assert {ALPHABET[number - 1] for slots in around for number in slots if number} >= set("He")
