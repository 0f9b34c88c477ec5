"""Writes blocks of a page as QwenVL HTML: well-formed, and safe to show.

Only known tags and attributes are written and every word is escaped, so that nothing a page or a model says can run in
a browser: no scripts, styles, event handlers, frames or links other than http(s) and mailto. Boxes are those of the
caller's page.
"""

from collections.abc import Callable, Iterable
from html import escape

from server.geometry import Box
from server.tasks.reading_html import BLOCK_TAGS, DROPPED, INLINE, Block, Element, read_box

Place = Callable[[Box], str | None]
"""A box in pixels of the page that was shown, as the text of a `data-bbox`; None where it lies outside."""

_WRITTEN = (BLOCK_TAGS | INLINE) - {"button", "input", "label", "small", "mark", "colgroup", "col"}
_VOID = frozenset({"br", "img", "hr"})
_CELL_ATTRIBUTES = ("colspan", "rowspan")
_MAX_SPAN = 1000


def block_html(block: Block, place: Place) -> str:
    """One block.

    >>> from server.tasks.reading_html import read_page
    >>> blocks, _ = read_page('<p data-bbox="1 2 3 4" onclick="x()">a <b>b</b> &amp; <script>c</script></p>')
    >>> block_html(blocks[0], lambda box: "10 20 30 40")
    '<p data-bbox="10 20 30 40">a <b>b</b> &amp; </p>'
    """
    parts: list[str] = []
    _write(block.element, block.box, place, parts)
    return "".join(parts)


def page_html(blocks: Iterable[str]) -> str:
    """Blocks, written already, as one page in Qwen's frame."""
    return "<html><body>\n" + "".join(f"{block}\n" for block in blocks) + "</body></html>"


def _write(element: Element, box: Box | None, place: Place, parts: list[str]) -> None:
    """`element` without its tail; tags that are not written give up their words."""
    tag = element.tag if element.tag in _WRITTEN else ""
    if tag:
        parts.append(f"<{tag}{_attributes(element, box, place)}>")
    if tag not in _VOID:
        parts.append(escape(element.text or "", quote=False))
        for child in element:
            if child.tag not in DROPPED:
                _write(child, read_box(child.get("data-bbox", "")), place, parts)
            parts.append(escape(child.tail or "", quote=False))
        if tag:
            parts.append(f"</{tag}>")


def _attributes(element: Element, box: Box | None, place: Place) -> str:
    kept: list[tuple[str, str]] = []
    if name := element.get("class"):
        kept.append(("class", name))
    if box is not None and (where := place(box)):
        kept.append(("data-bbox", where))
    if element.tag in {"td", "th"}:
        kept += [(name, str(span)) for name in _CELL_ATTRIBUTES if (span := cell_span(element, name)) > 1]
    if element.tag == "img" and (alt := element.get("alt")):
        kept.append(("alt", alt))
    if element.tag == "a" and (link := safe_link(element)):
        kept.append(("href", link))
    return "".join(f' {name}="{escape(value)}"' for name, value in kept)


def cell_span(cell: Element, name: str) -> int:
    """`colspan` or `rowspan`, 1 where it is none."""
    written = cell.get(name, "").strip()
    return min(int(written), _MAX_SPAN) if written.isdecimal() and len(written) <= 4 and int(written) > 0 else 1


def safe_link(element: Element) -> str | None:
    """The address of a link that is one of the web or of mail."""
    link = element.get("href", "").strip()
    return link if link.lower().startswith(("http://", "https://", "mailto:")) else None
