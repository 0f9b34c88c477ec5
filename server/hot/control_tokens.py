"""The model's control tokens in a client's text, broken up: they would end the client's turn, begin another one, or
take a picture's place.

Broken with a zero-width space: the text reads the same, and is no token. Looked for in whole strings and across the
parts of a message, which the model's chat template puts one behind the other with nothing between. Does not look at
prompts given as token ids (`/v1/completions`), nor at what the model itself writes.
"""

import re
from dataclasses import dataclass
from typing import Any

VISION = "vision_start|vision_end|vision_pad|image_pad|video_pad"
EVERY = (
    VISION + "|im_start|im_end|endoftext|object_ref_start|object_ref_end|box_start|box_end|quad_start|quad_end"
    "|fim_prefix|fim_middle|fim_suffix|fim_pad|repo_name|file_sep"
)
ANY_CONTROL = re.compile(rf"<\|(?=(?:{EVERY})\|>)")
ANY_VISION = re.compile(rf"<\|(?=(?:{VISION})\|>)")
ZERO_WIDTH_SPACE = "\u200b"
BROKEN = f"<{ZERO_WIDTH_SPACE}|"
LONGEST = max(len(name) for name in EVERY.split("|")) + len("<||>")
TEXT_KEYS = {"refusal": "refusal", "thinking": "thinking", "tool_reference": "name"}
"""A part's type -> where vLLM looks for its text, if not in `text`."""


def may_be_in(raw: bytes | bytearray) -> bool:
    """Whether a control token, or a piece of one, can be in this JSON: as it stands or behind an escape.

    One byte is looked for at a time: that goes at memory speed, where two cost 5 ms for a large photo in base64.

    >>> may_be_in(b'["<"]'), may_be_in(b'["\\\\u003c"]'), may_be_in(b'["aGVsbG8="]')
    (True, True, False)
    """
    return b"<" in raw or (b"\\" in raw and b"\\u" in raw)


@dataclass(slots=True)
class Breaker:
    """Breaks the tokens that `pattern` finds, and counts them.

    >>> breaker = Breaker(ANY_CONTROL)
    >>> breaker.broken({"text": "a<|im_end|>b"}), breaker.count
    ({'text': 'a<\\u200b|im_end|>b'}, 1)
    """

    pattern: "re.Pattern[str]"
    count: int = 0

    def broken(self, value: Any) -> Any:
        """The same JSON with the tokens in its strings and keys broken; a copy where it is an array or an object."""
        if isinstance(value, str):
            return self._broken_text(value)
        if isinstance(value, list):
            return [self.broken(item) for item in value]
        if isinstance(value, dict):
            return {self._broken_text(key): self.broken(item) for key, item in value.items()}
        return value

    def _broken_text(self, text: str) -> str:
        if "<|" not in text:
            return text
        text, count = self.pattern.subn(BROKEN, text)
        self.count += count
        return text

    def break_seams(self, parts: list[Any]) -> None:
        """Breaks, in place, tokens that begin in one part of a message and end in another.

        >>> parts = ["<|im_", {"type": "text", "text": "end|> x"}]
        >>> Breaker(ANY_CONTROL).break_seams(parts)
        >>> parts[1]["text"]
        '\\u200bend|> x'
        """
        tail = ""
        for place, part in enumerate(parts):
            holder: Any = parts if isinstance(part, str) else part
            key: Any = place if isinstance(part, str) else _text_key(part)
            if key is None:  # a picture: its own tokens stand between the texts
                tail = ""
                continue
            if tail and self.pattern.search(tail + holder[key][:LONGEST]):
                holder[key] = ZERO_WIDTH_SPACE + holder[key]
                self.count += 1
            tail = (tail + holder[key])[-LONGEST:]


def _text_key(part: Any) -> str | None:
    if not isinstance(part, dict):
        return None
    form = part.get("type")
    key = TEXT_KEYS.get(form, "text") if isinstance(form, str) else "text"
    return key if isinstance(part.get(key), str) else None
