"""What a born-digital page says of itself, beside what the model read from its picture: invented text shows here."""

import re
from collections.abc import Sequence
from typing import Any

from server.tasks.reading import Notice

FEWEST_WORDS = 4
"""A block of fewer words proves nothing."""
SUPPORTED_SHARE = 0.5
"""A block of which the layer holds a smaller share of words is flagged."""
_WORD = re.compile(r"[^\W_]+|[\u3400-\u9fff]")
_FORMULA = re.compile(r"\$[^$]{0,2000}\$")
_NOT_COMPARED = frozenset({"formula", "chemical_formula", "figure", "chart", "music_sheet"})


def compared(layer: str, blocks: Sequence[dict[str, Any]], warnings: list[Notice]) -> dict[str, Any]:
    """`text_layer` of a page; sets `supported` in each block that can be compared.

    >>> blocks = [{"type": "paragraph", "text": text} for text in ("the total is due", "we love our dog Rex")]
    >>> compared("The total is due today.", blocks, warnings := [])
    {'present': True, 'overlap': 0.4444}
    >>> [block["supported"] for block in blocks], [notice.code for notice in warnings]
    ([True, False], ['text_not_in_layer'])
    """
    known = set(_words(layer))
    if not known:
        return {"present": False, "overlap": None}
    shared = total = 0
    for block in blocks:
        words = _words(_FORMULA.sub(" ", block["text"])) if block["type"] not in _NOT_COMPARED else []
        held = sum(word in known for word in words)
        shared, total = shared + held, total + len(words)
        if len(words) >= FEWEST_WORDS:
            block["supported"] = held >= SUPPORTED_SHARE * len(words)
            if not block["supported"]:
                warnings.append(Notice("text_not_in_layer", block["text"][:200], "kept and flagged"))
    return {"present": True, "overlap": round(shared / total, 4) if total else None}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
