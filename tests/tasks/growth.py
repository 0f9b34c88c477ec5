"""Whether work grows with the size of what it reads, and not with the square of it.

Two sizes are measured side by side in one run: a limit in seconds would fail on a busy machine and pass on a quick one.
"""

import time
from collections.abc import Callable

QUARTER, MEGABYTE = 250_000, 1_000_000
TOO_SHORT_S = 0.01
"""Shorter than this, the clock and the caches are measured and not the work."""


def cost_s(work: Callable[[int], object], size: int, times: int) -> float:
    """CPU seconds of `work(size)`, the least of so many times."""
    costs = []
    for _ in range(times):
        began = time.process_time()
        work(size)
        costs.append(time.process_time() - began)
    return min(costs)


def in_proportion(work: Callable[[int], object]) -> bool:
    """Whether a megabyte costs about four times what a quarter of it does; quadratic work costs sixteen times that.

    A first measurement that looks bad is repeated: a neighbour on the machine slows one of the two, a square both.
    """
    return any(cost_s(work, MEGABYTE, times) < 8 * max(cost_s(work, QUARTER, times), TOO_SHORT_S) for times in (1, 3))
