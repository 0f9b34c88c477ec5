"""Figures of a run, with what they are worth: a window without ramp and drain, percentiles with confidence bounds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_FOR_P99 = 662
"""Samples below which a p99 is no figure: MLPerf's early stopping at a confidence of 0.99."""
CONFIDENCE = 0.95
PERCENTILES = (50, 90, 95, 99)


def percentile(values: Sequence[float], share: float) -> float:
    """Interpolated between neighbours, as numpy and `vllm bench serve` do; nan of nothing.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.5
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def bounds(values: Sequence[float], share: float, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Between which values the true percentile lies, whatever the distribution: ranks by the binomial; None if too few.

    >>> bounds([float(value) for value in range(1, 101)], 0.5)
    (40.0, 61.0)
    >>> bounds([1.0, 2.0, 3.0], 0.99)
    """
    count = len(values)
    if count < 5:
        return None
    middle, spread = count * share, statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    reach = spread * math.sqrt(count * share * (1 - share))
    low, high = math.floor(middle - reach), math.ceil(middle + reach) + 1
    if low < 1 or high > count:
        return None
    ordered = sorted(values)
    return ordered[low - 1], ordered[high - 1]


@dataclass(frozen=True)
class Spread:
    """Mean, median, deviation and percentiles of one figure in milliseconds."""

    values: Sequence[float]

    def keys(self, name: str) -> dict[str, float | None]:
        """As `vllm bench serve` names them: mean_ttft_ms, p99_ttft_ms ... A p99 of too few samples is None."""
        values = self.values
        found: dict[str, float | None] = {
            f"mean_{name}_ms": _rounded(statistics.fmean(values)) if values else None,
            f"median_{name}_ms": _rounded(percentile(values, 0.5)),
            f"std_{name}_ms": _rounded(statistics.pstdev(values)) if values else None,
        }
        for share in PERCENTILES:
            is_known = share < 99 or len(values) >= LEAST_FOR_P99
            found[f"p{share}_{name}_ms"] = _rounded(percentile(values, share / 100)) if is_known else None
        return found

    def bounds_keys(self, name: str) -> dict[str, list[float] | None]:
        """p50_ttft_ms -> [low, high] and so on."""
        found: dict[str, list[float] | None] = {}
        for share in PERCENTILES:
            between = bounds(self.values, share / 100)
            found[f"p{share}_{name}_ms"] = [_rounded(each) or 0.0 for each in between] if between else None
        return found


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def trend(series: Sequence[tuple[float, float]]) -> float:
    """How sure it is that a series rises: the slope over its error, by least squares; 0 for too few.

    >>> trend([(at, at % 2) for at in range(40)]) < 2 < trend([(at, at + at % 3) for at in range(40)])
    True
    """
    if len(series) < 10:
        return 0.0
    times, values = [time for time, _ in series], [value for _, value in series]
    mean_time, mean_value = statistics.fmean(times), statistics.fmean(values)
    squares = sum((time - mean_time) ** 2 for time in times)
    if not squares:
        return 0.0
    slope = sum((time - mean_time) * (value - mean_value) for time, value in series) / squares
    left = sum((value - mean_value - slope * (time - mean_time)) ** 2 for time, value in series)
    error = math.sqrt(left / (len(series) - 2) / squares)
    return slope / error if error else (math.inf if slope > 0 else 0.0)
