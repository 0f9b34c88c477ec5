"""Loops in an answer, seen while it is written: text that goes round, white space that never ends, the same item again.

The detector looks at the text alone, a window of it at a time, so that what it finds does not depend on the pieces in
which the text arrived. It is patient: a form with thirty empty rows repeats itself too, and a real loop goes on until
`max_tokens`.
"""

import re
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

MAX_BLANKS = 400
"""White space in a row beyond which nothing more is to be expected."""
MIN_SAME_CHARS = 200
"""One character in a row beyond which nothing more is to be expected, unless people rule lines with it."""
_RULED = "-_.=*~|+#\u00b7\u2014\u2500\u2026 "
STRIDE_CHARS = 64
"""The text is looked at each time so many more characters of it are there."""
_GRAM_CHARS = 24
_WINDOW_CHARS = 4096
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Loop:
    """Where text began to go round."""

    start: int
    """Offset of the first round, in characters of the whole answer."""
    period: int
    """Length of one round, in characters."""

    @property
    def good_until(self) -> int:
        """The answer up to here is worth keeping: one round is."""
        return self.start + self.period


class RepetitionDetector:
    """Watches an answer; `loop` is set once it goes round.

    `min_chars` is how long the same must go on, and it must come at least four times. With `numbers_differ` digits
    count as equal, for prose that repeats one sentence under new times.

    >>> detector = RepetitionDetector()
    >>> detector.feed("A table. " + "| 0 | 1 |" * 20)
    >>> detector.loop
    >>> detector.feed("| 0 | 1 |" * 80)
    >>> detector.loop
    Loop(start=9, period=9)
    """

    def __init__(self, *, min_chars: int = 600, numbers_differ: bool = False) -> None:
        self._min_chars, self._numbers_differ = min_chars, numbers_differ
        self._buffer = ""
        self._base = 0  # offset in the answer of the buffer's first character
        self._next_look = STRIDE_CHARS  # offset in the answer where to look next
        self.loop: Loop | None = None

    def feed(self, text: str) -> None:
        if self.loop is not None:
            return
        self._buffer += _DIGIT.sub("0", text) if self._numbers_differ else text
        while self.loop is None and self._next_look <= self._base + len(self._buffer):
            self.loop = self._look(self._next_look - self._base)
            self._next_look += STRIDE_CHARS
        keep = self._next_look - self._base - _WINDOW_CHARS - STRIDE_CHARS
        if keep > _WINDOW_CHARS:
            self._buffer = self._buffer[keep:]
            self._base += keep

    def _look(self, end: int) -> Loop | None:
        window = self._buffer[max(0, end - _WINDOW_CHARS) : end]
        if window[-MAX_BLANKS:].isspace() and len(window) >= MAX_BLANKS:
            return Loop(self._base + len(self._buffer[:end].rstrip()), 0)
        before = window.rfind(window[-_GRAM_CHARS:], 0, len(window) - 1)
        if before < 0:
            return None
        period = len(window) - _GRAM_CHARS - before
        shortest = MIN_SAME_CHARS if period == 1 and window[-1] not in _RULED else self._min_chars
        needed = max(shortest, 4 * period)
        if len(window) < needed or window[period - needed :] != window[-needed:-period]:
            return None
        start = len(window) - needed
        while start > 0 and window[start - 1] == window[start - 1 + period]:
            start -= 1
        return Loop(self._base + end - len(window) + start, period)


class SameAgain:
    """Whether items, one after the other, only repeat those before.

    >>> same = SameAgain()
    >>> [same.add(item) for item in ("cat", "dog", "dog", "dog", "dog")]
    [False, False, False, False, True]
    """

    def __init__(self, times: int = 4) -> None:
        self._last: deque[Hashable] = deque(maxlen=times)

    def add(self, item: Hashable) -> bool:
        self._last.append(item)
        return len(self._last) == self._last.maxlen and len(set(self._last)) == 1
