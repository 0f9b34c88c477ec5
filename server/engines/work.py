"""What a request asks of an engine, as far as choosing one needs to know it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

PLAIN_TOKENS = 400
"""What a request weighs beside its pictures and clips, in visual tokens: its text and the answer's steps."""


class Shown(Protocol):
    """A picture or clip as the model is shown it."""

    @property
    def name(self) -> str:
        """What tells it from every other."""

    @property
    def visual_tokens(self) -> int:
        """What it costs."""


@dataclass(frozen=True, slots=True)
class Work:
    """The pictures and clips of a request as they are shown, and what it weighs.

    >>> Work({"a cat": 1222}).weight, PLAIN.weight
    (1622, 400)
    """

    media: Mapping[str, int] = field(default_factory=dict)
    """What tells a picture or clip from every other -> its visual tokens."""
    visual_tokens: int = field(init=False)
    weight: int = field(init=False)
    """In visual tokens."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "visual_tokens", sum(self.media.values()))
        object.__setattr__(self, "weight", PLAIN_TOKENS + self.visual_tokens)

    @classmethod
    def of(cls, shown: Iterable[Shown]) -> "Work":
        """What a request asks that shows these; one that comes twice costs twice.

        >>> from types import SimpleNamespace
        >>> Work.of([SimpleNamespace(name="a", visual_tokens=4)] * 2).media
        {'a': 8}
        """
        media: dict[str, int] = {}
        for each in shown:
            media[each.name] = media.get(each.name, 0) + each.visual_tokens
        return cls(media)


PLAIN = Work()
"""A request without pictures."""
