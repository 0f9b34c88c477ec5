"""The roofline beside what a tier's run measured: its error there, for each workload that has a request of one kind."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.load.inputs import Size
from benchmarks.load.tier_compare import combined
from benchmarks.roofline.anchors import Anchor
from server.errors import InvalidValue
from server.media.sizes import shown_size
from server.sizing.demand import LEAST_PIXELS, TEMPLATE_TOKENS, find_model
from server.sizing.gpus import find_gpu
from server.sizing.memory import TOKEN_PIXELS
from server.sizing.roofline import Machine, predict
from server.sizing.work import Request

MOST_PIXELS = 1_003_520
"""The server's own limit for a picture; the bare engine beside it is started with it, too."""
PAGE_WH = (1240, 1754)
TEXT_TOKENS = 64
"""Of 24 words and the template, about."""
HEADER = ["tier", "model", "workload", "figure", "measured", "predicted", "over measured"]
FIGURES = ("requests/s", "ms to first token alone", "tokens/s alone")


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """A row for each figure of ours; none where the model or the card is not one that the roofline knows."""
    found = []
    for workload, figures in compared(result).items():
        for name, (measured, predicted) in zip(FIGURES, figures, strict=True):
            cells = [f"{measured:.1f}", f"{predicted:.1f}", f"{predicted / measured:.2f}"]
            found.append([result["tier"], result["model"].rpartition("/")[2], workload, name, *cells])
    return found


def compared(result: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Workload -> (measured, predicted) of each of FIGURES."""
    gpus, suite = result["environment"]["gpus"], result.get("suite")
    if not gpus or not suite:
        return {}
    try:
        model, machine = find_model(result["model"]), machine_of(result)
    except InvalidValue:
        return {}
    ours = [point for point in combined(result["points"]) if point["way"] == "ours"]
    found = {}
    for workload, pictures in pictures_of(suite).items():
        own = {point["concurrency"]: point for point in ours if point["workload"] == workload}
        alone, many = (own[edge(own)] for edge in (min, max)) if own else ({}, {})
        if own and alone["p50_ttft_ms"] and alone["p50_tpot_ms"] and many["request_throughput"]:
            asked = request(pictures, answer_tokens(suite, workload))
            single = predict(model, machine, asked, fits=1)
            most = predict(model, machine, asked, fits=max(own))
            found[workload] = [
                (many["request_throughput"], most.requests_per_s),
                (alone["p50_ttft_ms"], single.first_token_s * 1000),
                (1000 / alone["p50_tpot_ms"], 1 / single.token_s),
            ]
    return found


def best_rate(result: Mapping[str, Any], workload: str, anchor: Anchor) -> str | None:
    """What ours did with this model on this card, in requests a second, and the tokens of one; None if it did not."""
    gpus, suite = result["environment"]["gpus"], result.get("suite")
    if not gpus or not suite:
        return None
    try:
        is_same = find_model(result["model"]) == find_model(anchor.model, anchor.precision)
        is_same = (
            is_same and find_gpu(gpus[0]["name"]).name == anchor.gpu.name and machine_of(result).gpus == anchor.gpus
        )
    except InvalidValue:
        return None
    ours = [point for point in combined(result["points"]) if point["way"] == "ours" and point["workload"] == workload]
    if not is_same or not ours:
        return None
    asked = request(pictures_of(suite)[workload], answer_tokens(suite, workload))
    tokens = f"{sum(asked.picture_tokens):,} + {asked.text_tokens} + {asked.answer_tokens}"
    return f"{max(point['request_throughput'] for point in ours):.2f} ({tokens})"


def machine_of(result: Mapping[str, Any]) -> Machine:
    """The cards of one engine. Raises InvalidValue for one that is not known."""
    used = _after(result["engine_flags"], "--tensor-parallel-size")
    environment = result["environment"]
    return Machine(find_gpu(environment["gpus"][0]["name"]), int(used or 1), cores=environment["cores"])


def pictures_of(suite: Mapping[str, Any]) -> dict[str, tuple[Size, ...]]:
    """Workload -> the pictures of one request."""
    width, height = suite["picture_wh"]
    return {"text": (), "photo": ((width, height),), "document": (PAGE_WH,)}


def answer_tokens(suite: Mapping[str, Any], workload: str) -> int:
    """As the workload asks for: a page's answer is four times as long."""
    return int(suite["max_tokens"]) * (4 if workload == "document" else 1)


def request(pictures: Sequence[Size], answer_tokens: int) -> Request:
    """As the engine is asked: pictures at the size they are shown.

    >>> request([(1280, 960)], 128).picture_tokens
    (1230,)
    """
    tokens = [width * height // TOKEN_PIXELS for width, height in (_shown(wh) for wh in pictures)]
    text = TEXT_TOKENS + TEMPLATE_TOKENS
    return Request(tuple(tokens), text, answer_tokens, sum(tokens) * TOKEN_PIXELS / 1e6)


def factors(results: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """(middle, largest) factor between predicted and measured, whichever is more over the other; None without any."""
    pairs = [pair for result in results for figures in compared(result).values() for pair in figures]
    found = sorted(math.exp(abs(math.log(predicted / measured))) for measured, predicted in pairs)
    return (found[len(found) // 2], found[-1]) if found else None


def _shown(wh: Size) -> Size:
    return shown_size(wh, LEAST_PIXELS, MOST_PIXELS)


def _after(words: Sequence[str], flag: str) -> str | None:
    return words[words.index(flag) + 1] if flag in words else None
