"""What is asked of a machine: a model on cards, and the requests that it is to serve at once."""

from dataclasses import dataclass
from pathlib import Path

from server.errors import InvalidValue
from server.sizing.cards import Card, cards, find_card, short_name
from server.sizing.folders import read_folder
from server.sizing.gpus import Gpu
from server.sizing.memory import TOKEN_PIXELS
from server.sizing.shapes import Shape
from server.sizing.weights import PRECISIONS, Precision, check_division, find_precision

LEAST_PIXELS, MOST_PIXELS = 3136, 12_845_056
"""What Qwen2.5-VL's processor works within: 4 to 16,384 visual tokens."""
LEAST_FRAME_TOKENS = 128
"""Smallest frame that the gateway shows (`video_min_pixels`), in visual tokens."""
TEMPLATE_TOKENS = 32
"""The chat template, and what stands before and after each picture, rounded up."""
MOST_GPUS = 64


@dataclass(frozen=True)
class Model:
    """A model that can be sized: a published one, or a folder."""

    name: str
    """As --model takes it."""
    shape: Shape
    precision: Precision
    context_tokens: int
    card: Card | None = None

    @property
    def short_name(self) -> str:
        return short_name(self.card) if self.card else Path(self.name).name


def find_model(name: str, precision: str | None = None) -> Model:
    """A published model by name or size; in another precision if one is given. Raises InvalidValue.

    >>> find_model("7B", "int4").name, find_model("7B", "fp8").name
    ('Qwen/Qwen2.5-VL-7B-Instruct-AWQ', 'Qwen/Qwen2.5-VL-7B-Instruct')
    """
    wanted = find_precision(precision) if precision else None
    card = find_card(name)
    if wanted and wanted.name != card.precision:
        kin = [each for each in cards().values() if each.size == card.size]
        card = next(
            (each for each in kin if each.precision == wanted.name), next(each for each in kin if not each.base)
        )
    return Model(card.id, card.shape, wanted or PRECISIONS[card.precision], card.context_tokens, card)


def folder_model(name: str, precision: str | None = None) -> Model:
    """A folder with a config.json. Raises InvalidValue for one that cannot be sized."""
    shape, stored, context_tokens = read_folder(Path(name).expanduser())
    return Model(name, shape, find_precision(precision) if precision else stored, context_tokens)


@dataclass(frozen=True)
class Demand:
    """A question to `fit`. None: as much as fits, up to what is usual."""

    model: Model
    gpu: Gpu
    gpus: int = 1
    max_pixels: int = 1_003_520
    """Largest picture shown, in pixels."""
    pictures: int = 1
    """In one prompt."""
    frames: int = 0
    """Of one clip in each prompt; sized as the gateway sizes them, to cost at most `clip_tokens`."""
    frame_pixels: int = 602_112
    clip_tokens: int = 8192
    text_tokens: int = 512
    answer_tokens: int = 1024
    context_tokens: int | None = None
    concurrency: int | None = None
    memory_used: float | None = None
    """Share of the card that vLLM may take."""
    batched_tokens: int | None = None
    kv_bytes: int = 2

    @property
    def picture_tokens(self) -> int:
        return max(1, self.max_pixels // TOKEN_PIXELS)

    @property
    def video_tokens(self) -> int:
        """Of one clip: its frames in pairs, each as large as the clip's budget allows.

        >>> from server.sizing.gpus import find_gpu
        >>> seven = find_model("7B")
        >>> [Demand(seven, find_gpu("L4"), frames=frames).video_tokens for frames in (20, 64)]
        [7680, 8192]
        """
        pairs = -(-self.frames // 2)
        share = self.clip_tokens // max(1, pairs)
        return pairs * max(LEAST_FRAME_TOKENS, min(self.frame_pixels // TOKEN_PIXELS, share))

    @property
    def request_tokens(self) -> int:
        """One request with its answer."""
        visual = self.pictures * self.picture_tokens + self.video_tokens
        return visual + self.text_tokens + self.answer_tokens + TEMPLATE_TOKENS

    def check(self) -> None:
        """Raises InvalidValue for a number that cannot be, naming what can."""
        numbers = {
            "gpus": (self.gpus, 1, MOST_GPUS),
            "max_pixels": (self.max_pixels, LEAST_PIXELS, MOST_PIXELS),
            "pictures": (self.pictures, 0, 1000),
            "frames": (self.frames, 0, 768),
            "frame_pixels": (self.frame_pixels, LEAST_PIXELS, MOST_PIXELS),
            "text_tokens": (self.text_tokens, 0, 1_000_000),
            "answer_tokens": (self.answer_tokens, 1, 1_000_000),
            "context": (self.context_tokens, 256, 1_000_000),
            "concurrency": (self.concurrency, 1, 4096),
            "batched_tokens": (self.batched_tokens, 256, 1_000_000),
            "memory_used": (self.memory_used, 0.1, 1.0),
        }
        for name, (value, least, most) in numbers.items():
            if value is not None and not least <= value <= most:
                raise InvalidValue(f"{name} is {value:g}; it is from {least:g} to {most:g}", param=name)
        if trouble := check_division(self.model.shape, self.model.precision, self.gpus):
            raise InvalidValue(f"gpus is {self.gpus}: {trouble}", param="gpus")
