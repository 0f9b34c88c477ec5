"""`/v1/parse-document`: pages as blocks in reading order, as HTML with boxes, and as Markdown."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.geometry import Box, CoordinateSpace, box_numbers, place_box
from server.media.view import View
from server.tasks.document_tables import joined_tables
from server.tasks.inputs import Media
from server.tasks.page_html import block_html, page_html
from server.tasks.page_markdown import block_markdown
from server.tasks.reading import Notice
from server.tasks.reading_html import Block, read_page
from server.tasks.repetition import RepetitionDetector
from server.tasks.task import Ask, MediaKind, Part, Reader, Shown, Task, TaskRequest, TaskResult, first_view, question
from server.tasks.text_layer import compared

PROMPT = "QwenVL HTML"
CAPTION_PROMPT = "QwenVL HTML with image caption"
LOOP_CHARS = 2_000
"""Forms have many empty rows; a page must repeat itself for longer than other answers to count as a loop."""
MAX_TOKENS = 8_192
Output = Literal["html", "markdown", "json"]


class ParseDocumentRequest(TaskRequest):
    """Which pages, and in which forms."""

    document: Media | None = None
    """A PDF or TIFF: URL, data: URI or OpenAI file part. A picture is a document of one page."""
    image: Media | None = None
    """A picture of one page instead."""
    pages: str | None = Field(default=None, pattern=r"^[0-9,\- ]+$", max_length=200)
    """Pages of the document: `1-5,8`. All if left out."""
    output: list[Output] = Field(default=["html", "markdown", "json"], min_length=1)
    """Forms to give; `json` are the blocks."""
    image_captions: bool = False
    """Let the model describe figures."""
    coordinate_space: CoordinateSpace = "pixel"
    """Of `bbox_2d` in blocks; `data-bbox` in HTML is always in pixels of the page."""

    @model_validator(mode="after")
    def _one_input(self) -> "ParseDocumentRequest":
        if (self.image is None) == (self.document is None):
            raise ValueError("give document or image, one of them")
        return self


class DocumentBlock(BaseModel):
    """One piece of a page."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    type: str
    """title, paragraph, list, table, formula, figure, chart, caption, header, footer, address, code, ..."""
    order: int
    """Place in reading order, from 0."""
    bbox_2d: list[float] | None
    bbox_pt: list[float] | None = None
    """The same in points of the page, 1/72 inch, from the top left; for PDF."""
    level: int | None = None
    """1..6, for a title."""
    text: str
    html: str
    supported: bool | None = None
    """Whether the page's own text layer holds these words; null where there is none."""


class TextLayer(BaseModel):
    """A born-digital page's own words beside what the model read."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    present: bool
    overlap: float | None
    """Share, 0..1, of the words that the model wrote which the layer holds."""


class DocumentPage(BaseModel):
    """One page."""

    page: int
    status: Literal["completed", "partial", "failed"]
    width: int | None = None
    height: int | None = None
    html: str | None = None
    markdown: str | None = None
    blocks: list[DocumentBlock] | None = None
    model_input: dict[str, int] | None = None
    text_layer: TextLayer | None = None
    error: dict[str, Any] | None = None


class DocumentResult(TaskResult):
    """A document."""

    pages: list[DocumentPage]
    html: str | None = None
    markdown: str | None = None
    tables: list[dict[str, Any]]
    """Tables that run over several pages, each row with its page."""
    status: Literal["completed", "partial"]
    failed_pages: list[int]


class PageReader(Reader):
    """One page."""

    def __init__(self, request: ParseDocumentRequest, shown: Shown) -> None:
        super().__init__(shown, RepetitionDetector(min_chars=LOOP_CHARS))
        self._request = request
        self.view = first_view(shown)
        self.blocks: list[Block] = []
        self.page: dict[str, Any] = {}

    def read(self, text: str) -> list[dict[str, Any]]:
        return []

    def end(self) -> list[dict[str, Any]]:
        blocks, notices = read_page(self.good_text)
        if blocks is None:
            raise self.unreadable("holds no HTML")
        self.warnings += notices
        self.blocks = [block for block in blocks if block.text or block.box]
        self.page = self._written()
        return [self.page]

    def _written(self) -> dict[str, Any]:
        request, view = self._request, self.view
        outputs = [self._block(order, block) for order, block in enumerate(self.blocks)]
        page: dict[str, Any] = {
            "page": view.page or 1,
            "status": "completed" if self.finish_reason == "stop" else "partial",
            "width": view.original_wh[0],
            "height": view.original_wh[1],
            "model_input": {"width": view.shown_wh[0], "height": view.shown_wh[1]},
        }
        layer = getattr(view, "text_layer", None)
        if layer is not None:
            page["text_layer"] = compared(layer, outputs, self.warnings)
        if "html" in request.output:
            page["html"] = page_html(block["html"] for block in outputs)
        if "markdown" in request.output:
            page["markdown"] = "\n\n".join(filter(None, map(block_markdown, self.blocks)))
        if "json" in request.output:
            page["blocks"] = outputs
        return page

    def _block(self, order: int, block: Block) -> dict[str, Any]:
        view = self.view
        placed = self._place(block.box, block.text)
        written: dict[str, Any] = {
            "type": block.type,
            "order": order,
            "bbox_2d": placed and box_numbers(placed, view.original_wh, self._request.coordinate_space),
        }
        if view.page_wh_pt is not None:
            written["bbox_pt"] = placed and _points(placed, view)
        if block.level is not None:
            written["level"] = block.level
        return {**written, "text": block.text, "html": block_html(block, self._data_bbox)}

    def _place(self, box: Box | None, what: str) -> Box | None:
        if box is None:
            return None
        placed, done = place_box(box, self.view.shown_wh, self.view.original_wh)
        for code in done:
            self.warnings.append(Notice(code, what[:80], "the box was left out" if placed is None else "corrected"))
        return placed

    def _data_bbox(self, box: Box) -> str | None:
        placed, _ = place_box(box, self.view.shown_wh, self.view.original_wh)
        return " ".join(map(str, box_numbers(placed, self.view.original_wh, "pixel"))) if placed else None


class ParseDocument(Task[ParseDocumentRequest]):
    """See the module."""

    name = "parse-document"
    object = "document"
    summary = "Turn pages into blocks in reading order, HTML with boxes, and Markdown."
    inputs: ClassVar[dict[str, MediaKind]] = {"document": "document", "image": "image"}
    request = ParseDocumentRequest
    result_model = DocumentResult
    allows_failed_parts = True

    def ask(self, request: ParseDocumentRequest, shown: Shown) -> Ask:
        return Ask(question(shown, CAPTION_PROMPT if request.image_captions else PROMPT), {"max_tokens": MAX_TOKENS})

    def reader(self, request: ParseDocumentRequest, shown: Shown) -> PageReader:
        return PageReader(request, shown)

    def result(self, request: ParseDocumentRequest, parts: Sequence[Part]) -> dict[str, Any]:
        pages = [_page(part, number) for number, part in enumerate(parts, start=1)]
        readers = [part.reader for part in parts if isinstance(part.reader, PageReader) and part.reader.page]
        failed = [page["page"] for page in pages if page["status"] == "failed"]
        whole = all(page["status"] == "completed" for page in pages)
        tables, markdown = joined_tables([(reader.view.page or 1, reader.blocks) for reader in readers])
        result: dict[str, Any] = {
            "pages": pages,
            "tables": tables,
            "status": "completed" if whole else "partial",
            "failed_pages": failed,
        }
        if "html" in request.output:
            result["html"] = "\n".join(page["html"] for page in pages if page.get("html"))
        if "markdown" in request.output:
            result["markdown"] = markdown
        return result


def _page(part: Part, number: int) -> dict[str, Any]:
    if isinstance(part.reader, PageReader) and part.reader.page:
        return part.reader.page
    assert part.failure is not None
    return {"page": part.about or number, "status": "failed", "error": part.failure.body()["error"]}


def _points(box: Box, view: View) -> list[float]:
    assert view.page_wh_pt is not None
    x, y = (points / pixels for points, pixels in zip(view.page_wh_pt, view.original_wh, strict=True))
    return [round(value, 2) for value in (box.x1 * x, box.y1 * y, box.x2 * x, box.y2 * y)]
