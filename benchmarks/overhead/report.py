"""Medians, ratios taken within a round, and the tables they are printed in."""

import math
from collections.abc import Iterable
from statistics import median
from typing import Any

Rounds = list[dict[str, dict[str, dict[str, float]]]]
"""rounds[i][gateway][column][figure]"""

RATIOS = (
    # what, column, figure, over, under, at most (True) or at least (False), target
    ("JSON request, ours / vllm-router", "json", "us_per_request", "ours", "vllm-router", True, 1.3),
    ("streamed chunk, ours / vllm-router", "stream", "us_per_chunk", "ours", "vllm-router", True, 1.3),
    ("1 MB picture, ours / vllm-router", "picture", "us_per_request", "ours", "vllm-router", True, None),
    ("JSON request, ours / nginx", "json", "us_per_request", "ours", "nginx", True, None),
    ("streamed chunk, ours / nginx", "stream", "us_per_chunk", "ours", "nginx", True, None),
    ("JSON request, LiteLLM / ours", "json", "us_per_request", "litellm", "ours", False, 50),
    ("streamed chunk, LiteLLM / ours", "stream", "us_per_chunk", "litellm", "ours", False, None),
)


def medians(rounds: Rounds) -> dict[str, dict[str, dict[str, float]]]:
    """The median of each figure over the rounds, and its `_low` and `_high`."""
    first = rounds[0]
    return {
        gateway: {
            column: {
                name: value
                for figure in figures
                for name, value in _spread(figure, [one[gateway][column][figure] for one in rounds])
            }
            for column, figures in columns.items()
        }
        for gateway, columns in first.items()
    }


def _spread(figure: str, values: list[float]) -> Iterable[tuple[str, float]]:
    yield figure, median(values)
    yield f"{figure}_low", min(values)
    yield f"{figure}_high", max(values)


def ratios(rounds: Rounds) -> list[dict[str, Any]]:
    """Each ratio of RATIOS whose two gateways ran: the median of the rounds' own ratios."""
    found = []
    for what, column, figure, over, under, at_most, target in RATIOS:
        if over not in rounds[0] or under not in rounds[0] or column not in rounds[0][over]:
            continue
        values = [one[over][column][figure] / one[under][column][figure] for one in rounds]
        ratio = median(values)
        met = None if target is None else (ratio <= target if at_most else ratio >= target)
        found.append(
            {
                "what": what,
                "ratio": ratio,
                "low": min(values),
                "high": max(values),
                "target": "" if target is None else f"{'at most' if at_most else 'at least'} {target}",
                "met": met,
            }
        )
    return found


def plain(value: Any) -> Any:
    """`value` for JSON: numbers to four digits, null where there was nothing to measure.

    >>> plain({"us": [88.91234, float("nan")], "name": "ours", "errors": 0})
    {'us': [88.91, None], 'name': 'ours', 'errors': 0}
    """
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.4g}")
    return value


def conditions(line: dict[str, Any]) -> str:
    """One sentence that says where, when and how the figures of `line` were taken."""
    machine = line["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in line["versions"].items() if version)
    return (
        f"{line['date']}, {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python "
        f"{machine['python']}, load average {machine['load_average'][0]:.1f} before; {versions}; `{line['command']}`"
    )


def table(result: dict[str, dict[str, dict[str, float]]]) -> str:
    """The figures in Markdown; `added` ones are over direct."""
    head = [
        "gateway",
        "JSON us/request",
        "JSON requests/s",
        "added p50 ms",
        "added p99 ms",
        "us/chunk",
        "streams served of 128",
        "added to first byte p50 ms",
        "added chunk p50 ms",
        "added chunk p99 ms",
        "1 MB picture us/request",
        "errors",
    ]
    direct = result["direct"]
    rows = [head, ["---"] * len(head)]
    for gateway, columns in result.items():
        rows.append(_row(gateway, columns, direct))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(gateway: str, columns: dict[str, dict[str, float]], direct: dict[str, dict[str, float]]) -> list[str]:
    def added(column: str, figure: str) -> str:
        if column not in columns:
            return ""
        value = columns[column][figure]
        if gateway == "direct":
            return f"({value:.3f})"
        return f"{value - direct[column][figure]:.3f}"

    def whole(column: str, figure: str) -> str:
        return f"{columns[column][figure]:,.0f}" if column in columns else ""

    def cost(column: str, figure: str) -> str:
        return "" if gateway == "direct" or column not in columns else f"{columns[column][figure]:,.1f}"

    return [
        gateway,
        cost("json", "us_per_request"),
        whole("json", "requests_per_s"),
        added("single", "p50_ms"),
        added("single", "p99_ms"),
        cost("stream", "us_per_chunk"),
        whole("stream", "served"),
        added("stream", "first_byte_p50_ms"),
        added("stream", "chunk_p50_ms"),
        added("stream", "chunk_p99_ms"),
        cost("picture", "us_per_request"),
        f"{sum(figures['errors_high'] for figures in columns.values()):.0f}",
    ]


def ratio_table(found: list[dict[str, Any]]) -> str:
    rows = [["CPU ratio", "median", "lowest and highest round", "target", "met"], ["---"] * 5]
    for ratio in found:
        met = {True: "yes", False: "no", None: ""}[ratio["met"]]
        spread = f"{ratio['low']:.2f} to {ratio['high']:.2f}"
        rows.append([ratio["what"], f"{ratio['ratio']:.2f}", spread, ratio["target"], met])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
