"""Bytes of a model's weights on one card, tensor by tensor, for a precision and a number of cards."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from server.errors import InvalidValue
from server.sizing.shapes import Shape, Tensor, tensors

BF16_BYTES = 2
VOCABULARY_PADDING = 64
"""vLLM pads the words to a multiple of this before dividing them (vocab_parallel_embedding.py)."""
INT4_GROUP = 128
"""Inputs that share one scale in the published AWQ files, and in the usual GPTQ files."""


@dataclass(frozen=True)
class Precision:
    """How the language layers' matrices are stored; everything else stays bfloat16 in the files there are."""

    name: str
    bits: float
    """Of one weight in those matrices."""
    scale_bytes: float = 0
    """For each output of a matrix (fp8), or for each output of each group of inputs (int4)."""
    grouped: bool = False
    note: str = ""

    def matrix_bytes(self, outputs: int, inputs: int) -> float:
        """One matrix, its scales included."""
        groups = inputs / INT4_GROUP if self.grouped else 1
        return outputs * inputs * self.bits / 8 + outputs * groups * self.scale_bytes


PRECISIONS: Mapping[str, Precision] = {
    "bf16": Precision("bf16", 16, note="as published"),
    "fp8": Precision("fp8", 8, scale_bytes=4, note="made on loading; the vision tower stays bf16"),
    "awq": Precision("awq", 4, scale_bytes=2.5, grouped=True, note="Qwen's own 4-bit files: a scale and a zero point"),
    "gptq": Precision("gptq", 4, scale_bytes=2, grouped=True, note="4-bit files of others, symmetric: a scale alone"),
}


def find_precision(name: str) -> Precision:
    """By name; `int4` is AWQ, `8bit` is fp8. Raises InvalidValue, naming all there are.

    >>> find_precision("INT4").name
    'awq'
    >>> find_precision("fp4")
    Traceback (most recent call last):
    server.errors.InvalidValue: precision is 'fp4'; it is one of bf16, fp8, awq, gptq
    """
    names = {"int4": "awq", "4bit": "awq", "8bit": "fp8", "bfloat16": "bf16"}
    wanted = name.strip().lower()
    precision = PRECISIONS.get(names.get(wanted, wanted))
    if precision is None:
        raise InvalidValue(f"precision is {name[:80]!r}; it is one of {', '.join(PRECISIONS)}", param="precision")
    return precision


@dataclass(frozen=True)
class Weights:
    """Bytes on one card."""

    vision: float
    language: float
    words: float
    """Embeddings and output matrix."""

    @property
    def total(self) -> float:
        return self.vision + self.language + self.words


@cache
def weights(shape: Shape, precision: Precision, gpus: int = 1, *, whole_vision: bool = True) -> Weights:
    """What one of `gpus` cards holds. `whole_vision`: the tower is on each card whole (--mm-encoder-tp-mode data).

    The two sizes that vLLM was seen to load on four cards; it holds rotary tables beside them (`memory.tables_bytes`):

    >>> from server.sizing.cards import find_card
    >>> for name in ("7B", "72B"):
    ...     held = weights(find_card(name).shape, PRECISIONS["bf16"], gpus=4, whole_vision=False)
    ...     print(round(held.total / 1024**3, 4))
    3.864
    34.1887
    """
    sums = {"vision": 0.0, "language": 0.0, "words": 0.0}
    for tensor in tensors(shape):
        share = _share(tensor, shape, gpus, whole_vision=whole_vision)
        kind = "vision" if tensor.part == "vision" else "words" if tensor.part in ("embedding", "head") else "language"
        if tensor.part == "linear":
            sums[kind] += precision.matrix_bytes(*tensor.size) * share
        else:
            sums[kind] += tensor.numbers * BF16_BYTES * share
    return Weights(**sums)


def _share(tensor: Tensor, shape: Shape, gpus: int, *, whole_vision: bool) -> float:
    """Of a tensor, what one card holds."""
    if gpus == 1 or tensor.split == "whole" or (tensor.part == "vision" and whole_vision):
        return 1
    if tensor.split == "heads":  # with more cards than key-value heads, each card still needs one
        return max(1, shape.kv_heads / gpus) / shape.kv_heads
    if tensor.split == "vocabulary":
        padded = -(-shape.vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING
        return padded / gpus / shape.vocabulary
    return 1 / gpus


def check_division(shape: Shape, precision: Precision, gpus: int) -> str | None:
    """Why vLLM would refuse to divide the model over so many cards; None if it would not.

    >>> from server.sizing.cards import find_card
    >>> check_division(find_card("7B").shape, PRECISIONS["bf16"], 8)
    '28 attention heads do not divide by 8'
    """
    if shape.heads % gpus:
        return f"{shape.heads} attention heads do not divide by {gpus}"
    if shape.intermediate % gpus:
        return f"intermediate_size {shape.intermediate} does not divide by {gpus}"
    if precision.grouped and (shape.intermediate // gpus) % INT4_GROUP:
        return f"intermediate_size {shape.intermediate} / {gpus} is not a multiple of the 4-bit group of {INT4_GROUP}"
    return None
