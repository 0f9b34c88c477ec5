"""Whether work grows with the size of what it reads, and not with the square of it.

Two sizes are measured side by side in one run: a limit in seconds would fail on a busy machine and pass on a quick one.
"""

import gc
import time
from collections.abc import Callable

SIXTEENTH, MEGABYTE = 62_500, 1_000_000
LIMIT = 64
"""Between the 16 times that work in proportion costs and the 256 times that a square does: four times from either."""
TOO_SHORT_S = 0.003
"""Shorter than this, the clock and the caches are measured and not the work."""


def cost_s(work: Callable[[int], object], size: int) -> float:
    """CPU seconds of `work(size)`, of this thread alone and without its collections, which grow with all that the
    other tests keep.
    """
    gc.disable()
    try:
        began = time.thread_time()
        work(size)
        return time.thread_time() - began
    finally:
        gc.enable()


def in_proportion(work: Callable[[int], object]) -> bool:
    """Whether a megabyte costs about sixteen times what a sixteenth of it does."""
    return any(cost_s(work, MEGABYTE) < LIMIT * max(cost_s(work, SIXTEENTH), TOO_SHORT_S) for _ in range(3))
