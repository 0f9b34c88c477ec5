"""A document as docling's DoclingDocument: pages, headings, text, tables and figures, each with its place."""

from html.parser import HTMLParser
from typing import Any

from qwenvl.drawing.marks import in_pixels
from qwenvl.results.document import Block, Document, Page
from qwenvl.results.optional import library

_LABELS = {
    "caption": "caption",
    "footer": "page_footer",
    "header": "page_header",
    "formula": "formula",
    "code": "code",
    "list": "list_item",
    "figure": "picture",
    "chart": "picture",
}


def docling_document(document: Document, name: str) -> Any:
    """The DoclingDocument. Raises ImportError without docling_core."""
    types = library("docling_core.types.doc", "docling", "a DoclingDocument")
    result = types.DoclingDocument(name=name)
    for page in document.pages:
        width, height = page.wh or (1, 1)
        result.add_page(page_no=page.page, size=types.Size(width=width, height=height))
        for block in page.blocks or []:
            _add(result, types, page, block)
    return result


def _add(result: Any, types: Any, page: Page, block: Block) -> None:
    place = _provenance(types, page, block)
    if block.type == "title":
        result.add_heading(text=block.text, level=min(block.level or 1, 6), prov=place)
    elif block.type == "table":
        result.add_table(data=_table(types, block.html), prov=place)
    elif block.type in ("figure", "chart"):
        result.add_picture(prov=place)
    elif block.type == "list":
        group = result.add_list_group()
        for line in block.text.splitlines():
            result.add_list_item(text=line, parent=group, prov=place)
    elif block.type == "formula":
        result.add_formula(text=block.text, prov=place)
    elif block.type == "code":
        result.add_code(text=block.text, prov=place)
    else:
        label = types.DocItemLabel(_LABELS.get(block.type, "text"))
        result.add_text(label=label, text=block.text, prov=place)


def _provenance(types: Any, page: Page, block: Block) -> Any:
    if block.bbox_2d is None:
        return None
    left, top, right, bottom = in_pixels(block.bbox_2d, page.coordinate_space, page.wh or (1, 1))
    box = types.BoundingBox(l=left, t=top, r=right, b=bottom, coord_origin=types.CoordOrigin.TOPLEFT)
    return types.ProvenanceItem(page_no=page.page, bbox=box, charspan=(0, len(block.text)))


def _table(types: Any, html: str) -> Any:
    rows = table_rows(html)
    cells = [
        types.TableCell(
            text=text,
            row_span=rows_down,
            col_span=columns,
            start_row_offset_idx=row,
            end_row_offset_idx=row + rows_down,
            start_col_offset_idx=column,
            end_col_offset_idx=column + columns,
            column_header=heads,
        )
        for row, column, rows_down, columns, heads, text in rows
    ]
    return types.TableData(
        table_cells=cells,
        num_rows=max((cell.end_row_offset_idx for cell in cells), default=0),
        num_cols=max((cell.end_col_offset_idx for cell in cells), default=0),
    )


Cell = tuple[int, int, int, int, bool, str]


def table_rows(html: str) -> list[Cell]:
    """(row, column, rows it spans, columns it spans, whether it heads a column, text) of every cell of a table.

    >>> table_rows("<table><tr><th colspan=2>a</th></tr><tr><td>b<td>c</tr></table>")
    [(0, 0, 1, 2, True, 'a'), (1, 0, 1, 1, False, 'b'), (1, 1, 1, 1, False, 'c')]
    """
    reader = _Cells()
    reader.feed(html)
    reader.close()
    return reader.cells


class _Cells(HTMLParser):
    """Cells with the place that spans above and before them leave."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[Cell] = []
        self._row, self._taken = -1, set[tuple[int, int]]()
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self._row += 1
            self._open = False
        elif tag in ("td", "th"):
            row = max(self._row, 0)
            given = dict(attrs)
            down, across = (_span(given.get(name)) for name in ("rowspan", "colspan"))
            column = 0
            while (row, column) in self._taken:
                column += 1
            self._taken |= {(row + y, column + x) for y in range(down) for x in range(across)}
            self.cells.append((row, column, down, across, tag == "th", ""))
            self._open = True
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            *place, text = self.cells[-1]
            self.cells[-1] = (*place, " ".join(f"{text}{data}".split()))  # type: ignore[assignment]


def _span(value: str | None) -> int:
    return min(max(int(value), 1), 100) if value and value.isascii() and value.isdigit() else 1
