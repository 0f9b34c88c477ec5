"""The tensors of a Qwen2.5-VL, from the numbers of its config.json.

Source of the layout: transformers `models/qwen2_5_vl/modeling_qwen2_5_vl.py`; `benchmarks/sizing/shapes.py` builds the
four published sizes with that code and finds the same tensors, name by name.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from server.errors import InvalidValue

Part = Literal["vision", "embedding", "linear", "head", "small"]
"""Where a tensor lives: `linear` are the language layers' matrices, the only ones that a quantised file shrinks;
`small` are norms and biases."""
Split = Literal["columns", "rows", "heads", "vocabulary", "whole"]
"""How tensor parallelism divides it: by outputs, by inputs, by key-value heads, by words; `whole` is on every card."""


@dataclass(frozen=True)
class Vision:
    """The vision tower; all published sizes share it but for `intermediate` and `out`."""

    depth: int
    hidden: int
    intermediate: int
    heads: int
    out: int
    """Width of what it hands to the language model: that model's own `hidden`."""
    patch_px: int = 14
    merge: int = 2
    """Patches on a side of one visual token."""
    frames: int = 2
    """Frames in one layer of patches (temporal_patch_size)."""
    window_px: int = 112
    full_attention_blocks: int = 4

    @property
    def patches_per_token(self) -> int:
        return self.merge * self.merge

    @property
    def patch_values(self) -> int:
        """Numbers in one patch: colours x frames x pixels."""
        return 3 * self.frames * self.patch_px * self.patch_px


@dataclass(frozen=True)
class Shape:
    """What decides the size of everything."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    """Whether the words' embeddings serve as the output matrix too."""
    vision: Vision

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True)
class Tensor:
    """One tensor as the published file has it."""

    name: str
    size: tuple[int, ...]
    part: Part
    split: Split

    @property
    def numbers(self) -> int:
        return math.prod(self.size)


def tensors(shape: Shape) -> Iterator[Tensor]:
    """Every tensor of the model, as stored.

    >>> from server.sizing.cards import find_card
    >>> sum(tensor.numbers for tensor in tensors(find_card("7B").shape))
    8292166656
    """
    yield from _vision(shape.vision)
    yield Tensor("embed_tokens.weight", (shape.vocabulary, shape.hidden), "embedding", "vocabulary")
    for layer in range(shape.layers):
        yield from _layer(shape, f"layers.{layer}")
    yield Tensor("norm.weight", (shape.hidden,), "small", "whole")
    if not shape.tied:
        yield Tensor("lm_head.weight", (shape.vocabulary, shape.hidden), "head", "vocabulary")


def _layer(shape: Shape, name: str) -> Iterator[Tensor]:
    hidden, kv = shape.hidden, shape.kv_heads * shape.head_dim
    for letter, width in (("q", hidden), ("k", kv), ("v", kv)):
        split: Split = "columns" if letter == "q" else "heads"
        yield Tensor(f"{name}.self_attn.{letter}_proj.weight", (width, hidden), "linear", split)
        yield Tensor(f"{name}.self_attn.{letter}_proj.bias", (width,), "small", split)
    yield Tensor(f"{name}.self_attn.o_proj.weight", (hidden, hidden), "linear", "rows")
    for gate in ("gate", "up"):
        yield Tensor(f"{name}.mlp.{gate}_proj.weight", (shape.intermediate, hidden), "linear", "columns")
    yield Tensor(f"{name}.mlp.down_proj.weight", (hidden, shape.intermediate), "linear", "rows")
    for norm in ("input_layernorm", "post_attention_layernorm"):
        yield Tensor(f"{name}.{norm}.weight", (hidden,), "small", "whole")


def _vision(vision: Vision) -> Iterator[Tensor]:
    width = vision.hidden
    patch = (width, 3, vision.frames, vision.patch_px, vision.patch_px)
    yield Tensor("visual.patch_embed.proj.weight", patch, "vision", "whole")
    for block in range(vision.depth):
        name = f"visual.blocks.{block}"
        for norm in ("norm1", "norm2"):
            yield Tensor(f"{name}.{norm}.weight", (width,), "vision", "whole")
        yield from _with_bias(f"{name}.attn.qkv", 3 * width, width, "columns")
        yield from _with_bias(f"{name}.attn.proj", width, width, "rows")
        yield from _with_bias(f"{name}.mlp.gate_proj", vision.intermediate, width, "columns")
        yield from _with_bias(f"{name}.mlp.up_proj", vision.intermediate, width, "columns")
        yield from _with_bias(f"{name}.mlp.down_proj", width, vision.intermediate, "rows")
    merged = width * vision.patches_per_token
    yield Tensor("visual.merger.ln_q.weight", (width,), "vision", "whole")
    yield from _with_bias("visual.merger.mlp.0", merged, merged, "columns")
    yield from _with_bias("visual.merger.mlp.2", vision.out, merged, "rows")


def _with_bias(name: str, outputs: int, inputs: int, split: Split) -> Iterator[Tensor]:
    yield Tensor(f"{name}.weight", (outputs, inputs), "vision", split)
    # The bias of a matrix divided by inputs is added once, after the sum: it is whole on every card.
    yield Tensor(f"{name}.bias", (outputs,), "vision", "whole" if split == "rows" else split)


def read_shape(config: Mapping[str, Any]) -> Shape:
    """From a config.json, as published or as newer transformers write it (`text_config`).

    Raises InvalidValue for another family, or naming the number that is missing.

    >>> read_shape({"model_type": "llama"})
    Traceback (most recent call last):
    server.errors.InvalidValue: model_type is 'llama'; sizing knows qwen2_5_vl
    """
    kind = config.get("model_type")
    if kind != "qwen2_5_vl":
        raise InvalidValue(f"model_type is {kind!r}; sizing knows qwen2_5_vl", param="model")
    text = {**config, **(config.get("text_config") or {})}
    seen = config.get("vision_config") or {}
    try:
        return Shape(
            layers=text["num_hidden_layers"],
            hidden=text["hidden_size"],
            intermediate=text["intermediate_size"],
            heads=text["num_attention_heads"],
            kv_heads=text["num_key_value_heads"],
            vocabulary=text["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
            vision=Vision(
                depth=seen["depth"],
                hidden=seen["hidden_size"],
                intermediate=seen["intermediate_size"],
                heads=seen["num_heads"],
                out=seen["out_hidden_size"],
                patch_px=seen.get("patch_size", 14),
                merge=seen.get("spatial_merge_size", 2),
                frames=seen.get("temporal_patch_size", 2),
                window_px=seen.get("window_size", 112),
                full_attention_blocks=len(seen.get("fullatt_block_indexes", (7, 15, 23, 31))),
            ),
        )
    except KeyError as exc:
        raise InvalidValue(f"config.json has no {exc.args[0]}", param="model") from exc
