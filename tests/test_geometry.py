"""Whatever the model writes, a box comes back inside the picture, ordered, and where it stood in the picture shown."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.geometry import Box, Point, box_numbers, place_box, place_point, point_numbers

SIZES = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))
SHOWN = st.tuples(st.integers(1, 300), st.integers(1, 300)).map(lambda wh: (wh[0] * 28, wh[1] * 28))
ANY_NUMBER = st.floats() | st.integers(-10_000, 10_000).map(float)
BOXES = st.builds(Box, ANY_NUMBER, ANY_NUMBER, ANY_NUMBER, ANY_NUMBER)
SPACES = st.sampled_from(["pixel", "unit", "per_mille"])
LIMITS = {"unit": (1, 1), "per_mille": (1000, 1000)}


@given(BOXES, SHOWN, SIZES, SPACES)
def test_no_box_leaves_the_picture_or_is_reversed_or_empty(written, shown_wh, original_wh, space):
    box, _ = place_box(written, shown_wh, original_wh)
    if box is None:
        return
    x1, y1, x2, y2 = box_numbers(box, original_wh, space)
    width, height = LIMITS.get(space, original_wh)
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height


@given(ANY_NUMBER, ANY_NUMBER, SHOWN, SIZES, SPACES)
def test_no_point_leaves_the_picture(x, y, shown_wh, original_wh, space):
    point, _ = place_point(Point(x, y), shown_wh, original_wh)
    if point is None:
        return
    x, y = point_numbers(point, original_wh, space)
    width, height = LIMITS.get(space, (original_wh[0] - 1, original_wh[1] - 1))
    assert 0 <= x <= width
    assert 0 <= y <= height


@given(st.data(), SHOWN, SIZES)
def test_a_box_inside_keeps_its_place_within_one_pixel(data, shown_wh, original_wh):
    x1 = data.draw(st.integers(0, shown_wh[0] - 1))
    y1 = data.draw(st.integers(0, shown_wh[1] - 1))
    x2 = data.draw(st.integers(x1 + 1, shown_wh[0]))
    y2 = data.draw(st.integers(y1 + 1, shown_wh[1]))
    box, done = place_box(Box(x1, y1, x2, y2), shown_wh, original_wh)
    assert done == ()
    expected = [
        value * target / source
        for value, source, target in zip((x1, y1, x2, y2), shown_wh * 2, original_wh * 2, strict=True)
    ]
    assert all(abs(a - b) <= 1 for a, b in zip(box_numbers(box, original_wh, "pixel"), expected, strict=True))


@given(BOXES, BOXES)
def test_overlap_is_symmetric_and_a_share(one, other):
    one, other = one.clipped((1000, 1000)).ordered(), other.clipped((1000, 1000)).ordered()
    if any(map(math.isnan, (one.x1, one.y1, one.x2, one.y2, other.x1, other.y1, other.x2, other.y2))):
        return
    assert one.iou(other) == other.iou(one)
    assert 0 <= one.iou(other) <= 1


@pytest.mark.parametrize(
    ("written", "expected", "done"),
    [
        pytest.param(Box(10, 10, 10, 40), [10, 10, 11, 40], ("box_degenerate",), id="no width"),
        pytest.param(Box(0, 280, 280, 280), [0, 279, 280, 280], ("box_degenerate",), id="a line on the lower edge"),
        pytest.param(Box(-20, -20, 300, 300), [0, 0, 280, 280], ("box_clipped",), id="all around"),
        pytest.param(Box(40, 50, 20, 30), [20, 30, 40, 50], ("box_reversed",), id="reversed"),
        pytest.param(Box(280, 0, 300, 10), None, ("box_outside",), id="touches the edge from outside"),
        pytest.param(Box(1, 2, math.nan, 4), None, ("box_not_finite",), id="NaN"),
        pytest.param(Box(1, 2, 3, math.inf), None, ("box_not_finite",), id="infinite"),
        pytest.param(Box(-1e300, -1e300, 1e300, 1e300), [0, 0, 280, 280], ("box_clipped",), id="huge"),
    ],
)
def test_what_is_wrong_with_a_box_is_said(written, expected, done):
    box, codes = place_box(written, (280, 280), (280, 280))
    assert codes == done
    assert (box and box_numbers(box, (280, 280), "pixel")) == expected
