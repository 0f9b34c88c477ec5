"""Sizes to check against the engine: random ones from a seed, and what they must cost in tokens."""

import random

from server.media.sizes import CELL_AREA, MAX_ASPECT_RATIO, shown_size
from server.media.view import Size

Case = tuple[int, int, int, int]
"""(width, height, min_pixels, max_pixels)."""

LONGEST_SIDE = 8192
BUDGETS = ((3136, 1003520), (3136, 200704), (3136, 12_845_056), (3136, 401408), (50176, 802816), (100352, 602112))
ALWAYS = ((1, 1), (1, 200), (13, 14), (28, 28), (29, 5800), (42, 70), (644, 476), (1920, 1080), (3024, 4032), (200, 1))


def random_cases(count: int, seed: int = 0) -> list[Case]:
    """Any size, shape and budget that the processor takes; sides are spread evenly over orders of magnitude."""
    rng = random.Random(seed)
    cases = [(*wh, *BUDGETS[0]) for wh in ALWAYS]
    while len(cases) < count:
        width, height = (round(2 ** rng.uniform(0, 13)) for _ in range(2))
        if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
            continue
        low, high = rng.choice(BUDGETS)
        if rng.random() < 0.5:
            low = rng.randrange(784, 120_000)
            high = low * rng.randrange(4, 40)
        cases.append((width, height, low, high))
    return cases


def token_cases(count: int, min_pixels: int, max_pixels: int, seed: int = 0) -> list[tuple[Size, int]]:
    """(size, visual tokens that a picture of it must cost) for an engine with these limits; sides up to 2048.

    >>> token_cases(3, 3136, 1003520)[0]
    ((640, 480), 391)
    """
    rng = random.Random(seed)
    sizes = [(640, 480), (28, 28), (100, 1900)]
    while len(sizes) < count:
        size = (rng.randrange(1, 2048), rng.randrange(1, 2048))
        if max(size) / min(size) <= MAX_ASPECT_RATIO:
            sizes.append(size)
    shown = ((size, shown_size(size, min_pixels, max_pixels)) for size in sizes[:count])
    return [(size, width * height // CELL_AREA) for size, (width, height) in shown]
