"""Qwen2.5-VL's forward pass for training: plain tensors, whole batches of equal-sized pictures or clips.

The same arithmetic as transformers and vLLM (tests/demo/test_model.py compares), arranged for a CPU: no unequal lengths
in the vision tower, every layer with full attention, and several questions about one picture in one sequence. Those
questions see the picture but not each other, so the picture is looked at once for all of them.
"""

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name

from demo.aims import CELL_AIM, GRID_AIM
from demo.shape import Shape

Weights = dict[str, torch.Tensor]
EPSILON = 1e-6


@dataclass
class Batch:
    """B sequences `prefix, visual tokens, question and answer, question and answer, ...`, each question padded."""

    patches: torch.Tensor
    """(B, T, P, 588 F): normalised patches in merge order; F frames a grid, 1 where both frames are the same."""
    grid: tuple[int, int, int]
    """T, rows and columns of patches; P = rows * columns."""
    tokens: torch.Tensor
    """(B, L) ids, the visual ones included."""
    positions: torch.Tensor
    """(3, B, L): time, row, column, as M-RoPE counts them."""
    spans: list[tuple[int, int]]
    """Where each question with its answer begins and ends, the same in all sequences; before the first comes the
    prefix with the visual tokens, which all questions see."""
    answers: torch.Tensor
    """(B, L) bool: tokens of answers, which the loss is taken on."""
    coordinates: torch.Tensor
    """(B, L): the number that a coordinate's token stands for, -1 at all other tokens."""
    aims: torch.Tensor
    """(B, L): whom the next token is about, as `demo.aims` has it."""
    owners: torch.Tensor
    """(B, N): the thing that each visual token shows, -1: none."""
    visual_at: int
    """Index of the first visual token, the same in all sequences."""


def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), EPSILON)


def linear(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    bias = weights.get(name + ".bias")
    return F.linear(x, weights[name + ".weight"].to(x.dtype), None if bias is None else bias.to(x.dtype))


def gated(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    inner = F.silu(linear(weights, name + ".gate_proj", x)) * linear(weights, name + ".up_proj", x)
    return linear(weights, name + ".down_proj", inner)


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """`x` (..., d) turned by its angles; `cos` and `sin` are (..., d/2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def vision_angles(rows: int, columns: int, head_dim: int) -> torch.Tensor:
    """(rows * columns, head_dim / 2) in merge order: half of the angles from the row, half from the column."""
    frequency = 1.0 / 10000 ** (torch.arange(0, head_dim // 2, 2) / (head_dim // 2))
    row = torch.arange(rows)[:, None].expand(rows, columns)
    column = torch.arange(columns)[None, :].expand(rows, columns)
    where = [merge_order(axis[..., None], rows, columns).reshape(-1, 1) for axis in (row, column)]
    return torch.cat([place * frequency for place in where], dim=-1)


def merge_order(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(..., rows, columns, D) to (..., rows * columns, D): each block of 2x2 patches together."""
    *lead, _, _, depth = x.shape
    blocks = x.reshape(*lead, rows // 2, 2, columns // 2, 2, depth).transpose(-4, -3)
    return blocks.reshape(*lead, rows * columns, depth)


def see(weights: Weights, shape: Shape, batch: Batch) -> torch.Tensor:
    """(B, T * P / 4, hidden): what the vision tower gives for each 28 px cell of each pair of frames."""
    size, grids, count, depth = batch.patches.shape
    embed = weights["visual.patch_embed.proj.weight"]
    embed = embed.sum(dim=2) if depth == 588 else embed  # one frame shown twice: the two kernels add up
    x = F.linear(batch.patches.view(size * grids, count, depth), embed.flatten(1).to(batch.patches.dtype))
    head = shape.vision_hidden // shape.vision_heads
    angles = vision_angles(batch.grid[1], batch.grid[2], head).to(x.device)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    for i in range(shape.vision_depth):
        block = f"visual.blocks.{i}."
        qkv = linear(weights, block + "attn.qkv", norm(x, weights[block + "norm1.weight"]))
        q, k, v = qkv.view(*x.shape[:2], 3, shape.vision_heads, head).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attention(rotated(q, cos, sin), rotated(k, cos, sin), v, causal=False)
        x = x + linear(weights, block + "attn.proj", mixed.transpose(1, 2).flatten(2))
        x = x + gated(weights, block + "mlp", norm(x, weights[block + "norm2.weight"]))
    x = norm(x, weights["visual.merger.ln_q.weight"]).view(size, grids * count // 4, -1)
    return linear(weights, "visual.merger.mlp.2", F.gelu(linear(weights, "visual.merger.mlp.0", x)))


def text_angles(shape: Shape, positions: torch.Tensor) -> torch.Tensor:
    """(B, L, head_dim / 2): the first frequencies turn with time, the next with the row, the last with the column."""
    half = shape.head_dim // 2
    frequency = 1.0 / shape.rope_theta ** (torch.arange(half, device=positions.device) / half)
    axis = torch.repeat_interleave(torch.arange(3), torch.tensor(shape.mrope_section)).to(positions.device)
    return positions.float().permute(1, 2, 0)[..., axis] * frequency


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Softmax attention, (B, H, queries, d); causal: the last query sees all keys, each one before it one less.

    Short ones are written out: on a CPU that is three times as fast as the fused kernel with a mask.
    """
    queries, keys = q.shape[2], k.shape[2]
    if q.device.type != "cpu" or (queries == keys and keys > 320):
        mask = None if queries == keys or not causal else unseen(queries, keys, q.device).logical_not()
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and mask is None)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        scores = scores.masked_fill(unseen(queries, keys, q.device), -1e4)
    return torch.softmax(scores, dim=-1) @ v


@functools.cache
def unseen(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """(queries, keys) bool: keys that come after the query."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).triu(keys - queries + 1)


def mixed_text(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, spans: list[tuple[int, int]]) -> torch.Tensor:
    """Attention in which each question sees the prefix and itself."""
    start = spans[0][0] if spans else q.shape[2]
    k_prefix, v_prefix = k[:, :, :start], v[:, :, :start]
    mixed = [attention(q[:, :, :start], k_prefix, v_prefix, causal=True)]
    for first, end in spans:
        keys = torch.cat([k_prefix, k[:, :, first:end]], dim=2)
        values = torch.cat([v_prefix, v[:, :, first:end]], dim=2)
        mixed.append(attention(q[:, :, first:end], keys, values, causal=True))
    return torch.cat(mixed, dim=2)


POINTING = (2, 3)
"""Layers whose first head is taught where to look."""
HALFWAY = 1
"""The layer after which the visual tokens' own states are taught what they show: those after it can read it there."""


@dataclass
class Thoughts:
    """What the language layers make of a batch."""

    hidden: torch.Tensor
    """(B, L, hidden): last hidden states, normalised."""
    halfway: torch.Tensor
    """(B, N, hidden): the visual tokens' states after layer HALFWAY, normalised without a weight."""
    looked: torch.Tensor
    """Mean loss of where the heads that point look; zero where nothing is pointed at."""


def pointing_loss(q: torch.Tensor, k: torch.Tensor, batch: Batch) -> list[torch.Tensor]:
    """For one head, `q` and `k` (B, L, d): how little of its attention lies on the thing that is spoken of."""
    start, losses = batch.spans[0][0], []
    count = batch.owners.shape[1]
    cells = slice(batch.visual_at, batch.visual_at + count)
    every = torch.arange(count, device=q.device)
    grids = every // (count // batch.grid[0])
    for first, end in batch.spans:
        keys = torch.cat([k[:, :start], k[:, first:end]], dim=1)
        scores = (q[:, first:end] * q.shape[-1] ** -0.5) @ keys.transpose(1, 2)
        scores = scores.masked_fill(unseen(end - first, keys.shape[1], q.device), -1e4)
        aims = batch.aims[:, first:end, None]
        on = torch.where(aims < GRID_AIM, aims == batch.owners[:, None], aims == GRID_AIM + grids)
        on |= aims == CELL_AIM + every
        told = on.any(-1) & (batch.aims[:, first:end] >= 0)
        if told.any():
            likely = torch.log_softmax(scores[told].float(), dim=-1)[:, cells]
            losses.append(-torch.logsumexp(likely.masked_fill(~on[told], -1e4), dim=-1))
    return losses


def think(weights: Weights, shape: Shape, batch: Batch, seen: torch.Tensor) -> Thoughts:
    """The language layers."""
    x = F.embedding(batch.tokens, weights["model.embed_tokens.weight"]).to(seen.dtype)
    end = batch.visual_at + seen.shape[1]
    x = torch.cat([x[:, : batch.visual_at], seen, x[:, end:]], dim=1)
    angles = text_angles(shape, batch.positions)[:, None]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    looked: list[torch.Tensor] = []
    for i in range(shape.layers):
        layer = f"model.layers.{i}."
        y = norm(x, weights[layer + "input_layernorm.weight"])
        q, k, v = (
            linear(weights, f"{layer}self_attn.{part}_proj", y).unflatten(-1, (-1, shape.head_dim)).transpose(1, 2)
            for part in "qkv"
        )
        repeat = shape.heads // shape.kv_heads
        k, v = rotated(k, cos, sin).repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        q = rotated(q, cos, sin)
        if i in POINTING and batch.spans:
            looked += pointing_loss(q[:, 0], k[:, 0], batch)
        mixed = mixed_text(q, k, v, batch.spans)
        x = x + linear(weights, layer + "self_attn.o_proj", mixed.transpose(1, 2).flatten(2))
        x = x + gated(weights, layer + "mlp", norm(x, weights[layer + "post_attention_layernorm.weight"]))
        if i == HALFWAY:
            halfway = F.rms_norm(x[:, batch.visual_at : end], (x.shape[-1],), eps=EPSILON)
    looked_loss = torch.cat(looked).mean() if looked else x.sum() * 0
    return Thoughts(norm(x, weights["model.norm.weight"]), halfway, looked_loss)


NEAR_PX = torch.arange(-4, 5)
NEARNESS = torch.softmax(-0.5 * (NEAR_PX / 1.5) ** 2, dim=0)
"""How much a coordinate a few pixels beside the right one counts as right."""


def answer_loss(
    weights: Weights, batch: Batch, hidden: torch.Tensor, number_ids: torch.Tensor, weight_of: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens, each from the token before it, times `weight_of` the token.

    A coordinate's target is spread over the numbers around it (`number_ids`: token of each number from 0 on): taken
    exactly, a pixel beside the mark would count as wrong as the other end of the picture.
    """
    told = batch.answers[:, 1:]
    if not batch.spans:
        return hidden.sum() * 0
    logits = F.linear(hidden[:, :-1][told], weights["model.embed_tokens.weight"].to(hidden.dtype))
    likely = torch.log_softmax(logits.float(), dim=-1)
    number = batch.coordinates[:, 1:][told]
    near = (number.clamp(min=0)[:, None] + NEAR_PX.to(number.device)).clamp(0, len(number_ids) - 1)
    spread = (likely.gather(1, number_ids[near]) * NEARNESS.to(number.device)).sum(1)
    exact = likely.gather(1, batch.tokens[:, 1:][told][:, None]).squeeze(1)
    told_weight = weight_of[batch.tokens[:, 1:][told]]
    return -(torch.where(number >= 0, spread, exact) * told_weight).mean()
