"""Labels as asked and labels as written: which is meant, and which nobody asked for."""

import re
from collections.abc import Sequence

from rapidfuzz import fuzz, process

NEAR = 84
"""Similarity, 0..100, from which a written label counts as one that was asked for: a letter or an ending apart."""
_WORDS = re.compile(r"[^\w]+")


class Labels:
    """The labels of a request.

    >>> labels = Labels(["wearing helmet", "not wearing helmet"])
    >>> labels.match("not wearing helmat"), labels.match("Wearing Helmet"), labels.match("dog")
    (('not wearing helmet', False), ('wearing helmet', True), (None, False))
    """

    def __init__(self, asked: Sequence[str]) -> None:
        self.asked = list(dict.fromkeys(asked))
        self._plain = {_plain(label): label for label in self.asked}
        self._singular = {_singular(plain): label for plain, label in self._plain.items()}

    def match(self, written: str) -> tuple[str | None, bool]:
        """(The asked label that is meant, or None; whether it was written as asked, but for case and plural)."""
        plain = _plain(written)
        if plain in self._plain:
            return self._plain[plain], True
        if _singular(plain) in self._singular:
            return self._singular[_singular(plain)], True
        best = process.extractOne(plain, list(self._plain), scorer=fuzz.ratio, score_cutoff=NEAR)
        return (self._plain[best[0]], False) if best else (None, False)


def _plain(label: str) -> str:
    return _WORDS.sub(" ", label.casefold()).strip()


def _singular(plain: str) -> str:
    for ending, rest in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss"), ("s", "")):
        if (
            plain.endswith(ending)
            and len(plain) > len(ending) + 2
            and not plain.endswith("ss" if ending == "s" else "\0")
        ):
            return plain[: -len(ending)] + rest
    return plain
