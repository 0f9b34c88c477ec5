"""Ours beside the bare engine: rounds summed up, and where a difference comes from, stage by stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.generated import markdown

Point = Mapping[str, Any]
WAYS = ("ours", "bare engine")
PARTS = ("gateway", "engine")
FIGURES = ("request_throughput", "output_throughput", "p50_ttft_ms", "p95_ttft_ms", "p50_tpot_ms", "p50_e2el_ms")
LEAST_RATIO, MOST_LATER_MS = 0.98, 2.0
"""Aims on a machine with a GPU: of the bare engine's throughput, and of the first token's delay."""


@dataclass(frozen=True)
class Beside:
    """Ours beside the bare engine, of one workload at its highest concurrency."""

    workload: str
    concurrency: int
    ratio: float
    """Ours' throughput over the bare engine's, the median of the rounds."""
    later_ms: float
    """Ours' median time to first token less the bare engine's."""

    @property
    def meets_aims(self) -> bool:
        """
        >>> Beside("photo", 64, 0.985, 1.5).meets_aims, Beside("photo", 64, 1.02, 2.5).meets_aims
        (True, False)
        """
        return self.ratio >= LEAST_RATIO and self.later_ms <= MOST_LATER_MS


def beside(points: Sequence[Point]) -> list[Beside]:
    """A line for each workload; none for one that was never answered."""
    found = []
    for (workload,), own in _grouped(points, "workload").items():
        most = max(point["concurrency"] for point in own)
        there = [point for point in own if point["concurrency"] == most]
        firsts = {point["way"]: point["p50_ttft_ms"] for point in combined(there)}
        told = ratios(there)
        if told and None not in firsts.values():
            found.append(Beside(workload, most, median(told), firsts["ours"] - firsts["bare engine"]))
    return found


def combined(points: Sequence[Point]) -> list[dict[str, Any]]:
    """The median of the rounds, for each workload, concurrency and way; failed requests are added up."""
    return [_median(rounds) for rounds in _grouped(points, "workload", "concurrency", "way").values()]


def differences(points: Sequence[Point]) -> str:
    """Ours over bare for each workload at its highest concurrency, and a table of the stages of both."""
    parts = []
    for (workload,), own in _grouped(points, "workload").items():
        most = max(point["concurrency"] for point in own)
        parts.append(_difference(workload, most, [point for point in own if point["concurrency"] == most]))
    return "".join(parts)


def ratios(points: Sequence[Point]) -> list[float]:
    """Ours' throughput over the bare engine's, round by round.

    >>> one = {"round": 0, "way": "ours", "request_throughput": 3}
    >>> ratios([one, {"round": 0, "way": "bare engine", "request_throughput": 4}])
    [0.75]
    """
    by_round = _grouped(points, "round")
    rates = [{point["way"]: point["request_throughput"] for point in own} for own in by_round.values()]
    return [rate["ours"] / rate["bare engine"] for rate in rates if rate["bare engine"]]


def _difference(workload: str, most: int, points: Sequence[Point]) -> str:
    sides = {point["way"]: point for point in combined(points)}
    ours, bare = (sides[way] for way in WAYS)
    told = sorted(ratios(points))
    ratio = f"{median(told):.2f} of the bare engine's ({told[0]:.2f} to {told[-1]:.2f})" if told else "not measured"
    firsts = (ours["p50_ttft_ms"], bare["p50_ttft_ms"])
    first = "not measured" if None in firsts else f"{firsts[0] - firsts[1]:+.1f} ms at the median"
    spent = ", ".join(f"{ours[f'{part}_cpu_ms'] - bare[f'{part}_cpu_ms']:+.1f} ms in the {part}" for part in PARTS)
    return (
        f"\n**{workload}, {most} at once**: throughput {ratio}; first token {first}; "
        f"CPU a request {spent}.{_explained(points)}\n\n{markdown(_stages(points))}"
    )


def _explained(points: Sequence[Point]) -> str:
    """Where the first token's time goes: in the engine as it says itself, in the gateway's media, in all the rest."""
    told = {way: [point for point in points if point["way"] == way] for way in WAYS}
    whole = [_number(own, "mean_ttft_ms") for own in told.values()]
    engine = [_mean_ms(own, "server_stages", "engine to first token") for own in told.values()]
    if None in (*whole, *engine):
        return ""
    media = _mean_ms(told["ours"], "server_stages", "gateway media") or 0.0
    rest = [each - within for each, within in zip(whole, engine, strict=True)]
    rest[0] -= media
    decode = [_mean_ms(own, "server_stages", "engine decode") or 0.0 for own in told.values()]
    return (
        f" The first token's {whole[0]:.1f} against {whole[1]:.1f} ms, means: in the engine {_both(engine)}; fetching, "
        f"decoding and scaling pictures in the gateway {media:.1f}; the rest, which is sockets, JSON and waiting for a "
        f"processor, {_both(rest)}. The answer after it, in the engine: {_both(decode)}."
    )


def _both(pair: Sequence[float]) -> str:
    """
    >>> _both([3.0, 4.5])
    '3.0 against 4.5 (-1.5)'
    """
    return f"{pair[0]:.1f} against {pair[1]:.1f} ({pair[0] - pair[1]:+.1f})"


def _stages(points: Sequence[Point]) -> list[list[str]]:
    """Mean milliseconds of each stage; the engine's own are told by its metrics both times."""
    told = {way: [point for point in points if point["way"] == way] for way in WAYS}
    names = dict.fromkeys(name for point in points for name in point["server_stages"])
    server = [(name, "server_stages", name) for name in names]
    client = [
        (f"client: {name.removesuffix('_ms')}", "client_stages_ms", name) for name in points[0]["client_stages_ms"]
    ]
    rows = [
        _stage(shown, [_mean_ms(own, where, name) for own in told.values()]) for shown, where, name in server + client
    ]
    return [["stage, mean ms", *WAYS, "difference"], *rows]


def _stage(shown: str, pair: Sequence[float | None]) -> list[str]:
    ours, bare = pair
    difference = f"{ours - bare:+.2f}" if ours is not None and bare is not None else "-"
    return [shown, *("-" if each is None else f"{each:.2f}" for each in pair), difference]


def _mean_ms(points: Sequence[Point], where: str, name: str) -> float | None:
    """Of a stage, over the rounds."""
    found = [point[where][name] for point in points if point[where].get(name) is not None]
    values = [value["mean_ms"] if isinstance(value, dict) else value for value in found]
    return sum(values) / len(values) if values else None


def _number(points: Sequence[Point], key: str) -> float | None:
    values = [point[key] for point in points if point.get(key) is not None]
    return sum(values) / len(values) if values else None


def _median(rounds: Sequence[Point]) -> dict[str, Any]:
    first = rounds[0]
    found: dict[str, Any] = {key: first[key] for key in ("workload", "concurrency", "way")}
    for key in FIGURES:
        values = [point[key] for point in rounds if point[key] is not None]
        found[key] = median(values) if values else None
    for part in PARTS:
        found[f"{part}_cpu_ms"] = 1000 * median(point["cpu_s_per_request"][part] for point in rounds)
    found["failed"] = sum(point["failed"] for point in rounds)
    found["client_was_the_limit"] = sum(point["client"]["was_the_limit"] for point in rounds)
    return found | {"rounds": len(rounds)}


def _grouped(points: Sequence[Point], *keys: str) -> dict[tuple[Any, ...], list[Point]]:
    found: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        found.setdefault(tuple(point[key] for key in keys), []).append(point)
    return found
