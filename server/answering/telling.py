"""What of an answer the caller has been told, when the answer has to be read again from its beginning."""

from typing import Any

Item = dict[str, Any]


class Told:
    """Items of one part of a task, in order. A second reading tells only what the first did not come to.

    >>> told = Told()
    >>> told.news([{"label": "a"}, {"label": "b"}])
    (False, [{'label': 'a'}, {'label': 'b'}])
    >>> told.again(); told.news([{"label": "a"}]), told.news([{"label": "b"}, {"label": "c"}])
    ((False, []), (False, [{'label': 'c'}]))

    One that differs from what was told takes all of it back: whoever listens starts anew.

    >>> told.again(); told.news([{"label": "a"}, {"label": "x"}])
    (True, [{'label': 'a'}, {'label': 'x'}])
    """

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._at = 0

    def again(self) -> None:
        """The answer is read from its beginning."""
        self._at = 0

    def news(self, items: list[Item]) -> tuple[bool, list[Item]]:
        """(Whether what was told is taken back, what to tell now) when these were read."""
        for place, item in enumerate(items):
            if self._at == len(self._items):
                self._items += items[place:]
                self._at = len(self._items)
                return False, items[place:]
            if item != self._items[self._at]:
                return True, self._anew(items[place:])
            self._at += 1
        return False, []

    def end(self) -> tuple[bool, list[Item]]:
        """The same once the answer is over: what it no longer has is taken back."""
        return (True, self._anew([])) if self._at < len(self._items) else (False, [])

    def _anew(self, items: list[Item]) -> list[Item]:
        self._items = self._items[: self._at] + items
        self._at = len(self._items)
        return self._items
