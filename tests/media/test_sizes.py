"""The size that the model is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import LimitExceeded
from server.media.sizes import MAX_ASPECT_RATIO, check_aspect_ratio, clip_tokens, frame_size, shown_size, smart_resize

SIDES = st.integers(1, 20000)


@pytest.mark.parametrize(
    ("wh", "shown"),
    [
        ((1024, 1024), (1036, 1036)),
        ((4080, 3072), (4088, 3080)),
        ((1138, 640), (1148, 644)),
        ((640, 465), (644, 476)),
        ((1014, 1532), (1008, 1540)),
        ((7680, 4320), (4760, 2688)),
        ((26, 28), (56, 84)),
    ],
)
def test_sizes_are_those_that_qwen_publishes(wh, shown):
    assert smart_resize(wh, 3136, 12_845_056) == shown


@given(st.tuples(SIDES, SIDES), st.integers(784, 300_000), st.integers(4, 60))
def test_what_we_show_is_what_the_engine_would_show_again(wh, min_pixels, spread):
    if max(wh) / min(wh) > MAX_ASPECT_RATIO:
        return
    shown = shown_size(wh, min_pixels, min_pixels * spread)

    assert smart_resize(shown, min_pixels, min_pixels * spread) == shown
    assert max(shown) <= MAX_ASPECT_RATIO * min(shown)
    assert shown[0] % 28 == shown[1] % 28 == 0


@given(st.tuples(st.integers(50, 5000), st.integers(50, 5000)), st.integers(3136, 1003520))
def test_a_lower_budget_holds_and_stays_within_the_engines_limits(wh, budget):
    shown = shown_size(wh, 3136, 1003520, budget=budget)

    assert shown[0] * shown[1] <= max(budget, 28 * max(shown), 3136 * 2)
    assert smart_resize(shown, 3136, 1003520) == shown


@given(st.tuples(st.integers(100, 4000), st.integers(100, 4000)), st.integers(2, 120))
def test_frames_of_ordinary_shape_fit_the_token_budget(wh, frames):
    shown = frame_size(wh, frames, min_pixels=100352, max_pixels=602112, max_tokens=16384)

    assert clip_tokens(frames, shown) <= 16384
    assert smart_resize(shown, 100352, 602112) == shown


def test_a_picture_200_times_as_long_as_wide_is_taken_and_a_longer_one_is_refused_by_name():
    check_aspect_ratio((2000, 10), param="image")
    with pytest.raises(LimitExceeded) as caught:
        check_aspect_ratio((10, 2001), param="messages[0].content[1].image_url.url")

    assert caught.value.message == (
        "aspect ratio of messages[0].content[1].image_url.url (10x2001) is 200.1; the limit is 200"
    )
    assert caught.value.details == {"limit": 200, "value": 200.1}
