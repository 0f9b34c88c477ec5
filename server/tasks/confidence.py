"""How sure the model was of an item: the geometric mean of its tokens' probabilities.

Only tokens that hold something of the item's values count (numbers, letters of the label); braces, quotes and key
names are nearly certain whatever the picture shows, and would hide the rest.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

METHOD = "token_logprobs"
"""`confidence_method` of a confidence that was computed here."""
_KEY = re.compile(r"[\"'][\w ]{1,40}[\"']\s*:")
_VALUE = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer and the logarithm of its probability."""

    text: str
    logprob: float


class Confidences:
    """Confidence of stretches of an answer whose tokens arrive with it.

    >>> sure = Confidences()
    >>> sure.feed([Token('{"a"', -9), Token(":", -9), Token("12", -0.5), Token("3", -0.1), Token("}", -9)])
    >>> sure.of(0, '{"a":123}')
    0.7408
    """

    def __init__(self) -> None:
        self._tokens: list[Token] = []
        self._starts: list[int] = []
        self._length = 0
        self._from = 0  # tokens before this one lie before every item that is still to come

    def feed(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            self._tokens.append(token)
            self._starts.append(self._length)
            self._length += len(token.text)

    def of(self, start: int, text: str) -> float | None:
        """0..1 for the stretch `text` that begins at `start`, in characters; None where tokens are not known."""
        end = start + len(text)
        if not text or end > self._length:
            return None
        values = _values(text)
        chosen = []
        while self._from > 0 and self._starts[self._from] > start:
            self._from -= 1
        for at in range(self._from, len(self._tokens)):
            first, token = self._starts[at], self._tokens[at]
            if first >= end:
                break
            if first + len(token.text) <= start:
                self._from = at
            elif any(values[max(0, first - start) : max(0, first - start + len(token.text))]):
                chosen.append(token.logprob)
        return round(math.exp(sum(chosen) / len(chosen)), 4) if chosen else None


def _values(text: str) -> list[bool]:
    """For each character, whether it belongs to a value."""
    values = [_VALUE.match(char) is not None for char in text]
    for key in _KEY.finditer(text):
        values[key.start() : key.end()] = [False] * (key.end() - key.start())
    return values
