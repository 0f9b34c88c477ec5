"""Loops are seen soon, wherever the text was cut, and what merely looks alike is left alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.tasks.repetition import RepetitionDetector, SameAgain

PHRASE = (
    "Thevtonicae pro quinquaginta marcis denariorum Aquilwgen-sium pura fide cum omnibus iuribus et attinentiis domus "
)


def looked(text, **options):
    detector = RepetitionDetector(**options)
    detector.feed(text)
    return detector.loop


@pytest.mark.parametrize(
    ("unit", "within"),
    [
        pytest.param("!", 300, id="exclamation marks of a model in float16"),
        pytest.param(PHRASE, 800, id="a phrase"),
        pytest.param("  |                 |\n", 700, id="a diagram's side"),
        pytest.param(" ", 500, id="blanks"),
        pytest.param("\n", 500, id="line ends"),
        pytest.param(" \n\n  ", 500, id="blanks and line ends"),
        pytest.param('{"bbox_2d":[1,2,3,4],"label":"cat"},', 700, id="the same item"),
        pytest.param("<td></td>", 700, id="empty cells"),
        pytest.param("好", 300, id="one Chinese character"),
        pytest.param("".join(f"word{at} " for at in range(100)), 3500, id="a round of 800 characters"),
    ],
)
def test_a_loop_is_seen_soon_and_one_round_is_kept(unit, within):
    intro = "What there is to say, before it goes wrong: "
    loop = looked(intro + (unit * within)[:within])
    assert loop is not None
    assert loop.start in range(len(intro.rstrip()) - len(unit), len(intro) + len(unit) + 1)
    assert loop.period <= len(unit)


def test_prose_that_repeats_a_sentence_under_new_times_is_a_loop_where_numbers_may_differ():
    text = "".join(
        f"0:{at:02d}-0:{at + 4:02d} The bridge is seen from below, the camera moves up.\n" for at in range(10, 24)
    )
    assert looked(text) is None
    assert looked(text, numbers_differ=True) is not None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Chapter 1 " + "." * 150 + " 12\n" + "Chapter 2 " + "." * 150 + " 40\n", id="dotted leaders"),
        pytest.param("|" + "-" * 500 + "|", id="the ruled line of a wide table"),
        pytest.param("<tr><td></td><td></td></tr>" * 15, id="a form with empty rows"),
        pytest.param("".join(f'{{"bbox_2d":[{at},2,3,4],"label":"cake"}},' for at in range(100, 160)), id="many cakes"),
        pytest.param("row row row your boat " * 3, id="a song"),
        pytest.param(" " * 300, id="an indented line"),
    ],
)
def test_what_is_merely_alike_is_no_loop(text):
    assert looked(text) is None


@settings(max_examples=200, deadline=None)
@given(st.text("ab \n1", max_size=6), st.text("ab1", min_size=1, max_size=8), st.integers(1, 400), st.data())
def test_the_pieces_make_no_difference(intro, unit, times, data):
    text = intro + unit * times
    detector, at = RepetitionDetector(), 0
    for cut in [*sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=20))), len(text)]:
        detector.feed(text[at:cut])
        at = cut
    assert detector.loop == looked(text)


def test_different_items_are_not_the_same_again():
    same = SameAgain()
    assert not any(same.add(item) for item in [("a", 1), ("a", 2), ("a", 1), ("a", 2), ("a", 1)])
