"""Which size the model is shown: the arithmetic of Qwen2.5-VL's own processor, so that the engine's resize changes
nothing.

Source: transformers `models/qwen2_vl/image_processing_qwen2_vl.py: smart_resize` (Apache-2.0);
`tests/engine/test_identity.py` compares the two over thousands of sizes.
"""

import math

from server.errors import LimitExceeded
from server.media.view import Size

CELL_PX = 28
"""Side of one visual token: 14 px patches merged 2x2."""
CELL_AREA = CELL_PX * CELL_PX
MAX_ASPECT_RATIO = 200
"""The processor refuses pictures that are longer than so many times their width (or the other way round)."""
MOST_STEPS = 16
"""Steps to a size that stays; limits that lie apart need at most ten or so."""
FRAMES_PER_TOKEN = 2
"""Frames that share one layer of visual tokens (temporal_patch_size)."""


def smart_resize(wh: Size, min_pixels: int, max_pixels: int) -> Size:
    """The size that Qwen2.5-VL's processor chooses for a picture of `wh`: sides are multiples of 28, area within
    limits.

    Rounds half to even, as Python does and the processor with it. A very long picture may exceed `max_pixels`, because
    no side is shorter than 28. The aspect ratio is not checked here: see `check_aspect_ratio`.

    >>> smart_resize((1920, 1080), 3136, 1003520)
    (1316, 728)
    >>> smart_resize((640, 480), 3136, 1003520)
    (644, 476)
    >>> smart_resize((42, 70), 0, 1003520)
    (56, 56)
    """
    width, height = wh
    shown_w = round(width / CELL_PX) * CELL_PX
    shown_h = round(height / CELL_PX) * CELL_PX
    if shown_w * shown_h > max_pixels:
        shrink = math.sqrt((height * width) / max_pixels)
        shown_h = max(CELL_PX, math.floor(height / shrink / CELL_PX) * CELL_PX)
        shown_w = max(CELL_PX, math.floor(width / shrink / CELL_PX) * CELL_PX)
    elif shown_w * shown_h < min_pixels:
        enlarge = math.sqrt(min_pixels / (height * width))
        shown_h = math.ceil(height * enlarge / CELL_PX) * CELL_PX
        shown_w = math.ceil(width * enlarge / CELL_PX) * CELL_PX
    return shown_w, shown_h


def shown_size(wh: Size, min_pixels: int, max_pixels: int, *, budget: int | None = None) -> Size:
    """The size that we make of a picture of `wh`: an engine with the same limits takes it and leaves it as it is.

    `smart_resize`, within `budget` where it is lower than `max_pixels`. The result is then put right where an engine
    would not leave it: pictures longer than `max_pixels` / 784 times their width, where one step overshoots
    `max_pixels`; budgets so near to `min_pixels` that rounding down undershoots it; and pictures so long that rounding
    their short side down takes them past the aspect ratio that the engine accepts. The limits must be apart by a
    factor of four or so, else no size may satisfy both.

    >>> smart_resize((5000, 50), 3136, 50176), shown_size((5000, 50), 3136, 50176)
    ((2240, 28), (1792, 28))
    >>> shown_size((1920, 1080), 100352, 602112, budget=100352)
    (448, 252)
    >>> smart_resize((29, 5800), 3136, 1003520), shown_size((29, 5800), 3136, 1003520)
    ((28, 5796), (28, 5600))
    """
    limit = max_pixels if budget is None else max(min_pixels, min(budget, max_pixels))
    size = _not_too_long(smart_resize(wh, min_pixels, limit))
    for _ in range(MOST_STEPS):
        again = _not_too_long(smart_resize(size, min_pixels, max_pixels))
        if again == size:
            break
        size = again
    return size


def _not_too_long(wh: Size) -> Size:
    longest = min(wh) * MAX_ASPECT_RATIO
    return min(wh[0], longest), min(wh[1], longest)


def check_aspect_ratio(wh: Size, *, param: str) -> None:
    """Raises LimitExceeded for a picture that the processor would refuse.

    >>> check_aspect_ratio((20000, 1), param="image")
    Traceback (most recent call last):
    server.errors.LimitExceeded: aspect ratio of image (20000x1) is 20000; the limit is 200
    """
    ratio = max(wh) / min(wh)
    if ratio > MAX_ASPECT_RATIO:
        what = f"aspect ratio of {param} ({wh[0]}x{wh[1]})"
        raise LimitExceeded(
            param, value=round(ratio, 1) if ratio % 1 else int(ratio), limit=MAX_ASPECT_RATIO, what=what
        )


def frame_size(wh: Size, frames: int, *, min_pixels: int, max_pixels: int, max_tokens: int) -> Size:
    """The size of each of `frames` frames of `wh`, small enough that the clip costs at most `max_tokens`.

    Never below `min_pixels`, under which the engine would enlarge them: then the clip costs more than `max_tokens`,
    which is the caller's to check with `clip_tokens`.

    >>> frame_size((1920, 1080), 20, min_pixels=100352, max_pixels=602112, max_tokens=8192)
    (1008, 560)
    >>> frame_size((1920, 1080), 60, min_pixels=100352, max_pixels=602112, max_tokens=8192)
    (616, 336)
    """
    layers = -(-frames // FRAMES_PER_TOKEN)
    share = max_tokens * CELL_AREA // layers
    return shown_size(wh, min_pixels, max_pixels, budget=share)


def clip_tokens(frames: int, shown_wh: Size) -> int:
    """Visual tokens of a clip; an odd last frame counts as two.

    >>> clip_tokens(5, (56, 28))
    6
    """
    return -(-frames // FRAMES_PER_TOKEN) * (shown_wh[0] * shown_wh[1] // CELL_AREA)
