"""A document's Markdown, with tables that run over pages joined into one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from server.tasks.page_html import cell_span
from server.tasks.page_markdown import block_markdown, pipe_table, table_cells
from server.tasks.reading_html import Block

Pages = Sequence[tuple[int, list[Block]]]
"""(page number, its blocks in reading order)."""
_FURNITURE = frozenset({"header", "footer", "page_number", "footnote"})


def joined_tables(pages: Pages) -> tuple[list[dict[str, Any]], str]:
    """(Tables that run over pages, each row with its page; the whole document in Markdown).

    A table goes on when it is the last thing on one page and the first on the next, running heads aside, and has as
    many columns. A first row that repeats the head is left out.

    >>> from server.tasks.reading_html import read_page
    >>> def page(*rows): return read_page("<table>" + "".join(f"<tr><td>{a}</td><td>{b}</td></tr>" for a, b in rows))[0]
    >>> tables, markdown = joined_tables([(1, page(("n", "x"), (1, 2))), (2, page(("n", "x"), (3, 4)))])
    >>> [(row["page"], row["cells"]) for row in tables[0]["rows"]]
    [(1, ['n', 'x']), (1, ['1', '2']), (2, ['3', '4'])]
    >>> markdown
    '| n | x |\\n| --- | --- |\\n| 1 | 2 |\\n| 3 | 4 |'
    """
    runs = _runs(pages)
    tables = [_table(run) for run in runs]
    swallowed = {id(block) for run in runs for _, block in run[1:]}
    written = {
        id(run[0][1]): pipe_table([row["cells"] for row in table["rows"]])
        for run, table in zip(runs, tables, strict=True)
    }
    parts = [
        written.get(id(block)) or block_markdown(block)
        for _, blocks in pages
        for block in blocks
        if id(block) not in swallowed
    ]
    return tables, "\n\n".join(filter(None, parts))


def _runs(pages: Pages) -> list[list[tuple[int, Block]]]:
    runs: list[list[tuple[int, Block]]] = []
    for (before, first), (after, second) in pairwise(pages):
        upper, lower = _body(first), _body(second)
        if after != before + 1 or not upper or not lower:
            continue
        last, next_ = upper[-1], lower[0]
        if _columns(last) and _columns(last) == _columns(next_):
            if runs and runs[-1][-1][1] is last:
                runs[-1].append((after, next_))
            else:
                runs.append([(before, last), (after, next_)])
    return runs


def _table(run: list[tuple[int, Block]]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for page, block in run:
        cells = table_cells(block)
        if rows and cells and cells[0] == rows[0]["cells"]:
            cells = cells[1:]
        rows += [{"page": page, "cells": row} for row in cells]
    return {"pages": [page for page, _ in run], "rows": rows}


def _body(blocks: list[Block]) -> list[Block]:
    return [block for block in blocks if block.type not in _FURNITURE and (block.text or block.type == "table")]


def _columns(block: Block) -> int:
    """Columns of a plain table; 0 for one with merged cells, and for what is no table."""
    if block.type != "table":
        return 0
    cells = list(block.element.iter("td", "th"))
    if any(cell_span(cell, name) > 1 for cell in cells for name in ("colspan", "rowspan")):
        return 0
    return max((len(row) for row in table_cells(block)), default=0)
