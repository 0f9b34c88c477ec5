"""The highest rate at which a server keeps its service level: doubled until it fails, then halved between."""

from collections.abc import Awaitable, Callable

Measure = Callable[[float], Awaitable[bool]]
"""A rate, in requests a second -> whether the level was kept."""
MOST_STEPS = 24


async def highest_rate(
    measure: Measure, start: float, *, least: float = 0.01, most: float = 10_000, tolerance: float = 0.05
) -> float | None:
    """The highest rate measured that was kept, within `tolerance` of one that was not; None if even `least` was not.

    >>> import asyncio
    >>> async def measure(rate): return rate < 7.3
    >>> found = asyncio.run(highest_rate(measure, 1.0))
    >>> 6.9 < found < 7.3
    True
    """
    kept: float | None = None
    failed: float | None = None
    rate = start
    for _ in range(MOST_STEPS):
        if await measure(rate):
            kept = rate
        else:
            failed = rate
        if kept is not None and (kept >= most or (failed is not None and failed <= kept * (1 + tolerance))):
            break
        if kept is None and failed is not None and failed <= least:
            break
        if failed is None:
            rate = min(most, rate * 2)
        elif kept is None:
            rate = max(least, rate / 2)
        else:
            rate = (kept * failed) ** 0.5
    return kept
