"""Writes the generated sections of README.md here: the roofline beside every figure there is, and what it says of each
tier.

python -m benchmarks.roofline.report [--check]
"""

import math
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.generated import Sections, main, markdown
from benchmarks.roofline.anchors import Anchor, anchors, sources
from server.sizing.demand import Demand, find_model
from server.sizing.gpus import Tier, tiers
from server.sizing.roofline import NOW, Machine, predict
from server.sizing.solve import solve
from server.sizing.work import Request

README = Path(__file__).with_name("README.md")
GROUPS: tuple[tuple[str, Callable[[Anchor], bool]], ...] = (
    (
        "one A100, rates and latencies (constants were fitted to these)",
        lambda each: each.was_fitted and each.gpus == 1 and each.source == "redhat",
    ),
    (
        "one A6000 or H100, rates",
        lambda each: not each.was_fitted and each.gpus == 1 and each.kind == "rate" and each.source == "redhat",
    ),
    ("one A6000 or H100, latencies", lambda each: not each.was_fitted and each.kind == "latency"),
    ("72B on four cards, rates", lambda each: each.gpus > 1),
    ("8k text in, 1k out, on an A100", lambda each: each.source == "recipes"),
    ("two processor cores, fitted", lambda each: each.source == "cpu" and each.was_fitted),
    ("two processor cores, a smaller picture", lambda each: each.source == "cpu" and not each.was_fitted),
)
PHOTO = Request(picture_tokens=(1280,), text_tokens=64, answer_tokens=64, megapixels=1.0)
PAGE = Request(picture_tokens=(1280,), text_tokens=64, answer_tokens=1024, megapixels=1.0)
MODELS = {
    "8 GB": "3B-AWQ",
    "12 GB": "7B-AWQ",
    "16 GB": "7B-AWQ",
    "24 GB": "7B-AWQ",
    "48 GB": "7B",
    "80 GB": "32B-AWQ",
    "141 GB": "32B",
    "4x80 GB": "72B",
    "8xH200": "72B",
}
"""The launch profile's model of each tier."""
GPUS_OF_A_COPY = {"4x80 GB": 4, "8xH200": 2}


def factor(known: Sequence[Anchor]) -> tuple[float, float]:
    """(median, worst) factor between predicted and measured, whichever is larger over the other.

    >>> checked = [each for each in anchors() if not each.was_fitted and each.gpus == 1]
    >>> median, worst = factor(checked)
    >>> median < 1.15, worst < 1.35
    (True, True)
    """
    factors = [math.exp(abs(math.log(each.predicted() / each.measured))) for each in known]
    return statistics.median(factors), max(factors)


def errors() -> str:
    rows = [["figures", "how many", "median factor", "worst factor"]]
    for name, belongs in GROUPS:
        known = [each for each in anchors() if belongs(each)]
        median, worst = factor(known)
        rows.append([name, str(len(known)), f"{median:.2f}", f"{worst:.2f}"])
    return markdown(rows)


def figures() -> str:
    rows = [["figure", "measured", "predicted", "over measured", "fitted to it", "source"]]
    units = {"rate": "requests/s", "latency": "s a request", "first token": "s to first token", "tokens": "tokens/s"}
    for each in anchors():
        own = each.predicted()
        cells = (f"{each.measured:g} {units[each.kind]}", f"{own:.2f}", f"{own / each.measured:.2f}")
        rows.append([each.words, *cells, "yes" if each.was_fitted else "", each.source])
    notes = "".join(f"- **{name}**: {what}.\n" for name, what in sources().items())
    return markdown(rows) + "\n" + notes


def predictions() -> str:
    header = ["tier", "card", "model", "photos/s", "first token", "tokens/s alone", "tokens/s in all", "held up by"]
    rows = [header, *(_row(tier) for tier in tiers())]
    return markdown(rows)


def _row(tier: Tier) -> list[str]:
    """One tier with its launch profile's model; several copies where it has more cards than one copy takes."""
    model = find_model(MODELS[tier.name])
    gpus = GPUS_OF_A_COPY.get(tier.name, 1)
    copies = tier.gpus // gpus
    room = solve(Demand(model, tier.gpu, gpus, text_tokens=64, answer_tokens=64)).largest_concurrency
    machine = Machine(tier.gpu, gpus)
    photo, page = (predict(model, machine, request, NOW, fits=room) for request in (PHOTO, PAGE))
    in_all = copies * page.requests_per_s * PAGE.answer_tokens
    words = f"{copies} x {gpus}" if copies > 1 else str(gpus)
    return [
        tier.name,
        f"{words} x {tier.gpu.name}" if tier.gpus > 1 else tier.gpu.name,
        f"{model.short_name} {model.precision.name}",
        f"{copies * photo.requests_per_s:.1f}",
        f"{photo.first_token_s * 1000:.0f} ms",
        f"{1 / photo.token_s:.0f}",
        f"{in_all:,.0f}",
        photo.bound,
    ]


SECTIONS: Sections = {"errors": errors, "predictions": predictions, "figures": figures}

if __name__ == "__main__":
    sys.exit(main(__doc__, README, SECTIONS, "benchmarks.roofline.report"))
