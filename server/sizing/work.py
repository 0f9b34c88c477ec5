"""Arithmetic and bytes that requests cost: counted from shapes, whatever they run on."""

from dataclasses import dataclass

from server.sizing.shapes import Shape
from server.sizing.weights import Precision, weights

WINDOW_PATCHES = 64
"""Patches in one attention window: (112 / 14) squared."""


@dataclass(frozen=True)
class Request:
    """One request of a workload."""

    picture_tokens: tuple[int, ...] = ()
    """Visual tokens of each picture."""
    text_tokens: int = 0
    answer_tokens: int = 0
    megapixels: float = 0.0
    """Of all pictures, as they are sent to the engine."""

    @property
    def prompt_tokens(self) -> int:
        return sum(self.picture_tokens) + self.text_tokens

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens


def vision_flops(shape: Shape, visual_tokens: int) -> float:
    """Of the vision tower on one picture: matrices, attention within windows, and in some blocks over the whole.

    >>> from server.sizing.cards import find_card
    >>> round(vision_flops(find_card("7B").shape, 1280) / 1e12, 1)
    7.2
    """
    vision, patches = shape.vision, visual_tokens * shape.vision.patches_per_token
    width, inner = vision.hidden, vision.intermediate
    matrices = vision.depth * (4 * width**2 + 3 * width * inner) + vision.patch_values * width
    merged = width * vision.patches_per_token
    merger = visual_tokens * (merged**2 + merged * vision.out)
    windows = (vision.depth - vision.full_attention_blocks) * patches * min(patches, WINDOW_PATCHES) * width
    whole = vision.full_attention_blocks * patches**2 * width
    return 2.0 * (patches * matrices + merger) + 4.0 * (windows + whole)


def matrix_parameters(shape: Shape) -> int:
    """Of the language layers' matrices: each is one multiplication a token."""
    kv = shape.kv_heads * shape.head_dim
    layer = 2 * shape.hidden**2 + 2 * shape.hidden * kv + 3 * shape.hidden * shape.intermediate
    return shape.layers * layer


def prefill_flops(shape: Shape, prompt_tokens: int) -> float:
    """Of reading a prompt: every matrix for every token, and attention to what stands before it.

    >>> from server.sizing.cards import find_card
    >>> round(prefill_flops(find_card("7B").shape, 1344) / 1e12, 1)
    17.9
    """
    attention = 2 * shape.layers * prompt_tokens**2 * shape.hidden  # 4 x half of the square
    words = 2 * shape.vocabulary * shape.hidden  # once, for the first token of the answer
    return 2.0 * matrix_parameters(shape) * prompt_tokens + attention + words


def step_flops(shape: Shape, batch: int, context_tokens: float) -> float:
    """Of writing one token for each of `batch` requests."""
    attention = 4 * shape.layers * context_tokens * shape.hidden
    return batch * (2.0 * (matrix_parameters(shape) + shape.vocabulary * shape.hidden) + attention)


def step_bytes(shape: Shape, precision: Precision, batch: int, context_tokens: float, kv_bytes: int = 2) -> float:
    """Read from memory to write one token for each of `batch` requests: all language weights once, the output matrix,
    and every request's keys and values.

    >>> from server.sizing.cards import find_card
    >>> from server.sizing.weights import PRECISIONS
    >>> round(step_bytes(find_card("7B").shape, PRECISIONS["bf16"], 1, 0) / 1e9, 1)
    14.1
    """
    held = weights(shape, precision)
    output = held.words if shape.tied else held.words / 2  # looked-up words are a few rows
    cache = 2 * shape.layers * shape.kv_heads * shape.head_dim * kv_bytes
    return held.language + output + batch * context_tokens * cache
