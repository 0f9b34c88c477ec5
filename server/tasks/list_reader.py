"""What readers of lists have in common: items as they close, none behind a loop; no items only where that is said."""

from abc import abstractmethod
from typing import Any

from server.tasks.reading import Found, ItemStream, says_none
from server.tasks.repetition import RepetitionDetector, SameAgain
from server.tasks.task import Reader, Shown


class ListReader(Reader):
    """Reads an answer that is a list of items."""

    without_items: str
    """What is wrong with an answer that has none and does not say that there are none."""

    def __init__(self, shown: Shown, stream: ItemStream, detector: RepetitionDetector | None = None) -> None:
        super().__init__(shown, detector)
        self._stream = stream
        self._same = SameAgain()
        self._found = 0

    @abstractmethod
    def placed(self, found: Found) -> list[dict[str, Any]]:
        """What an item of the model is in the caller's space: none, one or several. Sets `_items_looped` at a loop."""

    def read(self, text: str) -> list[dict[str, Any]]:
        return self._items(self._stream.feed(text))

    def end(self) -> list[dict[str, Any]]:
        items = [] if self.looped else self._items(self._stream.close())
        self.warnings += self._stream.notices
        if self._found == 0 and not says_none(self.text):
            raise self.unreadable(self.without_items)
        return items

    def _items(self, found: list[Found]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for each in found:
            self._found += 1
            if not self._items_looped:
                items += self.placed(each)
        return items
