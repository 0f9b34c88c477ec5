"""How much a machine will do: what requests cost (`work`) over what the machine has (`tiers.toml`), and shares of it
that were reached in published measurements. A prediction, never a measurement; `benchmarks/roofline` states its error.

The share of a card's arithmetic and bandwidth that vLLM reaches, and what it spends a step and a request on the
processor, are in `Reached`. Two sets are known: PUBLISHED fits the one table of published figures (vLLM 0.7.2, whose
one process did everything in turn), NOW describes vLLM 0.32 behind this gateway, whose processor works beside the card.
"""

from dataclasses import dataclass
from typing import Literal

from server.sizing.demand import Model
from server.sizing.gpus import Gpu
from server.sizing.work import Request, prefill_flops, step_bytes, step_flops, vision_flops

Bound = Literal["vision tower", "prefill", "decode", "front end", "gateway"]
LINK_SHARE = 0.5
PCIE_GBS = 32.0
"""Between cards without a link of their own."""
REDUCE_S = 15e-6
"""One all-reduce of few bytes between cards."""


@dataclass(frozen=True)
class Reached:
    """Shares of the paper figures, and seconds of processor time."""

    vision_share: float
    """Of arithmetic, in the vision tower."""
    prefill_share: float
    bandwidth_share: float
    step_s: float
    """A step's overhead, whatever it computes."""
    request_s: float
    """Front end: a request's processor time, in one process."""
    megapixel_s: float
    """Front end: more for each megapixel sent to the engine."""
    overlaps: bool
    """Whether the front end works while the card does."""
    most_at_once: int
    """Requests that decode together, at most."""
    gateway_megapixel_s: float = 0.0
    """Gateway: a core's time for each megapixel that callers send."""


PUBLISHED = Reached(0.40, 0.52, 0.75, 0.0027, 0.106, 0.145, overlaps=False, most_at_once=10)
"""Found by `benchmarks.roofline.fit` from the A100 rows of the table alone."""
NOW = Reached(0.40, 0.50, 0.80, 0.0015, 0.002, 0.034, overlaps=True, most_at_once=256, gateway_megapixel_s=0.0065)
"""Shares: between those that fit the published figures; the rest measured by `benchmarks.big_pictures` on an AMD EPYC:
0.034 s of the engine's front end for a picture of 1 megapixel, 0.078 s of the gateway for a photo of 12."""


@dataclass(frozen=True)
class Machine:
    """Cards that serve one copy of a model, and the processors before them."""

    gpu: Gpu
    gpus: int = 1
    cores: int = 8
    front_ends: int = 1
    """--api-server-count."""


@dataclass(frozen=True)
class Prediction:
    """Of one workload on one machine."""

    requests_per_s: float
    bound: Bound
    """What it is that more of would help most."""
    at_once: int
    """Requests that decode together."""
    vision_s: float
    prefill_s: float
    decode_s: float
    """Card seconds of one request: its pictures, its prompt, its share of the steps."""
    front_s: float
    """Front end's seconds of one request."""
    first_token_s: float
    """Alone on the machine."""
    token_s: float
    """Alone: between two tokens."""


def predict(model: Model, machine: Machine, request: Request, reached: Reached = NOW, *, fits: int = 256) -> Prediction:
    """The highest rate that holds, and what one request alone sees. `fits`: requests that the KV cache holds at once.

    >>> from server.sizing.demand import find_model
    >>> from server.sizing.gpus import find_gpu
    >>> photo = Request(picture_tokens=(1280,), text_tokens=64, answer_tokens=64, megapixels=1.0)
    >>> found = predict(find_model("7B"), Machine(find_gpu("H100")), photo)
    >>> round(found.requests_per_s), found.bound
    (17, 'prefill')
    """
    at_once = max(1, min(fits, reached.most_at_once))
    vision_s = sum(vision_flops(model.shape, tokens) for tokens in request.picture_tokens) / (
        _arithmetic(machine) * reached.vision_share
    )
    prefill_s = prefill_flops(model.shape, request.prompt_tokens) / (_matrices(model, machine) * reached.prefill_share)
    prefill_s += _reduce_s(model, machine, request.prompt_tokens)
    decode_s = request.answer_tokens * _step_s(model, machine, reached, request, at_once) / at_once
    front_s = reached.request_s + reached.megapixel_s * request.megapixels
    parts: dict[Bound, float] = {"vision tower": vision_s, "prefill": prefill_s, "decode": decode_s}
    card_s = sum(parts.values())
    before: dict[Bound, float] = {"front end": front_s / machine.front_ends}
    if reached.overlaps:
        before["gateway"] = reached.gateway_megapixel_s * request.megapixels / machine.cores
        slowest_s = max(card_s, *before.values())
        bound = _largest(parts) if slowest_s == card_s else _largest(before)
    else:
        slowest_s = card_s + front_s
        bound = _largest({**parts, **before})
    token_s = _step_s(model, machine, reached, request, 1)
    return Prediction(
        requests_per_s=1 / slowest_s,
        bound=bound,
        at_once=at_once,
        vision_s=vision_s,
        prefill_s=prefill_s,
        decode_s=decode_s,
        front_s=front_s,
        first_token_s=front_s + vision_s + prefill_s + token_s,
        token_s=token_s,
    )


def _largest(parts: dict[Bound, float]) -> Bound:
    return max(parts, key=lambda part: parts[part])


def _step_s(model: Model, machine: Machine, reached: Reached, request: Request, at_once: int) -> float:
    """One step that writes a token for each request that runs."""
    context = request.prompt_tokens + request.answer_tokens / 2
    read = step_bytes(model.shape, model.precision, at_once, context)
    bandwidth = (machine.gpu.bandwidth_gbs or 0) * 1e9 * machine.gpus * reached.bandwidth_share
    computed = step_flops(model.shape, at_once, context) / (_matrices(model, machine) * reached.prefill_share)
    return max(read / bandwidth, computed) + reached.step_s + _reduce_s(model, machine, at_once)


def _reduce_s(model: Model, machine: Machine, tokens: int) -> float:
    """What cards tell each other: two sums a layer."""
    if machine.gpus == 1:
        return 0.0
    sums = 2 * model.shape.layers
    link = (machine.gpu.link_gbs or PCIE_GBS) * 1e9 * LINK_SHARE
    told = 2 * tokens * model.shape.hidden * 2 * (machine.gpus - 1) / machine.gpus
    return sums * (REDUCE_S + told / link)


def _arithmetic(machine: Machine) -> float:
    return (machine.gpu.bf16_tflops or 0) * 1e12 * machine.gpus


def _matrices(model: Model, machine: Machine) -> float:
    """Of the language layers' matrices: fp8 where weights and card have it."""
    fast = machine.gpu.fp8_tflops if model.precision.name == "fp8" else None
    return (fast or machine.gpu.bf16_tflops or 0) * 1e12 * machine.gpus
