"""Results in words: text read, captions, facts, and the next action of an agent."""

from typing import Any

from pydantic import Field

from qwenvl.drawing import Drawable, Mark
from qwenvl.drawing.marks import in_pixels
from qwenvl.inputs import Source
from qwenvl.results.base import CoordinateSpace, Extent, Model, Result
from qwenvl.results.optional import table


class TextLine(Model):
    """One line or word."""

    bbox_2d: tuple[float, float, float, float]
    text: str
    confidence: float | None = None
    confidence_method: str | None = None


class ReadText(Result, Drawable):
    """The words of a picture or page."""

    text: str
    lines: list[TextLine] = Field(default_factory=list)
    """Empty at level `text`."""
    image: Extent
    model_input: Extent
    coordinate_space: CoordinateSpace = "pixel"
    _page: int = 1

    def marks(self) -> list[Mark]:
        place = [in_pixels(line.bbox_2d, self.coordinate_space, self.image.wh) for line in self.lines]
        return [Mark(each, line.text, "line") for each, line in zip(place, self.lines, strict=True)]

    def on_page(self, page: int) -> None:
        """Remember which page of a document was read."""
        self._page = page

    def _drawn_on(self) -> tuple[Source | None, tuple[int, int] | None, int]:
        return (None if isinstance(self._source, list) else self._source), self.image.wh, self._page

    def to_rows(self) -> list[dict[str, Any]]:
        """A row for each line: text, confidence, x1, y1, x2, y2."""
        names = ("x1", "y1", "x2", "y2")
        return [
            {"text": line.text, "confidence": line.confidence, **dict(zip(names, line.bbox_2d, strict=True))}
            for line in self.lines
        ]

    def to_pandas(self) -> Any:
        """`to_rows` as a pandas.DataFrame."""
        return table(self.to_rows())


class Caption(Result):
    """A description."""

    caption: str
    model_input: Extent


class Evidence(Model):
    """Where a value of the data stands."""

    field: str
    page: int
    bbox_2d: tuple[float, float, float, float] | None = None
    quote: str | None = None
    match: str


class PageSize(Model):
    """A page, or the one picture; evidence is in pixels of `image`."""

    page: int
    image: Extent
    model_input: Extent


class PageEvidence(Drawable):
    """The evidence on one page."""

    def __init__(self, source: Source | None, page: PageSize, evidence: list[Evidence]) -> None:
        self._source, self.page, self.evidence = source, page, evidence

    def marks(self) -> list[Mark]:
        return [Mark(tuple(each.bbox_2d), each.field, each.field) for each in self.evidence if each.bbox_2d]

    def _drawn_on(self) -> tuple[Source | None, tuple[int, int] | None, int]:
        return self._source, self.page.image.wh, self.page.page


class Extraction(Result):
    """Facts, valid against the schema that was given."""

    data: dict[str, Any]
    valid: bool = True
    evidence: list[Evidence] = Field(default_factory=list)
    """Empty unless asked for."""
    pages: list[PageSize] = Field(default_factory=list)

    def on_page(self, page: int = 1) -> PageEvidence:
        """The evidence on a page, which draws itself: `result.on_page(1).save_overlay("out.png")`."""
        size = next((each for each in self.pages if each.page == page), None)
        if size is None:
            raise ValueError(f"page {page} was not looked at; {[each.page for each in self.pages]} were")
        source = None if isinstance(self._source, list) else self._source
        return PageEvidence(source, size, [each for each in self.evidence if each.page == page])

    def to_rows(self) -> list[dict[str, Any]]:
        """A row for each piece of evidence."""
        return [each.model_dump() for each in self.evidence]


class Action(Result, Drawable):
    """The next action on a screen. Nothing was done: doing it is the caller's."""

    action: dict[str, Any]
    """`{"action": "left_click", "coordinate": [x, y]}`, in the pixels in which the device takes clicks."""
    action_in_screenshot: dict[str, Any]
    """The same in pixels of the screenshot."""
    tool_call: dict[str, Any]
    screen: Extent
    screenshot: Extent
    model_input: Extent
    thought: str | None = None
    conclusion: str | None = None
    needs_confirmation: bool = False
    """Whether a person should allow it first; a hint from words, not a guarantee."""
    confirmation_reason: str | None = None
    openai: dict[str, Any] | None = None
    anthropic: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """`left_click`, `type`, `scroll`, `terminate`, ..."""
        return str(self.action["action"])

    @property
    def is_over(self) -> bool:
        """The model thinks that the task is done, or cannot be."""
        return self.name in {"terminate", "answer"}

    def marks(self) -> list[Mark]:
        places = [self.action_in_screenshot[key] for key in ("coordinate", "coordinate2") if key in self.action]
        return [Mark(tuple(place), self.name, self.name) for place in places]

    def _drawn_on(self) -> tuple[Source | None, tuple[int, int] | None, int]:
        return (None if isinstance(self._source, list) else self._source), self.screenshot.wh, 1
