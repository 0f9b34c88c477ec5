"""When requests are sent in an open loop: at times drawn before the run, whatever the server does."""

import random
from collections.abc import Sequence


def poisson(rate: float, seconds: float, seed: int) -> list[float]:
    """Moments of a Poisson process: independent, `rate` a second on average.

    >>> moments = poisson(100, 10, seed=1)
    >>> len(moments), moments == sorted(moments), moments == poisson(100, 10, seed=1)
    (1053, True, True)
    """
    generator, moments, now = random.Random(f"arrivals {seed}"), [], 0.0
    while (now := now + generator.expovariate(rate)) < seconds:
        moments.append(now)
    return moments


def even(rate: float, seconds: float) -> list[float]:
    """One every 1/rate seconds.

    >>> even(2, 2)
    [0.0, 0.5, 1.0, 1.5]
    """
    return [index / rate for index in range(int(rate * seconds))]


def in_window(moments: Sequence[float], start_s: float, end_s: float) -> int:
    """How many lie in a window."""
    return sum(start_s <= moment < end_s for moment in moments)
