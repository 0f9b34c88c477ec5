"""Where JSON objects begin and end in text that arrives in pieces and may be broken.

Valid JSON is split exactly. In broken JSON the scanner looks for the next place where it can be sure again, so that a
lost quote or brace costs the object it stands in and no other:

- a quote ends its string only if `,` `:` `}` `]`, another quote or a line's end follows; else it belongs to the text
- `{"key":` inside a string means that the string was never closed
- a line that starts with `}`, `]` or a key means the same
- `{` where a key should stand means that the object before was never closed
- a code fence ends everything that is open

What is decided depends on the text alone and never on how it was cut into pieces: where the next characters matter,
the scanner waits for them. It reads every character a bounded number of times, and stops for good after MAX_STEPS
quotes, braces and brackets: many times what the longest answer holds.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_SEGMENT_CHARS = 4096
MAX_STEPS = 125_000
_MAX_DEFERRED = 64
_LOOKAHEAD_CHARS = 96
_OUTSIDE = re.compile(r"[{\n]")
_INSIDE = re.compile(r"[\"'{}\[\]`]")
_IN_STRING = {quote: re.compile(rf"[{quote}\\{{\n]") for quote in "\"'"}
_KEY = {quote: re.compile(rf"\{{\s{{0,16}}{quote}[\w ]{{1,40}}{quote}\s{{0,8}}:") for quote in "\"'"}
_NEXT_LINE = {quote: re.compile(rf"\n\s{{0,40}}(?:[}}\]]|{quote}[\w ]{{1,40}}{quote}\s{{0,8}}:)") for quote in "\"'"}
_STRING_ENDS_BEFORE = ",:}]\"'\uff0c\uff1a"  # full-width comma and colon among them
_SINGLE_QUOTE_OPENS_AFTER = frozenset("{[,:(")


@dataclass(frozen=True, slots=True)
class Candidate:
    """The text of one object, from its brace on."""

    text: str
    start: int
    """Offset of the brace in the whole answer, in characters."""
    cut: bool
    """Its closing brace never came; `text` is what there was, less an array that was still open."""
    nested: bool
    """It stands inside an object that is open still."""


@dataclass(slots=True)
class _Open:
    start: int
    is_value: bool  # it stands behind a key: it is a part of its parent before it is anything of its own
    depth: int = 0  # brackets open inside it
    array_start: int = 0
    taken: bool = False  # something inside it was an item: it is a wrapper
    deferred: list[tuple[int, int]] = field(default_factory=list)


class ObjectScanner:
    """Hands out objects as they close and the text between them.

    `take` is asked about array elements and outermost objects, innermost first, and answers whether that was an item;
    what holds an item is not offered again. `prose` gets each line, or part of a line, outside all objects.

    >>> seen = []
    >>> def take(candidate):
    ...     seen.append(candidate.text)
    ...     return True
    >>> scanner = ObjectScanner(take, lambda text, start: None)
    >>> for piece in ('{"all": [{"a": "}', '"}, {"a": "lost}, {"a": 3}', ']}'): scanner.feed(piece)
    >>> scanner.close()
    >>> seen
    ['{"a": "}"}', '{"a": "lost', '{"a": 3}']
    """

    def __init__(
        self,
        take: Callable[[Candidate], bool],
        prose: Callable[[str, int], None],
        *,
        max_chars: int = 16_384,
        max_open: int = 8,
        roots_only: bool = False,
    ) -> None:
        self._take, self._prose = take, prose
        self._max_chars, self._max_open, self._roots_only = max_chars, max_open, roots_only
        self._buffer = ""
        self._base = 0  # offset in the whole answer of the buffer's first character
        self._at = 0  # next character to read, in the buffer
        self._segment = 0  # where the text outside all objects began, in the buffer
        self._open: list[_Open] = []
        self._quote = ""
        self._last = ""  # last character that was no white space
        self._steps = 0
        self.dropped: list[int] = []
        """Where objects longer than `max_chars` began."""

    @property
    def exhausted(self) -> bool:
        """Whether the text held more than MAX_STEPS marks, and the rest of it was not read."""
        return self._steps >= MAX_STEPS

    def feed(self, text: str) -> None:
        if self.exhausted:
            return
        self._buffer += text
        self._scan(final=False)
        self._trim()

    def close(self) -> None:
        """The text is whole: decide what was waiting, end what is open."""
        self._scan(final=True)
        if self.exhausted:
            return
        if self._open:
            self._end_all(len(self._buffer))
            self._segment = len(self._buffer)
        self._flush(len(self._buffer))

    def _scan(self, *, final: bool) -> None:
        step = True
        while step and self._at < len(self._buffer) and not self.exhausted:
            if not self._open:
                step = self._outside()
            elif self._quote:
                step = self._in_string(final)
            else:
                step = self._inside(final)

    def _trim(self) -> None:
        keep = max(self._open[0].start - self._base, self._at - self._max_chars) if self._open else self._segment
        if keep > 0:
            self._buffer = self._buffer[keep:]
            self._base += keep
            self._at -= keep
            self._segment -= keep

    def _outside(self) -> bool:
        limit = self._segment + MAX_SEGMENT_CHARS
        match = _OUTSIDE.search(self._buffer, self._at, limit)
        if match is None:
            self._at = min(limit, len(self._buffer))
            if self._at == limit:
                self._flush(limit)
            return True
        self._steps += 1
        if match[0] == "{":
            self._flush(match.start())
            self._push(match.start(), is_value=False)
        else:
            self._flush(match.end())
        self._at = match.end()
        return True

    def _inside(self, final: bool) -> bool:
        match = _INSIDE.search(self._buffer, self._at)
        end = match.start() if match else len(self._buffer)
        passed = self._buffer[self._at : end].rstrip()
        self._last = passed[-1] if passed else self._last
        self._at = end
        if match is None:
            return True
        char, top = match[0], self._open[-1]
        if char == "`":
            return self._fence(final)
        self._steps += 1
        if char == "{":
            self._begin(top)
        elif char == "}":
            self._open.pop()
            self._finish(top, end + 1, cut=False)
            self._segment = end + 1
        elif char == "[":
            top.depth += 1
            top.array_start = top.array_start if top.depth > 1 else self._base + end
        elif char == "]":
            top.depth = max(0, top.depth - 1)
        elif char == '"' or self._last in _SINGLE_QUOTE_OPENS_AFTER:
            self._quote = char
        self._last = char
        self._at = end + 1
        return True

    def _begin(self, top: _Open) -> None:
        is_value = self._last == ":"
        if top.depth == 0 and self._last not in ":{(":
            self._open.pop()
            self._finish(top, self._at, cut=True)
        self._push(self._at, is_value=is_value and bool(self._open))

    def _fence(self, final: bool) -> bool:
        if self._buffer.startswith("```", self._at):
            self._end_all(self._at)
            self._segment = self._at
            self._at += 3
            return True
        if len(self._buffer) - self._at < 3 and not final:
            return False
        self._at += 1
        return True

    def _in_string(self, final: bool) -> bool:
        match = _IN_STRING[self._quote].search(self._buffer, self._at)
        if match is None:
            self._at = len(self._buffer)
            return True
        self._at = match.start()
        if match[0] == "\\":
            if self._at + 1 >= len(self._buffer) and not final:
                return False
            self._steps += 1
            self._at += 2
            return True
        if len(self._buffer) - self._at < _LOOKAHEAD_CHARS and not final and self._undecided(match[0]):
            return False
        self._steps += 1
        if match[0] == self._quote:
            if self._string_ends():
                self._last, self._quote = self._quote, ""
        elif match[0] == "\n":
            if _NEXT_LINE[self._quote].match(self._buffer, self._at):
                self._last, self._quote = self._quote, ""
        elif _KEY[self._quote].match(self._buffer, self._at):
            broken = self._open.pop()
            text = self._text(broken.start, self._base + self._at)
            blank = len(text) - len(text.rstrip(" \t\r\n,]}"))  # these close what the lost quote left open
            self._finish(broken, self._at - blank, cut=True)
            self._segment = self._at
            self._last, self._quote = ",", ""
            return True
        self._at += 1
        return True

    def _undecided(self, char: str) -> bool:
        """Whether the characters that are there already do not settle what this one means."""
        if char != self._quote:
            return True
        return not self._buffer[self._at + 1 : self._at + _LOOKAHEAD_CHARS].strip()

    def _string_ends(self) -> bool:
        following = self._buffer[self._at + 1 : self._at + _LOOKAHEAD_CHARS]
        rest = following.lstrip()
        return not rest or rest[0] in _STRING_ENDS_BEFORE or "\n" in following[: len(following) - len(rest)]

    def _push(self, at: int, *, is_value: bool) -> None:
        if len(self._open) == self._max_open:
            del self._open[0]
        self._open.append(_Open(self._base + at, is_value))
        self._last = "{"

    def _end_all(self, end: int) -> None:
        self._quote = ""
        while self._open:
            self._finish(self._open.pop(), end, cut=True)

    def _finish(self, entry: _Open, end: int, *, cut: bool) -> None:
        parent = self._open[-1] if self._open else None
        if self._roots_only and parent:
            return
        stop = self._base + end
        too_long = stop - entry.start > self._max_chars
        if entry.is_value and parent and not parent.taken and not cut and not too_long:
            if len(parent.deferred) < _MAX_DEFERRED:
                parent.deferred.append((entry.start, stop))
        elif entry.taken or too_long:
            if not entry.taken and not entry.deferred:
                self.dropped.append(entry.start)
            for start, until in entry.deferred:
                if stop - start <= self._max_chars:  # else it may have left the buffer
                    self._offer(start, self._text(start, until), cut=False)
        elif cut and entry.depth > 0:
            self._offer(entry.start, self._text(entry.start, entry.array_start) + "null", cut=True)
        else:
            self._offer(entry.start, self._text(entry.start, stop), cut=cut)

    def _text(self, start: int, stop: int) -> str:
        return self._buffer[start - self._base : stop - self._base]

    def _offer(self, start: int, text: str, *, cut: bool) -> None:
        if self._take(Candidate(text, start, cut, nested=bool(self._open))):
            for entry in self._open:
                entry.taken = True

    def _flush(self, end: int) -> None:
        if end > self._segment and not self._open:
            self._prose(self._buffer[self._segment : end], self._base + self._segment)
        self._segment = end
