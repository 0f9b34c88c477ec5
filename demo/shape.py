"""The tiny model's shape: every size that config.json, the weights and the training agree on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PATCH_PX = 14
CELL_PX = 28
"""Side of one visual token: patches are merged two by two."""
FRAMES_PER_GRID = 2
TOKENS_PER_SECOND = 1
"""Positions that a second of a clip takes; 2 in the published models, which see clips of hours."""

# Small enough for a CPU to see quickly. A gateway in front of this model must show pictures and frames within these.
IMAGE_PIXELS = (3136, 224 * 224)
"""Smallest and largest picture, in pixels: 4 to 64 visual tokens."""
VIDEO_PIXELS = (3136, 84 * 84)
"""Smallest and largest frame, in pixels: 4 to 9 visual tokens a pair of frames."""
CONTEXT_TOKENS = 16384

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation, which Qwen2.5-VL's processor applies."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2.5-VL; the defaults are the demo checkpoint's."""

    vocabulary: int
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 3
    intermediate: int = 512
    rope_theta: float = 30.0
    """Low, because positions here are rows and columns below 20: the published 1e6 would leave the width axis, which
    gets the slowest frequencies, next to constant."""
    mrope_section: tuple[int, int, int] = (8, 4, 4)
    """Most for time, which has up to 64 places; rows and columns have at most 20."""
    vision_hidden: int = 160
    vision_depth: int = 3
    vision_heads: int = 5
    vision_intermediate: int = 320

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def parameters(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and size of every weight, under the names that published checkpoints use.

    >>> import math
    >>> sum(math.prod(size) for _, size in parameters(Shape(2792))) < 8_000_000
    True
    """
    h, v = shape.hidden, shape.vision_hidden
    kv, inner, vision_inner = shape.kv_heads * shape.head_dim, shape.intermediate, shape.vision_intermediate
    merged = 4 * v
    yield "visual.patch_embed.proj.weight", (v, 3, FRAMES_PER_GRID, PATCH_PX, PATCH_PX)
    for i in range(shape.vision_depth):
        block = f"visual.blocks.{i}."
        yield block + "norm1.weight", (v,)
        yield block + "norm2.weight", (v,)
        yield from linear(block + "attn.qkv", 3 * v, v)
        yield from linear(block + "attn.proj", v, v)
        yield from linear(block + "mlp.gate_proj", vision_inner, v)
        yield from linear(block + "mlp.up_proj", vision_inner, v)
        yield from linear(block + "mlp.down_proj", v, vision_inner)
    yield "visual.merger.ln_q.weight", (v,)
    yield from linear("visual.merger.mlp.0", merged, merged)
    yield from linear("visual.merger.mlp.2", h, merged)
    yield "model.embed_tokens.weight", (shape.vocabulary, h)
    for i in range(shape.layers):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (h,)
        yield layer + "post_attention_layernorm.weight", (h,)
        yield from linear(layer + "self_attn.q_proj", h, h)
        yield from linear(layer + "self_attn.k_proj", kv, h)
        yield from linear(layer + "self_attn.v_proj", kv, h)
        yield layer + "self_attn.o_proj.weight", (h, h)
        yield layer + "mlp.gate_proj.weight", (inner, h)
        yield layer + "mlp.up_proj.weight", (inner, h)
        yield layer + "mlp.down_proj.weight", (h, inner)
    yield "model.norm.weight", (h,)


def linear(name: str, out: int, into: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(name + ".weight", (out, into)), (name + ".bias", (out,))]


def model_config(shape: Shape, token_ids: dict[str, int]) -> dict[str, Any]:
    """What goes into config.json."""
    text = {
        "model_type": "qwen2_5_vl_text",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT_TOKENS,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": shape.rope_theta,
            "mrope_section": list(shape.mrope_section),
        },
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "bos_token_id": token_ids["<|endoftext|>"],
        "eos_token_id": token_ids["<|im_end|>"],
        "dtype": "bfloat16",
    }
    vision = {
        "model_type": "qwen2_5_vl_vision",
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_intermediate,
        "num_heads": shape.vision_heads,
        "in_channels": 3,
        "hidden_act": "silu",
        "patch_size": PATCH_PX,
        "spatial_patch_size": PATCH_PX,
        "spatial_merge_size": 2,
        "temporal_patch_size": FRAMES_PER_GRID,
        "tokens_per_second": TOKENS_PER_SECOND,
        "window_size": 112,
        # Every layer sees the whole picture: it is small, and equal-sized pictures then train as plain batches.
        "fullatt_block_indexes": list(range(shape.vision_depth)),
        "out_hidden_size": shape.hidden,
    }
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "image_token_id": token_ids["<|image_pad|>"],
        "video_token_id": token_ids["<|video_pad|>"],
        "vision_start_token_id": token_ids["<|vision_start|>"],
        "vision_end_token_id": token_ids["<|vision_end|>"],
        "text_config": text,
        "vision_config": vision,
    }


def processor_configs() -> dict[str, dict[str, Any]]:
    """preprocessor_config.json and video_preprocessor_config.json."""

    def limits(pixels: tuple[int, int]) -> dict[str, Any]:
        return {
            "size": {"shortest_edge": pixels[0], "longest_edge": pixels[1]},
            "min_pixels": pixels[0],
            "max_pixels": pixels[1],
            "patch_size": PATCH_PX,
            "temporal_patch_size": FRAMES_PER_GRID,
            "merge_size": 2,
            "image_mean": list(MEAN),
            "image_std": list(STD),
            "processor_class": "Qwen2_5_VLProcessor",
        }

    return {
        "preprocessor_config.json": limits(IMAGE_PIXELS) | {"image_processor_type": "Qwen2VLImageProcessor"},
        "video_preprocessor_config.json": limits(VIDEO_PIXELS)
        | {"video_processor_type": "Qwen2VLVideoProcessor", "cap_pixels_per_frame": False},
    }
