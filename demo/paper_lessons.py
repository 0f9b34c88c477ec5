"""What the model is taught of pages and screens: to read them whole, to find a value, to click a named button."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from demo import papers, prompts
from demo.aims import CELL_AIM, NOBODY
from demo.lessons import Cell, Lesson, Question, Wh, overlap, shown, shown_size
from demo.shape import CELL_PX, IMAGE_PIXELS

ALPHABET = ".0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SLOT_WH_PX = (7, 14)
"""A letter of the smallest print shown, about; the third of three narrow ones in a slot is not told."""
SLOTS = (CELL_PX // SLOT_WH_PX[0], CELL_PX // SLOT_WH_PX[1])
"""Columns and rows of slots in a cell."""

KNOWN = papers.WORDS + papers.FIELDS + papers.BUTTONS
"""What is written on pages and screens beside numbers; a title's first word counts as itself."""

PAGE_SCALES = (1.0, 1.25, 1.5, 2.0)
TOOL = Path(__file__).resolve().parents[1] / "server" / "tasks" / "tools" / "computer_use.txt"

KNOWN_AT = {word: 1 + index for index, word in enumerate(KNOWN)}

Writing = dict[tuple[int, int], int]
"""Slot (column, row) of the picture shown, to 1 + the letter's index in ALPHABET."""


class Paper:
    """A page or screen as the model is shown it: boxes and places of letters in shown pixels."""

    def __init__(self, source_wh: Wh, shown_wh: Wh) -> None:
        self.shown_wh = shown_wh
        self._x, self._y = shown_wh[0] / source_wh[0], shown_wh[1] / source_wh[1]

    def box(self, bbox: papers.Box) -> papers.Box:
        x1, y1, x2, y2 = bbox
        return round(x1 * self._x), round(y1 * self._y), round(x2 * self._x), round(y2 * self._y)

    def places(self, line: papers.Line) -> list[tuple[float, float]]:
        """The middle of each letter."""
        y = line.middle_y * self._y
        return [((left + right) / 2 * self._x, y) for left, right in zip(line.edges_x, line.edges_x[1:], strict=False)]

    def looks(self, line: papers.Line) -> list[int]:
        """For each letter of a line the cell that it stands in, as an aim."""
        columns = self.shown_wh[0] // CELL_PX
        return [CELL_AIM + int(y // CELL_PX) * columns + int(x // CELL_PX) for x, y in self.places(line)]

    def words(self, line: papers.Line) -> Iterator[tuple[str, float, float]]:
        """Each word with where it begins and ends from left to right."""
        for word in re.finditer("[^ ]+", line.text):
            yield word[0], line.edges_x[word.start()] * self._x, line.edges_x[word.end()] * self._x

    def cells(self, boxes: Sequence[papers.Box], lines: Sequence[papers.Line]) -> list[Cell]:
        """What each cell should know: which of `boxes` covers most of it, and the letters and words in it."""
        writing: Writing = {}
        spoken: dict[tuple[int, int], tuple[float, int]] = {}
        for line in lines:
            for letter, (x, y) in zip(line.text, self.places(line), strict=True):
                if letter != " ":
                    slot = int(x // SLOT_WH_PX[0]), int(y // SLOT_WH_PX[1])
                    writing.setdefault(slot, 1 + ALPHABET.index(letter))
            row = int(line.middle_y * self._y // SLOT_WH_PX[1])
            for word, left, right in self.words(line):
                for column in range(int(left // CELL_PX), int(right // CELL_PX) + 1):
                    covered_px = min(right, (column + 1) * CELL_PX) - max(left, column * CELL_PX)
                    known = KNOWN_AT.get(word) or KNOWN_AT.get(word.lower(), 0)
                    spoken[column, row] = max(spoken.get((column, row), (0.0, 0)), (covered_px, known))
        cells = []
        for y in range(0, self.shown_wh[1], CELL_PX):
            for x in range(0, self.shown_wh[0], CELL_PX):
                covered = [overlap(box, (x, y)) for box in boxes]
                owner = covered.index(max(covered)) if max(covered) > 40 else -1
                slots = tuple(
                    writing.get((x // SLOT_WH_PX[0] + column, y // SLOT_WH_PX[1] + row), 0)
                    for row in range(SLOTS[1])
                    for column in range(SLOTS[0])
                )
                rows = range(y // SLOT_WH_PX[1], y // SLOT_WH_PX[1] + SLOTS[1])
                words = tuple(spoken.get((x // CELL_PX, row), (0.0, 0))[1] for row in rows)
                box = boxes[owner] if owner >= 0 else None
                cells.append(Cell(box=box, owner=owner, letters=slots, words=words, fields=(0,) * SLOTS[1]))
        return cells


class Told:
    """An answer as it is put together, with what each letter of it is about."""

    def __init__(self) -> None:
        self.text, self.looks = "", list[int]()

    def say(self, text: str, about: int = NOBODY) -> None:
        self.text += text
        self.looks += [about] * len(text)

    def read(self, line: papers.Line, paper: Paper) -> None:
        """The line's words, letter by letter."""
        self.text += line.text
        self.looks += paper.looks(line)

    def question(self, asked: str) -> Question:
        return Question(asked, self.text, looks=tuple(self.looks))


def ask_page(page: papers.Page, paper: Paper) -> Question:
    """QwenVL HTML of the page, boxes in shown pixels."""
    told = Told()
    told.say("<html><body>")
    for at, block in enumerate(page.blocks):
        html = "\n" + papers.block_html(replace(block, bbox=paper.box(block.bbox)))
        done = html.index(">") + 1
        told.say(html[:done], at)
        for line in block.lines:
            begin = html.index(line.text, done)
            told.say(html[done:begin], at)
            told.read(line, paper)
            done = begin + len(line.text)
        told.say(html[done:], at)
    told.say("\n</body></html>")
    return told.question(prompts.PAGE)


def ask_text(page: papers.Page, paper: Paper) -> Question:
    """All lines, as they stand."""
    told = Told()
    for at, block in enumerate(page.blocks):
        for line in block.lines:
            if told.text:
                told.say("\n", at)
            told.read(line, paper)
    return told.question(prompts.TEXT)


def ask_lines(page: papers.Page, paper: Paper) -> Question:
    """All lines with their boxes; the corners are looked for at the line's ends."""
    told = Told()
    for line in (line for block in page.blocks for line in block.lines):
        looks = paper.looks(line)
        x1, y1, x2, y2 = paper.box(line.bbox)
        told.say(("," if told.text else "[") + '{"bbox_2d":[', looks[0])
        told.say(f"{x1},{y1},", looks[0])
        told.say(f"{x2},{y2}],", looks[-1])
        told.say('"text_content":"')
        told.read(line, paper)
        told.say('"}')
    told.say("]")
    return told.question(prompts.LINES)


def table_rows(page: papers.Page) -> list[tuple[papers.Line, papers.Line]]:
    """Fields and values as they stand."""
    (table,) = (block for block in page.blocks if block.kind == "table")
    return list(zip(table.lines[::2], table.lines[1::2], strict=True))


def ask_extract(random: Random, page: papers.Page, paper: Paper) -> Question:
    """Some fields of the table, in any order."""
    rows = table_rows(page)
    rows = random.sample(rows, random.randint(1, len(rows)))
    told = Told()
    for field, value in rows:
        # Looking at the field's name while saying it leads to the value, which stands in the same row.
        told.say(f',"{field.text}":"' if told.text else f'{{"{field.text}":"', paper.looks(field)[len(field.text) // 2])
        told.read(value, paper)
        told.say('"')
    told.say("}")
    return told.question(prompts.extract(field.text for field, _ in rows))


READINGS: tuple[Callable[[papers.Page, Paper], Question], ...] = (ask_page, ask_lines, ask_text)


def page_lesson(seed: int, readings: Sequence[Callable[[papers.Page, Paper], Question]] = READINGS) -> Lesson:
    """A page: all of it, as `readings` tell it, and some values, which four questions are about."""
    random = Random(f"page lesson {seed}")
    page = papers.scaled_page(seed, random.choice(PAGE_SCALES))
    wh = page.image.size
    paper = Paper(wh, shown_size(wh, IMAGE_PIXELS))
    asked = [reading(page, paper) for reading in readings]
    asked += [ask_extract(random, page, paper) for _ in range(4)]
    lines = [line for block in page.blocks for line in block.lines]
    cells = paper.cells([paper.box(block.bbox) for block in page.blocks], lines)
    for field, value in table_rows(page):
        row = int(paper.places(value)[0][1] // SLOT_WH_PX[1]) % SLOTS[1]
        for cell in {aim - CELL_AIM for aim in paper.looks(value)}:
            held = list(cells[cell].fields)
            held[row] = 1 + papers.FIELDS.index(field.text)
            cells[cell].fields = tuple(held)
    return Lesson([shown(page.image, paper.shown_wh, random)], asked, cells)


def screen_lesson(seed: int, wh: Wh, name: str) -> Lesson:
    """A screen that has a button `name`, which is to be clicked."""
    random = Random(f"screen lesson {seed}")
    count = random.randint(2, 6)
    tries = (papers.screen(seed + 100_000_000 * again, wh, count) for again in range(1000))
    screen = next(each for each in tries if any(button.name == name for button in each.buttons))
    paper = Paper(wh, shown_size(wh, IMAGE_PIXELS))
    at = [button.name for button in screen.buttons].index(name)
    x1, y1, x2, y2 = paper.box(screen.buttons[at].bbox)
    told = Told()
    told.say(prompts.click_answer(((x1 + x2) // 2, (y1 + y2) // 2), name), at)
    cells = paper.cells([paper.box(button.bbox) for button in screen.buttons], [b.line for b in screen.buttons])
    system = TOOL.read_text("utf-8").replace("{screen}", "x".join(map(str, paper.shown_wh)))
    image = shown(screen.image, paper.shown_wh, random)
    return Lesson([image], [told.question("")], cells, system, prompts.click(name))
