"""What one card's memory goes to when vLLM serves: each term with the formula that it comes from.

Sources: vLLM 0.32 `v1/worker/gpu_worker.py: determine_available_memory`, `gpu_model_runner.py: profile_run`,
`multimodal/encoder_budget.py`, `models/qwen2_5_vl.py`. Weights and KV cache are exact; work space is read from the code
and traced (`benchmarks/sizing/traced.py`); CUDA graphs and what lies outside PyTorch are the least certain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from server.sizing.shapes import Shape
from server.sizing.weights import BF16_BYTES, Precision, Weights, weights

GIB = 1024**3
MIB = 1024**2
TOKEN_PIXELS = 784
"""Pixels of one visual token: 28 x 28."""
KV_BLOCK_TOKENS = 16
"""vLLM's block on CUDA; 128 on a CPU."""
PROFILED_FRAMES = 14
"""Frames of the largest video that vLLM tries out at the start (qwen2_vl.py: _MAX_FRAMES_PER_VIDEO)."""
LONGEST_POSITION = 128_000
POSITION_FACTOR = 4
"""vLLM keeps rotary tables for so many times the longest position (rotary_embedding/mrope.py)."""
SAMPLER_BYTES = 16
"""A word and request at work in the sampler: bfloat16 logits, float32 logits, probabilities, noise, rounded up.
vLLM 0.7 sorted all words and needed 39 (its logged 1.26 and 1.42 GiB for 256 requests)."""
FIRST_GRAPH_GIB = 0.25
GRAPH_MIB_PER_LAYER = 0.3
"""Uncertain: public logs of vLLM 0.19 to 0.27 give 0.7 to 1.6 GiB for 86 graphs of models of 32 to 64 layers."""
OUTSIDE_GIB = 0.1
OUTSIDE_SEVERAL_GIB = 0.4
"""Not PyTorch's: kernels' workspaces; with several cards NCCL's buffers (0.30 to 0.43 GiB in public logs)."""
CONTEXT_GIB = 0.6
"""The CUDA context, which lies outside the share that vLLM is given."""
ROUNDED_FROM, ROUNDED_TO, SPLIT_ABOVE = 10 * MIB, 2 * MIB, MIB
"""PyTorch's CUDA allocator (c10/cuda/CUDACachingAllocator: kMinLargeAlloc, kRoundLarge, kSmallSize)."""

Kind = Literal["weights", "tables", "buffers", "work", "graphs", "outside"]


@dataclass(frozen=True)
class Plan:
    """How the engine is started; every field is a flag or follows from one."""

    context_tokens: int
    max_num_seqs: int
    batched_tokens: int
    """--max-num-batched-tokens: also the encoder cache, hence the largest picture or clip."""
    image_pixels: int
    frame_pixels: int
    gpus: int = 1
    whole_vision: bool = True
    kv_bytes: int = 2
    """1: --kv-cache-dtype fp8."""
    takes_video: bool = True


@dataclass(frozen=True)
class Term:
    """One part of a card's memory."""

    kind: Kind
    bytes: float
    formula: str
    certainty: Literal["exact", "read in the code", "estimate"]


def kv_bytes_per_token(shape: Shape, plan: Plan) -> int:
    """On one card: keys and values x layers x key-value heads on this card x their width x bytes.

    >>> from server.sizing.cards import find_card
    >>> plan = Plan(8192, 8, 8192, 1003520, 602112)
    >>> [kv_bytes_per_token(find_card(size).shape, plan) for size in ("3B", "7B", "32B", "72B")]
    [36864, 57344, 262144, 327680]
    """
    heads = max(1, shape.kv_heads // plan.gpus)
    return 2 * shape.layers * heads * shape.head_dim * plan.kv_bytes


def pool_tokens(free_bytes: float, bytes_per_token: int, block_tokens: int = KV_BLOCK_TOKENS) -> int:
    """Tokens that the KV cache holds: whole blocks.

    1 GiB for the 3B on a CPU, as vLLM itself reports it:

    >>> pool_tokens(GIB, 36864, block_tokens=128)
    29056
    """
    return max(0, int(free_bytes // (block_tokens * bytes_per_token))) * block_tokens


def terms(shape: Shape, precision: Precision, plan: Plan) -> list[Term]:
    """All but the KV cache, on one card, as vLLM counts it before it gives the rest to the KV cache."""
    held = weights(shape, precision, plan.gpus, whole_vision=plan.whole_vision)
    profiled = profiled_tokens(plan)
    return [
        Term("weights", held.total, _weights_formula(held, precision), "exact"),
        Term("tables", tables_bytes(shape, precision, plan), _tables_formula(shape), "exact"),
        Term(
            "buffers",
            plan.batched_tokens * shape.hidden * BF16_BYTES,
            f"{plan.batched_tokens:,} tokens x {shape.hidden:,} wide x 2 bytes: the inputs of one step",
            "read in the code",
        ),
        work_term(shape, plan, profiled),
        Term("graphs", graphs_bytes(shape, plan), _graphs_formula(shape, plan), "estimate"),
        Term(
            "outside",
            (OUTSIDE_GIB if plan.gpus == 1 else OUTSIDE_SEVERAL_GIB) * GIB,
            "kernels' workspaces" if plan.gpus == 1 else "kernels' workspaces and NCCL's buffers",
            "estimate",
        ),
    ]


# -- work space ------------------------------------------------------------------------------------------------------


def work_term(shape: Shape, plan: Plan, visual_tokens: int) -> Term:
    """The largest of three moments, which do not coincide: seeing, reading a full batch, choosing words. In the
    last two what was seen is kept in the encoder cache."""
    embedded = visual_tokens * shape.hidden * BF16_BYTES
    cached = f"{embedded / GIB:.2f} GiB of encoder cache"
    moments = {
        f"vision tower at work on {visual_tokens:,} visual tokens": vision_bytes(shape, plan, visual_tokens),
        f"language layers at work on {plan.batched_tokens:,} tokens; {cached}": embedded + language_bytes(shape, plan),
        f"choosing words for {plan.max_num_seqs:,} requests; {cached}": embedded + sampler_bytes(shape, plan),
    }
    formula, most = max(moments.items(), key=lambda moment: moment[1])
    return Term("work", most, formula, "read in the code")


def vision_bytes(shape: Shape, plan: Plan, visual_tokens: int) -> float:
    """At the peak of one block: everything that is alive, with flash attention (no matrix of scores).

    In attention eleven widths (its input and normed input, queries-keys-values, the turned queries and keys twice,
    the mix, its projection); in the feed-forward part three widths and three inner widths. Measured on vLLM's own code
    by `benchmarks/sizing/traced.py`.
    """
    vision = shape.vision
    split = 1 if plan.whole_vision else plan.gpus
    attention = 3 * vision.hidden + 8 * vision.hidden / split
    feed_forward = 3 * vision.hidden + 3 * vision.intermediate / split
    rotary = 2 * vision.hidden // vision.heads // 2
    numbers = max(attention, feed_forward) + vision.patch_values + rotary
    patches = float(visual_tokens * vision.patches_per_token)
    if plan.whole_vision and plan.gpus > 1:  # whole pictures are dealt out to the cards
        patches = max(patches / plan.gpus, largest_item(plan) * vision.patches_per_token)
    return patches * numbers * BF16_BYTES


def language_bytes(shape: Shape, plan: Plan) -> float:
    """One full batch in the feed-forward part of a layer: gate and up, their product, and three hidden states."""
    return plan.batched_tokens * (3 * shape.intermediate / plan.gpus + 3 * shape.hidden) * BF16_BYTES


def sampler_bytes(shape: Shape, plan: Plan) -> float:
    return plan.max_num_seqs * shape.vocabulary * SAMPLER_BYTES + plan.batched_tokens * shape.hidden * BF16_BYTES


def image_tokens(plan: Plan) -> int:
    """Visual tokens of the largest picture."""
    return max(1, plan.image_pixels // TOKEN_PIXELS)


def profiled_video_tokens(plan: Plan) -> int:
    """Visual tokens of the video that vLLM tries out at the start.

    >>> profiled_video_tokens(Plan(32768, 8, 8192, 1003520, 602112)), profiled_video_tokens(
    ...     Plan(32768, 8, 8192, 12845056, 12845056))
    (5040, 32768)
    """
    if not plan.takes_video:
        return 0
    high, wide = _nearest_to_square(image_tokens(plan))
    most = max(1, plan.frame_pixels // TOKEN_PIXELS)
    if high * wide > most:
        shrink = math.sqrt(high * wide / most)
        high, wide = max(1, int(high / shrink)), max(1, int(wide / shrink))
    pairs = min(PROFILED_FRAMES // 2, max(1, plan.context_tokens // (high * wide)))
    return pairs * high * wide


def largest_item(plan: Plan) -> int:
    """Visual tokens of the largest picture or clip that vLLM tries out."""
    return max(image_tokens(plan), profiled_video_tokens(plan))


def encoder_budget(plan: Plan) -> int:
    """Visual tokens that one step may compute, and that the encoder cache holds."""
    return max(plan.batched_tokens, largest_item(plan))


def profiled_tokens(plan: Plan) -> int:
    """Visual tokens of vLLM's trial run: as many of its largest items as the budget holds."""
    item = largest_item(plan)
    return max(1, encoder_budget(plan) // item) * item


def _nearest_to_square(cells: int) -> tuple[int, int]:
    """Sides of vLLM's largest picture: `cells` in all or a little less, not longer than 200 to 1."""
    for count in range(cells, 0, -1):
        side = next(side for side in range(math.isqrt(count), 0, -1) if count % side == 0)
        if count // side <= 200 * side:
            return side, count // side
    return 1, 1


# -- tables, rounding, graphs ----------------------------------------------------------------------------------------


def tables_bytes(shape: Shape, precision: Precision, plan: Plan) -> float:
    """Rotary tables, and what PyTorch's allocator rounds large tensors up by."""
    rotary = POSITION_FACTOR * LONGEST_POSITION * shape.head_dim * BF16_BYTES
    return rotary + sum(_rounding(size) * count for size, count in _loaded(shape, precision, plan))


def _loaded(shape: Shape, precision: Precision, plan: Plan) -> Sequence[tuple[float, int]]:
    """(bytes, how many) of the large tensors as vLLM holds them: queries-keys-values and gate-up are one each."""
    gpus, hidden = plan.gpus, shape.hidden
    kv = max(1, shape.kv_heads // gpus) * shape.head_dim
    inner = shape.intermediate // gpus
    matrices = ((hidden // gpus + 2 * kv, hidden), (hidden, hidden // gpus), (2 * inner, hidden), (hidden, inner))
    words = -(-shape.vocabulary // 64) * 64 // gpus * hidden * BF16_BYTES
    found = [(outputs * inputs * precision.bits / 8, shape.layers) for outputs, inputs in matrices]
    return [*found, (words, 1 if shape.tied else 2)]


def _rounding(size: float) -> float:
    """Bytes lost by one tensor: those from 10 MiB up get whole multiples of 2 MiB, a rest above 1 MiB is used again.

    >>> [_rounding(mib * MIB) / MIB for mib in (9.5, 31.5, 24.5)]
    [0.0, 0.5, 0.0]
    """
    rest = math.ceil(size / ROUNDED_TO) * ROUNDED_TO - size
    return rest if size >= ROUNDED_FROM and rest <= SPLIT_ABOVE else 0.0


def graph_count(plan: Plan) -> int:
    """CUDA graphs that vLLM captures by default: for mixed steps and, for each size up to max_num_seqs, for decoding.

    >>> [graph_count(Plan(8192, seqs, 8192, 1003520, 602112)) for seqs in (8, 64, 256)]
    [9, 30, 86]
    """
    most = min(2 * plan.max_num_seqs, 512)
    sizes = [size for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= most]
    decoding = [size for size in sizes if size <= plan.max_num_seqs]
    return len(sizes) + len(decoding)


def graphs_bytes(shape: Shape, plan: Plan) -> float:
    return FIRST_GRAPH_GIB * GIB + graph_count(plan) * shape.layers * GRAPH_MIB_PER_LAYER * MIB


def _graphs_formula(shape: Shape, plan: Plan) -> str:
    return f"{FIRST_GRAPH_GIB:g} GiB + {graph_count(plan)} graphs x {shape.layers} layers x {GRAPH_MIB_PER_LAYER:g} MiB"


def _weights_formula(held: Weights, precision: Precision) -> str:
    return (
        f"tensor by tensor: language layers {held.language / GIB:.2f} ({precision.name}), "
        f"words {held.words / GIB:.2f}, vision tower {held.vision / GIB:.2f} GiB"
    )


def _tables_formula(shape: Shape) -> str:
    return (
        f"rotary tables {POSITION_FACTOR} x {LONGEST_POSITION:,} x {shape.head_dim} x 2 bytes, "
        "and large tensors rounded up to 2 MiB"
    )
