"""A document: pages of blocks in reading order, Markdown and HTML."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from qwenvl.drawing import Drawable, Mark
from qwenvl.drawing.marks import in_pixels
from qwenvl.inputs import Source
from qwenvl.results.base import CoordinateSpace, Extent, Model, Result
from qwenvl.results.optional import table


class Block(Model):
    """One piece of a page."""

    type: str
    """title, paragraph, list, table, formula, figure, chart, caption, header, footer, address, code, ..."""
    order: int
    """Place in reading order, from 0."""
    bbox_2d: tuple[float, float, float, float] | None = None
    """(x1, y1, x2, y2), in pixels of the page unless another coordinate space was asked for."""
    bbox_pt: tuple[float, float, float, float] | None = None
    """The same in points, 1/72 inch, from the top left; for PDF."""
    level: int | None = None
    """1..6, for a title."""
    text: str
    html: str
    supported: bool | None = None
    """Whether the page's own text layer holds these words; None where there is none."""


class TextLayer(Model):
    """A born-digital page's own words beside what the model read."""

    present: bool
    overlap: float | None = None


class Page(Model, Drawable):
    """One page."""

    page: int
    """Its number in the document, from 1."""
    status: Literal["completed", "partial", "failed"]
    width: int | None = None
    height: int | None = None
    html: str | None = None
    markdown: str | None = None
    blocks: list[Block] | None = None
    model_input: Extent | None = None
    text_layer: TextLayer | None = None
    error: dict[str, Any] | None = None
    """Why it failed, for a page that did."""
    _source: Source | None = PrivateAttr(default=None)
    _space: CoordinateSpace = PrivateAttr(default="pixel")

    def came_from(self, source: Source | list[Source] | None, space: CoordinateSpace) -> None:
        """Remember the document, so that the page can draw itself."""
        self._source, self._space = (None if isinstance(source, list) else source), space

    @property
    def coordinate_space(self) -> CoordinateSpace:
        """What the boxes of its blocks count."""
        return self._space

    @property
    def wh(self) -> tuple[int, int] | None:
        """The page's size in the pixels that its boxes count."""
        return (self.width, self.height) if self.width and self.height else None

    def marks(self) -> list[Mark]:
        wh = self.wh or (1, 1)
        return [
            Mark(in_pixels(block.bbox_2d, self._space, wh), f"{block.order} {block.type}", block.type)
            for block in self.blocks or []
            if block.bbox_2d
        ]

    def _drawn_on(self) -> tuple[Source | None, tuple[int, int] | None, int]:
        return self._source, self.wh, self.page


class Document(Result):
    """A document."""

    pages: list[Page]
    html: str | None = None
    markdown: str | None = None
    tables: list[dict[str, Any]] = Field(default_factory=list)
    """Tables that run over several pages, each row with its page."""
    status: Literal["completed", "partial"]
    failed_pages: list[int] = Field(default_factory=list)

    def came_from(
        self, source: Source | list[Source] | None, request_id: str | None, space: CoordinateSpace = "pixel"
    ) -> None:
        super().came_from(source, request_id)
        for page in self.pages:
            page.came_from(source, space)

    @property
    def text(self) -> str:
        """The words alone, a block a line, pages apart."""
        return "\n\n".join("\n".join(block.text for block in page.blocks or []) for page in self.pages)

    def to_markdown(self) -> str:
        """The document as Markdown; empty if `output` left it out."""
        return self.markdown or "\n\n".join(page.markdown or "" for page in self.pages)

    def save_overlays(self, folder: str | os.PathLike[str], suffix: str = ".png") -> list[Path]:
        """Save every page that was read with its blocks drawn on it: `page-001.png`, ... The paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        read = [page for page in self.pages if page.blocks is not None]
        return [page.save_overlay(folder / f"page-{page.page:03}{suffix}") for page in read]

    def show(self) -> None:
        """Show every page that was read."""
        for page in self.pages:
            if page.blocks is not None:
                page.show()

    def to_rows(self) -> list[dict[str, Any]]:
        """A row for each block: page, order, type, level, text, x1, y1, x2, y2."""
        rows = []
        for page in self.pages:
            for block in page.blocks or []:
                about = {"page": page.page, "order": block.order, "type": block.type, "level": block.level}
                box = dict(zip(("x1", "y1", "x2", "y2"), block.bbox_2d or (None,) * 4, strict=True))
                rows.append({**about, "text": block.text, **box})
        return rows

    def to_pandas(self) -> Any:
        """`to_rows` as a pandas.DataFrame."""
        return table(self.to_rows())

    def to_docling(self, name: str = "document") -> Any:
        """A docling_core DoclingDocument, with pages, places and tables."""
        from qwenvl.results.docling import docling_document

        return docling_document(self, name)
