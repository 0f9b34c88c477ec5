"""Finds the constants PUBLISHED of `server.sizing.roofline` by the A100 rows of the published table alone.

    python -m benchmarks.roofline.fit

Coordinate descent on the mean absolute error of logarithms; deterministic, seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.roofline.anchors import Anchor, anchors
from server.sizing.roofline import PUBLISHED, Reached

STEPS = (1.3, 1.1, 1.03)
LEAST, MOST = {"vision_share": 0.1, "prefill_share": 0.1, "bandwidth_share": 0.3}, 0.95
FREE = ("vision_share", "prefill_share", "bandwidth_share", "step_s", "request_s", "megapixel_s")
AT_ONCE = (4, 5, 6, 7, 8, 10, 12, 16, 24, 32)


def main() -> None:
    known = published()
    best = fitted(known, PUBLISHED)
    print(best)
    print(f"mean error of the {len(known)} figures it was fitted to: a factor of {math.exp(error(known, best)):.3f}")


def published() -> list[Anchor]:
    """The rows that PUBLISHED is found by; a processor's own are not among them, though its figures were fitted too.

    >>> {anchor.gpu.name for anchor in published()}, len(published())
    ({'A100 80GB'}, 18)
    """
    return [anchor for anchor in anchors() if anchor.was_fitted and anchor.reached == "PUBLISHED"]


def error(known: Sequence[Anchor], reached: Reached) -> float:
    """Mean absolute error of the logarithms."""
    return sum(abs(math.log(each.predicted(reached) / each.measured)) for each in known) / len(known)


def fitted(known: Sequence[Anchor], start: Reached) -> Reached:
    best, least = start, error(known, start)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for candidate in _neighbours(best, step):
                found = error(known, candidate)
                if found < least - 1e-6:
                    best, least, improved = candidate, found, True
    return best


def _neighbours(reached: Reached, step: float) -> list[Reached]:
    found = [replace(reached, most_at_once=count) for count in AT_ONCE]
    for name in FREE:
        for factor in (step, 1 / step):
            value = getattr(reached, name) * factor
            if name not in LEAST or LEAST[name] <= value <= MOST:
                found.append(replace(reached, **{name: value}))
    return found


if __name__ == "__main__":
    main()
