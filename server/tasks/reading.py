"""The one reader for lists that models write: items out of prose, fences, broken and cut-off JSON, XML and plain lines.

`ItemStream` takes an answer piece by piece and hands out each item the moment its JSON closes. Reading a whole answer
is feeding it at once, so the two can never differ. A bad item becomes a warning and costs no other.

It does not know what an item means: `items_of` says which objects are items (`reading_boxes`, `reading_time`), and
`lines` reads what stands outside all JSON (`reading_lines`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.tasks.mending import mended
from server.tasks.scanning import Candidate, ObjectScanner

Fields = dict[str, Any]
"""One JSON object as the model wrote it."""

MAX_REPAIR_CHARS = 100_000
"""Cost (see `repair_cost`) of what is repaired in one answer."""
MAX_ITEMS = 5_000
"""Items read from one answer; the longest answer that a request may ask for holds fewer."""
MAX_PROSE_CHARS = 200_000
"""Characters outside all JSON that are searched for items in one answer."""
MAX_NOTICES = 100
"""Notices kept for one answer; an answer with more faults than that is no answer."""
_SHORTEST_ITEM_CHARS = 7  # {"a":1}
_EXCERPT_CHARS = 200
_FENCE_LINE = re.compile(r"^\s*```\w{0,20}\s*$", re.MULTILINE)
_EMPTY_CHARS, _NEGATIVE_CHARS = 2_000, 300
_NEGATIVE = re.compile(
    r"\b(?:there (?:are|is|were|was) (?:no|not any)\b|"
    r"(?:no|none)\b.{0,60}\b(?:found|detected|visible|present|in the)\b|"
    r"(?:does|do|did) not (?:contain|show|occur|happen|appear)\b|(?:is|are) not (?:present|visible|shown)\b)|"
    r"\u6ca1\u6709|\u672a(?:\u68c0\u6d4b|\u53d1\u73b0)",
    re.IGNORECASE,
)
_WIDE_COLON, _WIDE_COMMA = "\uff1a", "\uff0c"
_FULL_WIDTH = re.compile(rf"(?<=[\"'\]\d])[{_WIDE_COLON}{_WIDE_COMMA}]")


@dataclass(frozen=True, slots=True)
class Found:
    """One item of an answer."""

    fields: Fields
    start: int
    """Where it stands in the answer, in characters: [start, end)."""
    end: int
    codes: tuple[str, ...] = ()
    """What was done to read it: `json_repaired`, `cut_off`."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that was repaired, clipped, dropped or cut: an entry of `warnings`."""

    code: str
    item: Any
    """The item as the model wrote it, or an excerpt."""
    action: str
    """What was done about it, in a word or two."""


ItemsOf = Callable[[Fields, bool], Sequence[Fields]]
"""Which items an object is or holds; the flag says that the object stands inside another one."""
Lines = Callable[[str, int], Sequence[Found]]
"""Items in a line of text outside all JSON, given its offset in the answer."""


def no_lines(_text: str, _start: int) -> Sequence[Found]:
    """For answers that have their items in JSON alone."""
    return ()


class ItemStream:
    """Items of an answer that arrives in pieces.

    >>> stream = ItemStream(lambda fields, nested: [fields] if "label" in fields else [])
    >>> [found.fields for found in stream.feed('```json\\n[{"label": "cat"}, {"label": "d')]
    [{'label': 'cat'}]
    >>> [(found.fields, found.codes) for found in stream.close()]
    [({'label': 'd'}, ('json_repaired', 'cut_off'))]
    """

    def __init__(self, items_of: ItemsOf, lines: Lines = no_lines) -> None:
        self._items_of, self._lines = items_of, lines
        self._scanner = ObjectScanner(self._take, self._read_line)
        self._new: list[Found] = []
        self._repairer = Repairer()
        self._left_items, self._left_prose_chars = MAX_ITEMS, MAX_PROSE_CHARS
        self.notices: list[Notice] = []

    def feed(self, text: str) -> list[Found]:
        """Items that this piece completed."""
        self._scanner.feed(text)
        return self._handed_out()

    def close(self) -> list[Found]:
        """Items that only the end of the answer completed, cut-off ones among them."""
        self._scanner.close()
        self.notices += [Notice("item_too_long", {"offset": start}, "dropped") for start in self._scanner.dropped]
        if self._scanner.exhausted or self._left_items <= 0:
            self.notices.append(Notice("answer_too_long", None, "the rest was not read"))
        return self._handed_out()

    def _handed_out(self) -> list[Found]:
        new, self._new = self._new, []
        return new

    def _take(self, candidate: Candidate) -> bool:
        if len(candidate.text) < _SHORTEST_ITEM_CHARS or self._left_items <= 0:
            return False
        values, codes = self._repairer.read(candidate.text)
        if candidate.cut:
            codes = (*codes, "cut_off")
        end = candidate.start + len(candidate.text)
        taken = [
            Found(fields, candidate.start, end, codes)
            for value in values
            for fields in self._items_of(value, candidate.nested)
        ]
        self._add(taken)
        if not values and len(self.notices) < MAX_NOTICES and '"' in candidate.text and ":" in candidate.text:
            self.notices.append(Notice("item_unreadable", candidate.text[:_EXCERPT_CHARS], "dropped"))
        return bool(taken)

    def _read_line(self, text: str, start: int) -> None:
        self._left_prose_chars -= len(text)
        if self._left_items > 0 and self._left_prose_chars >= 0:
            self._add(self._lines(text, start))

    def _add(self, found: Sequence[Found]) -> None:
        self._new += found
        self._left_items -= len(found)


class Repairer:
    """JSON objects out of text that is perhaps not quite JSON, with a bound on the work for one answer.

    >>> Repairer().read("{'label': 'cat', }")
    ([{'label': 'cat'}], ('json_repaired',))
    >>> Repairer().read("{}}")
    ([], ())
    """

    def __init__(self, budget_chars: int = MAX_REPAIR_CHARS) -> None:
        self._left_chars = budget_chars

    def read(self, text: str) -> tuple[list[Fields], tuple[str, ...]]:
        try:
            return _objects(orjson.loads(text)), ()
        except orjson.JSONDecodeError:
            pass
        cost = repair_cost(text)
        if cost > self._left_chars:
            return [], ()
        self._left_chars -= cost
        objects = _objects(mended(_FULL_WIDTH.sub(_narrow, text)))
        return [_without_stray_quotes(each) for each in objects], ("json_repaired",) if objects else ()


def repair_cost(text: str) -> int:
    """What repairing a text costs json-repair 0.64, as the number of plain characters that cost as much (2 us each).

    Measured: a brace that is never closed takes 600 us, a parenthesis 50 us, and quotes grow with their square.

    >>> repair_cost('{"bbox_2d": [1, 2 3, 4], "label": "cat"}'), repair_cost("{" * 1000)
    (91, 301050)
    """
    quotes = text.count('"') + text.count("'")
    unclosed = max(0, text.count("{") - text.count("}"))
    return len(text) + 50 + 300 * unclosed + 50 * text.count("(") + quotes * quotes // 30


def _narrow(match: re.Match[str]) -> str:
    return ":" if match[0] == _WIDE_COLON else ","


def _without_stray_quotes(fields: Fields) -> Fields:
    """A string whose own quotes were taken for text ends with one too many: `6" pipe"`."""
    return {
        key: value[:-1] if isinstance(value, str) and len(value) > 1 and value[-1] in "\"'" else value
        for key, value in fields.items()
    }


def _objects(value: object) -> list[Fields]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict) and each]


def plain_keys(fields: Fields) -> Fields:
    """The same fields under keys in one spelling.

    >>> plain_keys({"Bounding Box": 1, "sub-label": 2})
    {'bounding_box': 1, 'sub_label': 2}
    """
    return {str(key).strip().lower().replace("-", "_").replace(" ", "_"): value for key, value in fields.items()}


def inner_items(value: Fields | list[Any], is_item: Callable[[Fields], bool], levels: int = 6) -> Iterator[Fields]:
    """The outermost items inside a value, a few levels deep.

    >>> list(inner_items({"a": [{"b": {"label": "cat"}}]}, lambda fields: "label" in fields))
    [{'label': 'cat'}]
    """
    if levels == 0:
        return
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict) and is_item(each):
            yield each
        elif isinstance(each, dict | list):
            yield from inner_items(each, is_item, levels - 1)


def says_none(answer: str) -> bool:
    """Whether an answer without items says that there are none, rather than something that cannot be read.

    >>> [says_none(text) for text in ("[]", '```json\\n{"objects": []}\\n```', "There are no cats in the image.")]
    [True, True, True]
    >>> [says_none(text) for text in ("", "[", "I see a cat.", '{"a": 1}')]
    [False, False, False, False]
    """
    text = _FENCE_LINE.sub("", answer[:_EMPTY_CHARS]).strip()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return len(text) <= _NEGATIVE_CHARS and bool(_NEGATIVE.search(text))
    return value in ([], {}, None) or (
        isinstance(value, dict) and all(each in ([], {}, None, 0, "", False) for each in value.values())
    )


def read_items(answer: str, items_of: ItemsOf, lines: Lines = no_lines) -> tuple[list[Found], list[Notice]]:
    """All items of a whole answer, in the model's order.

    >>> read_items('[{"label": "cat"} {"label": "dog"}]', lambda fields, nested: [fields])[0][1].fields
    {'label': 'dog'}
    """
    stream = ItemStream(items_of, lines)
    found = stream.feed(answer) + stream.close()
    return found, stream.notices
