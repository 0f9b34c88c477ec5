"""The flags of vLLM, and of our own server, that start what was found to fit."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.sizing.demand import LEAST_PIXELS, Demand
from server.sizing.memory import Plan
from server.sizing.solve import Fit

FRAME_LEAST_PIXELS = 100_352
FP8_IGNORE = r"re:visual\..*"
"""The vision tower's inner width (3420) is no multiple of 16, which fp8 kernels need; it stays bf16."""


@dataclass(frozen=True)
class Flag:
    """Words of a command line, and why they are there."""

    words: tuple[str, ...]
    reason: str


def memory_flags(answer: Fit) -> list[Flag]:
    """What decides memory, for whoever knows the model and the pixels already."""
    plan, demand = answer.plan, answer.demand
    flags = [
        Flag(("--gpu-memory-utilization", f"{answer.memory_used:g}"), _why_share(answer)),
        Flag(("--max-model-len", str(plan.context_tokens)), "the longest request, answer included"),
        Flag(("--max-num-seqs", str(plan.max_num_seqs)), "requests at once; more of them wait"),
        Flag(("--max-num-batched-tokens", str(plan.batched_tokens)), "the largest picture or clip goes into one step"),
    ]
    if plan.kv_bytes == 1:
        flags.append(Flag(("--kv-cache-dtype", "fp8"), "halves the KV cache; check your accuracy"))
    if not demand.gpu.has_bfloat16:
        flags.append(Flag(("--dtype", "half"), f"{demand.gpu.name} has no bfloat16"))
    return [*flags, *_precision_flags(demand), *_parallel_flags(plan)]


def _why_share(answer: Fit) -> str:
    spare = answer.demand.gpu.usable_gib * (1 - answer.memory_used)
    return f"leaves {spare:.1f} GiB for the CUDA context and surges"


def _precision_flags(demand: Demand) -> list[Flag]:
    if demand.model.precision.name != "fp8" or (demand.model.card and demand.model.card.precision == "fp8"):
        return []
    return [
        Flag(("--quantization", "fp8_per_channel"), "made from the bf16 file on loading"),
        Flag(("--quantization-config", _json({"ignore": [FP8_IGNORE]})), "the vision tower stays bf16"),
    ]


def _parallel_flags(plan: Plan) -> list[Flag]:
    if plan.gpus == 1:
        return []
    return [
        Flag(("--tensor-parallel-size", str(plan.gpus)), "the model is divided over the cards"),
        Flag(("--mm-encoder-tp-mode", "data"), "the vision tower is small: whole on each card, pictures divided"),
    ]


def vllm_command(answer: Fit) -> str:
    """A complete `vllm serve`, as pasted into a shell."""
    plan, demand = answer.plan, answer.demand
    pixels: dict[str, Any] = {
        "images_kwargs": {"size": {"shortest_edge": LEAST_PIXELS, "longest_edge": plan.image_pixels}},
        "videos_kwargs": {"size": {"shortest_edge": FRAME_LEAST_PIXELS, "longest_edge": plan.frame_pixels}},
    }
    words: Sequence[str] = (
        "vllm",
        "serve",
        demand.model.name,
        *(word for flag in memory_flags(answer) for word in flag.words),
        "--limit-mm-per-prompt",
        _json({"image": demand.pictures, "video": int(plan.takes_video)}),
        "--mm-processor-kwargs",
        _json(pixels),
    )
    return shlex.join(words)


def server_command(answer: Fit) -> str:
    """The same through `python -m server`, whose own flags hold the pixels and counts."""
    plan, demand = answer.plan, answer.demand
    engine = shlex.join([word for flag in memory_flags(answer) for word in flag.words])
    words = ["python", "-m", "server", "--model", demand.model.name, "--image-max-pixels", str(plan.image_pixels)]
    words += ["--max-images", str(max(1, demand.pictures)), "--max-videos", str(int(plan.takes_video))]
    return shlex.join([*words, "--engine-args", engine])


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
