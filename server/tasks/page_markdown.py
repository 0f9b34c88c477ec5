"""Writes blocks of a page as Markdown: headings, lists, pipe tables, `$$` formulas; merged cells stay HTML.

What Markdown has no word for (a figure) gives its caption and nothing invented.
"""

import re

from server.tasks.page_html import block_html, cell_span, safe_link
from server.tasks.reading_html import Block, Element, plain_text

_MARKS = {"b": "**", "strong": "**", "i": "*", "em": "*", "s": "~~", "code": "`"}
_KEPT = frozenset({"sub", "sup", "u"})
_TAG_LIKE = re.compile(r"<(?=[A-Za-z/!])")  # a page that shows code must not become markup
_STARTS_A_BLOCK = re.compile(r"^(#{1,6}\s|>\s?|[-+*]\s|\d{1,9}[.)]\s)", re.MULTILINE)


def block_markdown(block: Block) -> str:
    """One block, without blank lines around it; empty for one that has no words.

    >>> from server.tasks.reading_html import read_page
    >>> blocks, _ = read_page("<h2>A</h2><ul><li>b</li></ul><table><tr><td>1</td><td>2</td></tr></table>")
    >>> [block_markdown(block) for block in blocks]
    ['## A', '- b', '| 1 | 2 |\\n| --- | --- |']
    """
    element = block.element
    if block.type == "title":
        return f"{'#' * (block.level or 1)} {_one_line(inline(element))}" if block.text else ""
    if block.type in {"formula", "chemical_formula"}:
        return block.text if "$" in block.text or not block.text else f"$$\n{block.text}\n$$"
    if block.type == "code":
        fence = "````" if "```" in block.text else "```"
        return f"{fence}\n{block.text}\n{fence}"
    if element.tag == "table" or (block.type == "table" and element.find(".//tr") is not None):
        return table_markdown(block)
    if element.tag in {"ul", "ol"}:
        return list_markdown(element)
    if block.type in {"figure", "chart", "music_sheet"}:
        return f"*{_one_line(block.text)}*" if block.text else ""
    return _STARTS_A_BLOCK.sub(lambda match: "\\" + match[0], inline(element))


def table_markdown(block: Block) -> str:
    """Pipes where every cell is one cell; HTML where cells are merged or hold tables."""
    cells = list(block.element.iter("td", "th"))
    merged = any(cell_span(cell, name) > 1 for cell in cells for name in ("colspan", "rowspan"))
    if merged or block.element.find(".//table") is not None:
        return block_html(block, lambda _: None)
    return pipe_table(table_cells(block)) if cells else block.text


def table_cells(block: Block) -> list[list[str]]:
    """Rows of cells in Markdown, a line each."""
    rows = ([_one_line(inline(cell)) for cell in row.iter("td", "th")] for row in block.element.iter("tr"))
    return [row for row in rows if row]


def pipe_table(rows: list[list[str]]) -> str:
    """
    >>> pipe_table([["a|b"], ["1", "2"]])
    '| a\\\\|b |  |\\n| --- | --- |\\n| 1 | 2 |'
    """
    width = max(map(len, rows))
    lines = [_row([cell.replace("|", "\\|") for cell in row], width) for row in rows]
    return "\n".join([lines[0], _row(["---"] * width, width), *lines[1:]])


def list_markdown(element: Element, indent: str = "") -> str:
    """Items of a list, nested ones indented."""
    lines: list[str] = []
    for number, item in enumerate((child for child in element if child.tag == "li"), start=1):
        mark = f"{number}." if element.tag == "ol" else "-"
        lines.append(f"{indent}{mark} {_one_line(inline(item))}".rstrip())
        inner = indent + " " * (len(mark) + 1)
        lines += [list_markdown(child, inner) for child in item if child.tag in {"ul", "ol"}]
    return "\n".join(lines) or plain_text(element)


def inline(element: Element) -> str:
    """The words of an element with emphasis, links and line ends; lists inside it are left to `list_markdown`."""
    parts: list[str] = []
    _inline(element, parts)
    lines = "".join(parts).split("\0")
    return "\n".join(" ".join(line.split()) for line in lines).strip()


def _inline(element: Element, parts: list[str]) -> None:
    parts.append(_words(element.text))
    for child in element:
        if child.tag == "br":
            parts.append("\0")
        elif child.tag == "a" and (link := safe_link(child)):
            parts.append("[")
            _inline(child, parts)
            parts.append(f"]({link.replace(' ', '%20').replace(')', '%29')})")
        elif child.tag in _MARKS:
            words = inline(child)
            parts.append(f"{_MARKS[child.tag]}{words}{_MARKS[child.tag]}" if words else "")
        elif child.tag in _KEPT:
            parts.append(f"<{child.tag}>{inline(child)}</{child.tag}>")
        elif child.tag not in {"ul", "ol", "script", "style"}:
            _inline(child, parts)
            parts.append(" " if child.tag in {"p", "div", "td", "th"} else "")
        parts.append(_words(child.tail))


def _words(text: str | None) -> str:
    return _TAG_LIKE.sub("&lt;", text or "").replace("\0", "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _row(cells: list[str], width: int) -> str:
    return "| " + " | ".join(cells + [""] * (width - len(cells))) + " |"
