"""Model cards: what is known of a published model, and where it is known from. One TOML file each, in `cards/`.

Not here: how well a model does on your own pictures; `benchmarks/` measures that.
"""

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from server.errors import InvalidValue
from server.sizing.shapes import Shape, read_shape

FOLDER = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class Card:
    """One published model."""

    id: str
    """Its name on Hugging Face."""
    size: str
    parameters: int
    """Of the model before quantisation."""
    precision: str
    """As stored: a key of `weights.PRECISIONS`."""
    good_for: str
    licence: Mapping[str, str]
    context: Mapping[str, Any]
    config: Mapping[str, Any]
    release_source: str
    released: datetime.date | None = None
    base: str | None = None
    """The model that it was quantised from."""
    quantization: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[Mapping[str, Any], ...] = ()

    @property
    def shape(self) -> Shape:
        return read_shape(self.config)

    @property
    def context_tokens(self) -> int:
        """The longest context that Qwen recommends without further measures."""
        return int(self.context["tokens"])

    def public(self) -> dict[str, Any]:
        """As `GET /v1/models/{id}` shows it. Scores of a quantised model are those of the model it was made from.

        >>> find_card("3B").public()["licence"]["commercial_use"]
        'no'
        """
        scored = cards()[self.base] if self.base else self
        return {
            "parameters": self.parameters,
            "precision": self.precision,
            "base": self.base,
            "released": self.released.isoformat() if self.released else None,
            "licence": dict(self.licence),
            "context": dict(self.context),
            "good_for": self.good_for,
            "scores_of": scored.id,
            "scores": [{**score, "source": scored.sources[score["source"]]} for score in scored.scores],
        }


@cache
def cards() -> Mapping[str, Card]:
    """All cards by id, the smallest model first."""
    found = [_read(file) for file in FOLDER.glob("*.toml")]
    return {card.id: card for card in sorted(found, key=lambda card: (card.parameters, card.precision != "bf16"))}


def _read(file: Path) -> Card:
    fields = tomllib.loads(file.read_text())
    return Card(**{**fields, "scores": tuple(fields.get("scores", ()))})


def find_card(name: str) -> Card:
    """By id, by its last part, or by size (`7B`, `7B-AWQ`), in any case. Raises InvalidValue, naming all there are.

    >>> find_card("7b-awq").id, find_card("qwen2.5-vl-72b-instruct").size
    ('Qwen/Qwen2.5-VL-7B-Instruct-AWQ', '72B')
    >>> find_card("13B")
    Traceback (most recent call last):
    server.errors.InvalidValue: model is '13B'; known are 3B, 3B-AWQ, 7B, 7B-AWQ, 32B, 32B-AWQ, 72B, 72B-AWQ and their names on Hugging Face
    """  # noqa: E501  # a doctest's line cannot be broken
    wanted = name.strip().lower().removeprefix("qwen/")
    for card in cards().values():
        if wanted in (card.id.lower().removeprefix("qwen/"), short_name(card).lower()):
            return card
    known = ", ".join(short_name(card) for card in cards().values())
    raise InvalidValue(
        f"model is {name[:80]!r}; known are {known} and their names on Hugging Face",
        param="model",
    )


def card_of(*names: str | None) -> Card | None:
    """The card of a served model, by its name, its alias's model, or the folder it came from; None if it has none.

    >>> card_of("qwen2.5-vl", "/models/Qwen2.5-VL-7B-Instruct/").id
    'Qwen/Qwen2.5-VL-7B-Instruct'
    >>> card_of("my-finetune", None)
    """
    last = {(name or "").rstrip("/").rpartition("/")[2].lower() for name in names}
    return next((card for card in cards().values() if card.id.rpartition("/")[2].lower() in last), None)


def short_name(card: Card) -> str:
    """As people say it.

    >>> short_name(find_card("Qwen/Qwen2.5-VL-32B-Instruct-AWQ"))
    '32B-AWQ'
    """
    return card.size + ("" if card.base is None else f"-{card.precision.upper()}")
