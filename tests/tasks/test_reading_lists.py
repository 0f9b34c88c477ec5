"""Lists as models write them: every item that can be read is read, each as soon as it closes, and in time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.geometry import Box, Point
from server.tasks.reading import ItemStream, read_items
from server.tasks.reading_boxes import SUB_LABEL_KEYS, read_label, read_numbers, read_places, spot_items
from server.tasks.reading_lines import spot_lines
from tests.tasks.growth import in_proportion


def read(answer):
    """[(numbers, label)] of every place in the answer."""
    found, _ = read_items(answer, spot_items, spot_lines)
    spots = []
    for item in found:
        for place in read_places(item.fields)[0]:
            shape = place.box or place.point
            numbers = [shape.x1, shape.y1, shape.x2, shape.y2] if isinstance(shape, Box) else [shape.x, shape.y]
            spots.append((numbers, read_label(item.fields)))
    return spots


CAT, DOG = ([1, 2, 3, 4], "cat"), ([5, 6, 7, 8], "dog")
GOOD_DOG = '{"bbox_2d": [5, 6, 7, 8], "label": "dog"}'


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, DOG]', id="sound"),
        pytest.param('```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, DOG]\n```', id="fence"),
        pytest.param('Sure!\n```\n[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, DOG]\n```\nDone.', id="prose around"),
        pytest.param('{"objects": [{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, DOG], "count": 2}', id="wrapped"),
        pytest.param('{"bbox_2d": [1, 2, 3, 4], "label": "cat"}\nDOG', id="one a line, no list"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat"} DOG]', id="no comma between items"),
        pytest.param('[{"bbox_2d": [1, 2 3, 4], "label": "cat"}, DOG]', id="no comma between numbers"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4] "label": "cat"}, DOG]', id="no comma between members"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat",}, DOG,]', id="commas too many"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4, "label": "cat"}, DOG]', id="bracket lost"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4]], "label": "cat"}, DOG]', id="bracket too many"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat", DOG]', id="brace lost"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat"\n DOG]', id="brace and comma lost"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat}, DOG]', id="closing quote lost"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": cat"}, DOG]', id="opening quote lost"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat\n}, DOG]', id="closing quote lost at a line's end"),
        pytest.param("[{'bbox_2d': [1, 2, 3, 4], 'label': 'cat'}, DOG]", id="single quotes"),
        pytest.param("[{'bbox_2d': (1, 2, 3, 4), 'label': 'cat', 'x': None}, DOG]", id="Python"),
        pytest.param("[{bbox_2d: [1, 2, 3, 4], label: cat}, DOG]", id="no quotes at all"),
        pytest.param("[{“bbox_2d”: [1, 2, 3, 4], “label”: “cat”}, DOG]", id="typographic quotes"),
        pytest.param('[{"bbox_2d"：[1，2，3，4]，"label"："cat"}, DOG]', id="full-width punctuation"),  # noqa: RUF001
        pytest.param('[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, // note\n DOG]', id="comment"),
        pytest.param('[{"bbox_2d": ["1", "2", "3", "4"], "label": "cat"}, DOG]', id="numbers as strings"),
        pytest.param('[{"bbox_2d": "1, 2, 3, 4", "label": "cat"}, DOG]', id="numbers in one string"),
        pytest.param('[{"bbox_2d": [[1, 2], [3, 4]], "label": "cat"}, DOG]', id="two corners"),
        pytest.param('[{"bbox": [1, 2, 3, 4], "description": "cat"}, DOG]', id="bbox and description"),
        pytest.param('[{"box_2d": [1, 2, 3, 4], "name": "cat"}, DOG]', id="box_2d and name"),
        pytest.param('[{"Bounding Box": [1, 2, 3, 4], "Object": "cat"}, DOG]', id="keys with capitals and blanks"),
        pytest.param('[{"label": "cat", "bbox": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}, DOG]', id="corners by name"),
        pytest.param('[{"label": "cat", "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}, DOG]', id="corners unwrapped"),
        pytest.param('[{"bbox_2d": [1, 2, 3, 4, 0.93], "label": "cat"}, DOG]', id="a score for a fifth number"),
        pytest.param('{"cat": [1, 2, 3, 4], "dog": [5, 6, 7, 8]}', id="labels as keys"),
        pytest.param("1,2,3,4 cat\n5,6,7,8 dog", id="plain lines"),
        pytest.param("1. **cat**: [1, 2, 3, 4]\n2. **dog**: [5, 6, 7, 8]", id="bullets"),
        pytest.param('"[{\\"bbox_2d\\": [1, 2, 3, 4], \\"label\\": \\"cat\\"}]" DOG', id="JSON within a JSON string"),
        pytest.param('{"bbox_2d": [1, 2, 3, 4], "label": "cat"}\n{"result": {"best": DOG}}', id="deep inside"),
        pytest.param('{see here: {"bbox_2d": [1, 2, 3, 4], "label": "cat"}, DOG', id="a stray brace before"),
        pytest.param("{it's {\"bbox_2d\": [1, 2, 3, 4], \"label\": \"cat\"}, DOG", id="a stray brace and apostrophe"),
    ],
)  # fmt: skip
def test_both_items_are_read(answer):
    assert read(answer.replace("DOG", GOOD_DOG)) == [CAT, DOG]


@pytest.mark.parametrize(
    "item",
    [
        pytest.param('{"bbox_2d": [1, 2, 3], "label": "cat"}', id="3 numbers"),
        pytest.param('{"bbox_2d": [1, 2, 3, 4, 5], "label": "cat"}', id="5 numbers"),
        pytest.param('{"bbox_2d": null, "label": "cat"}', id="null"),
        pytest.param('{"bbox_2d": [], "label": "cat"}', id="no numbers"),
        pytest.param('{"bbox_2d": [NaN, 2, 3, 4], "label": "cat"}', id="NaN"),
        pytest.param('{"bbox_2d": ["a", "b", "c", "d"], "label": "cat"}', id="letters"),
        pytest.param('{"bbox_2d": [1, 2, {"x": [}], "label": "cat"}', id="nonsense"),
        pytest.param('{"label": "cat"}', id="no box"),
        pytest.param('{"bbox_2d": [1, 2, 3, ' + "9" * 5000 + '], "label": "cat"}', id="a number of 5,000 digits"),
        pytest.param('{"bbox_2d": [1, 2, 3, 4], "label": "' + "cat " * 9000 + '"}', id="36,000 characters"),
        pytest.param('{"a":' * 400 + '1', id="nested 400 deep"),
    ],
)  # fmt: skip
def test_one_bad_item_costs_no_other(item):
    assert read(f"[{GOOD_DOG}, {item}, {GOOD_DOG}]")[0] == DOG
    assert read(f"[{GOOD_DOG}, {item}, {GOOD_DOG}]")[-1] == DOG


@pytest.mark.parametrize(
    ("rest", "cat"),
    [
        ('{"bbox_2d": [1, 2, 3, 4], "label": "cat"', CAT),
        ('{"bbox_2d": [1, 2, 3, 4], "label": "ca', ([1, 2, 3, 4], "ca")),
        ('{"bbox_2d": [1, 2, 3, 4], "lab', ([1, 2, 3, 4], None)),
        ('{"bbox_2d": [1, 2, 3, 4]', ([1, 2, 3, 4], None)),
        pytest.param('{"bbox_2d": [1, 2, 3, 4', None, id="the last number may be cut off too"),
        ('{"bbox_2d": [1, 2', None),
        ('{"bbo', None),
        ("{", None),
        ("", None),
    ],
)
def test_a_cut_off_answer_keeps_what_is_sure(rest, cat):
    assert read(f"```json\n[\n\t{GOOD_DOG},\n\t{rest}") == ([DOG, cat] if cat else [DOG])


def test_points_as_qwen_writes_them():
    answer = (
        '[{"point_2d": ["394", "105"], "label": "a"}, {"point_2d": ["243, 291"], "label": "b"}]'
        '<points x1="284" y1="305" x2="7" y2="8" alt="c">pins</points>'
    )
    assert read(answer) == [([394, 105], "a"), ([243, 291], "b"), ([284, 305], "pins"), ([7, 8], "pins")]


def test_a_second_label_is_read_without_its_trailing_blank():
    found, _ = read_items('{"bbox_2d": [1,2,3,4], "label": "rider", "sub_label": "no helmat "}', spot_items)
    assert read_label(found[0].fields, SUB_LABEL_KEYS) == "no helmat"


def test_numbers_in_a_sentence_are_no_box():
    assert read("In the years 10, 20, 30, 40 there were {3} items: it's [12].") == []


def test_an_item_says_where_it_stands_in_the_answer():
    answer = f"Here: [{GOOD_DOG}]"
    found, _ = read_items(answer, spot_items)
    assert answer[found[0].start : found[0].end] == GOOD_DOG


def test_an_item_is_delivered_with_its_last_character():
    stream = ItemStream(spot_items, spot_lines)
    assert stream.feed('[{"bbox_2d": [1, 2, 3, 4], "label": "cat"') == []
    assert [found.fields["label"] for found in stream.feed("}")] == ["cat"]


PIECES = [
    "{", "}", "[", "]", '"', "'", ",", ":", "\\", "\n", " ", "`", "```", "```json\n", '"bbox_2d": [1, 2, 3, 4]',
    "[5, 6, 7", '"label": "cat"', '{"bbox_2d": [', "1,2,3,4 cat\n", "NaN", "null", "it's", "“", "\uff1a", "\uff0c",
    "<points x1=\"1\" y1=\"2\">", "</points>",
    "{'label': 'a', 'bbox_2d': [9, 8, 7, 6]}", " " * 100, "\n" * 50, "x" * 120, "é", "😀", "9" * 30, "{" * 12,
]  # fmt: skip
MESS = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=30).map("".join)


def streamed(answer, cuts):
    stream = ItemStream(spot_items, spot_lines)
    at, found = 0, []
    for cut in [*sorted(cuts), len(answer)]:
        found += stream.feed(answer[at:cut])
        at = cut
    return found + stream.close(), stream.notices


@settings(max_examples=400, deadline=None)
@given(MESS, st.data())
def test_a_stream_reads_as_the_whole_however_it_is_cut(answer, data):
    cuts = data.draw(st.sets(st.integers(0, len(answer)), max_size=12))
    assert streamed(answer, cuts) == read_items(answer, spot_items, spot_lines)


@settings(max_examples=100, deadline=None)
@given(MESS)
def test_a_stream_of_single_characters_reads_as_the_whole(answer):
    assert streamed(answer, range(len(answer))) == read_items(answer, spot_items, spot_lines)


@settings(max_examples=300, deadline=None)
@given(MESS | st.text())
def test_no_text_makes_the_reader_raise_or_lie_about_numbers(answer):
    for item in read_items(answer, spot_items, spot_lines)[0]:
        for place in read_places(item.fields)[0]:
            assert isinstance(place.box, Box) != isinstance(place.point, Point)
        assert all(isinstance(number, float) for number in read_numbers(item.fields))


@pytest.mark.parametrize(
    "unit",
    [
        "{", "}", "{}", "{`", '{"', '"', "{'", '{"a": "lost, ', '{"a":"', "{```", '{"a":[', "\\", '{"a\\', " ",
        "\n", '{"a"\n', "1", "1,", "1,2,3,4 a\n",
        "[1,2,3,4],", "<points ",
        '<points x="1" y="2">', "a: [", "{'a': 'it's', ",
        '{"bbox_2d": [1, 2 3, 4], "label": "cat"}, ',
        '{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, ', "The quick brown fox 12. ",
        '{"a":{"b":1},"c":', '{"x":[{"x":[{"bbox":[1,2,3,4]},',
    ],
)  # fmt: skip
def test_reading_the_worst_takes_time_in_proportion_to_the_text(unit):
    def work(size):
        for item in read_items(unit * (size // len(unit)), spot_items, spot_lines)[0]:
            read_places(item.fields)

    assert in_proportion(work)
