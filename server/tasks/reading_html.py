"""QwenVL HTML, read leniently: fences and prose around it, lost closers, a cut-off end, boxes missing or malformed.

A page is a flat list of blocks in reading order: `<h2 data-bbox="x1 y1 x2 y2">`, `<p>`, `<div class="image">`,
`<div class="formula">`, `<table>`, `<ol>`, `<address>`; boxes stay as written, in pixels of the page that was shown. A
block that a lost closer put inside another one is taken out again. Ordinary HTML without boxes is read the same way.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from lxml import etree

from server.geometry import Box
from server.tasks.reading import Notice
from server.tasks.reading_boxes import read_numbers

Element = etree._Element

CONTAINERS = frozenset(
    {"html", "body", "div", "section", "article", "main", "header", "footer", "form", "center", "nav"}
)
DROPPED = frozenset({"head", "script", "style", "title", "meta", "link", "noscript", "template", "iframe", "object"})
BLOCK_TAGS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "div", "table", "ul", "ol", "address", "pre",
                        "figure", "blockquote", "caption", "figcaption", "dl"})  # fmt: skip
INLINE = frozenset({"a", "b", "strong", "i", "em", "u", "s", "sub", "sup", "br", "span", "code", "img", "li", "tr",
                     "td", "th", "thead", "tbody", "tfoot", "colgroup", "col", "hr", "button", "input", "label", "dt",
                     "dd", "small", "mark"})  # fmt: skip
_KNOWN = "|".join(sorted(CONTAINERS | DROPPED | BLOCK_TAGS | INLINE, key=len, reverse=True))
_TAG = re.compile(rf"</?(?:{_KNOWN})(?=[\s/>])", re.IGNORECASE)
_STRAY = re.compile(rf"<(?!/?(?:{_KNOWN})(?:[\s/>]|$)|!--|!doctype)", re.IGNORECASE)
_CUT_TAG = re.compile(rf"<(?:/?[a-z]{{0,12}}|!-{{0,2}}[^<>]*|/?(?:{_KNOWN})\s[^<>]*)", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # XML has no place for them
_END = re.compile(r"</\s*html\s*>", re.IGNORECASE)
_FENCE = re.compile(r"^\s{0,8}```", re.MULTILINE)
MAX_BLOCKS = 5_000
"""Blocks read from one page; the longest answer that a request may ask for holds fewer."""
_MAX_ABOVE = 4
_TAG_TYPES = {"p": "paragraph", "div": "paragraph", "table": "table", "ul": "list", "ol": "list", "dl": "list",
              "address": "address", "pre": "code", "figure": "figure", "blockquote": "paragraph", "img": "figure",
              "caption": "caption", "figcaption": "caption", "header": "header", "footer": "footer"}  # fmt: skip
_CLASS_TYPES = (("chart", "chart"), ("chemical", "chemical_formula"), ("formula", "formula"), ("music", "music_sheet"),
                ("image", "figure"), ("figure", "figure"), ("caption", "caption"), ("header", "header"),
                ("footer", "footer"), ("table", "table"), ("footnote", "footnote"),
                ("page-number", "page_number"))  # fmt: skip
_PARSER = etree.HTMLParser(encoding="utf-8", recover=True, remove_comments=True, remove_pis=True)


@dataclass(slots=True)
class Block:
    """One piece of a page."""

    type: str
    """title, paragraph, list, table, formula, figure, chart, caption, header, footer, address, code, ..."""
    text: str
    """Its words, lines kept; LaTeX for a formula, the caption for a figure."""
    element: Element
    """Its markup as parsed; `page_html` and `page_markdown` write it out."""
    box: Box | None = None
    level: int | None = None
    """1..6 for a title."""
    codes: list[str] = field(default_factory=list)


def read_page(answer: str) -> tuple[list[Block] | None, list[Notice]]:
    """Blocks of a page in reading order; None if the answer holds no HTML at all.

    >>> blocks, _ = read_page('```html\\n<html><body><h2 data-bbox="1 2 30 40">A</h2><p data-bbox="1 5 3 6">x < y')
    >>> [(block.type, block.text, block.box) for block in blocks]
    [('title', 'A', Box(x1=1.0, y1=2.0, x2=30.0, y2=40.0)), ('paragraph', 'x < y', Box(x1=1.0, y1=5.0, x2=3.0, y2=6.0))]
    >>> read_page("I cannot read this page.")
    (None, [])
    """
    markup, whole = _markup(answer)
    root = _parsed(markup)
    if root is None:
        return None, []
    blocks = [block for block in islice(_blocks(root), MAX_BLOCKS) if block.text or block.box is not None]
    notices: list[Notice] = []
    if len(blocks) == MAX_BLOCKS:
        notices.append(Notice("answer_too_long", None, "the rest was not read"))
    for block in blocks:
        notices += [Notice(code, block.text[:80], "the box was left out") for code in block.codes]
    if blocks and not whole:
        notices.append(Notice("cut_off", blocks[-1].text[-80:], "kept as far as it goes"))
    return blocks, notices


def _markup(answer: str) -> tuple[str, bool]:
    """The HTML in an answer with stray `<` escaped, and whether its end is there."""
    first = _TAG.search(answer)
    if first is None:
        return "", False
    text = _CONTROL.sub("", answer[first.start() :])
    end = _END.search(text)
    if end is not None:
        return _STRAY.sub("&lt;", text[: end.start()]), True
    fence = _FENCE.search(text)
    text = text[: fence.start()] if fence else text
    opened = text.rfind("<")
    if opened >= 0 and _CUT_TAG.fullmatch(text, opened):
        text = text[:opened]
    return _STRAY.sub("&lt;", text), fence is not None


def _parsed(markup: str) -> Element | None:
    """The tree; None for nothing but closers."""
    root: Element | None = etree.fromstring(markup.encode("utf-8", "replace"), _PARSER) if markup else None
    return root


def _blocks(element: Element) -> Iterator[Block]:
    yield from _loose(element.text, element)
    for child in list(element):
        if child.tag in DROPPED:
            pass
        elif child.tag in CONTAINERS and _is_container(child):
            yield from _blocks(child)
        else:
            inner = _taken_out(child)
            yield _block(child)
            for each in inner:
                yield from _blocks(each)
        yield from _loose(child.tail, element)


def _is_container(element: Element) -> bool:
    """Whether an element only holds blocks together and is none itself."""
    if element.tag in {"html", "body"}:
        return True
    if (
        element.get("data-bbox")
        or element.get("data-polygon")
        or _class_type(element) not in {None, "header", "footer"}
    ):
        return False
    return any(child.tag in BLOCK_TAGS or child.tag in CONTAINERS for child in element)


def _taken_out(block: Element) -> list[Element]:
    """Blocks with a box of their own that stand inside this one, removed from it, each under a new parent."""
    own = block.get("data-bbox")
    found: list[Element] = []
    for each in block.iter(*BLOCK_TAGS):
        boxed = each is not block and each.get("data-bbox") not in (None, own)
        if boxed and not any(above is not block and above.get("data-bbox") not in (None, own)
                             for above in islice(each.iterancestors(), _MAX_ABOVE)):  # fmt: skip
            found.append(each)
    holders = []
    for each in found:
        parent, before, tail = each.getparent(), each.getprevious(), each.tail
        assert parent is not None
        parent.remove(each)
        each.tail = None
        if tail and before is not None:
            before.tail = (before.tail or "") + tail
        elif tail:
            parent.text = (parent.text or "") + tail
        holder = etree.Element("body")
        holder.append(each)
        holders.append(holder)
    return holders


def _loose(text: str | None, near: Element) -> Iterator[Block]:
    """Words that stand in no block are a paragraph without a box."""
    words = " ".join((text or "").split())
    if words and near.tag not in DROPPED:
        element = etree.Element("p")
        element.text = words
        yield Block("paragraph", words, element)


def _block(element: Element) -> Block:
    kind = _type(element)
    level = int(element.tag[1]) if kind == "title" else None
    block = Block(kind, _words(element, kind), element, level=level)
    written = element.get("data-bbox") or element.get("data-polygon") or _inner_box(element)
    if written is not None:
        block.box = read_box(written)
        if block.box is None:
            block.codes.append("box_numbers")
    elif (
        boxes := [box for each in element.iter("li", "tr", "td") if (box := read_box(each.get("data-bbox", "")))]
    ) != []:
        block.box = boxes[0]
        for box in boxes[1:]:
            block.box = block.box.union(box)
    return block


def _inner_box(element: Element) -> str | None:
    return next((each.get("data-bbox") for each in element.iter("img") if each.get("data-bbox")), None)


def read_box(written: str) -> Box | None:
    """The box of a `data-bbox` or `data-polygon`, None for what is none.

    >>> read_box("1, 2, 3, 4"), read_box("1 2 3"), read_box("0 0 4 0 4 3 0 3")
    (Box(x1=1.0, y1=2.0, x2=3.0, y2=4.0), None, Box(x1=0.0, y1=0.0, x2=4.0, y2=3.0))
    """
    numbers = read_numbers(written)
    if len(numbers) == 4:
        return Box(*numbers)
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        return Box(min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))
    return None


def _class_type(element: Element) -> str | None:
    name = element.get("class", "").lower()
    return next((kind for word, kind in _CLASS_TYPES if word in name), None) if name else None


def _type(element: Element) -> str:
    if re.fullmatch("h[1-6]", element.tag):
        return "title"
    return _class_type(element) or _TAG_TYPES.get(element.tag, "paragraph")


def _words(element: Element, kind: str) -> str:
    """The words of a block, one line for each list item, row or `<br>`."""
    if kind == "table":
        return "\n".join(" | ".join(plain_text(cell) for cell in row.iter("td", "th")) for row in element.iter("tr"))
    if kind == "list":
        return "\n".join(plain_text(item) for item in element.iter("li", "dt", "dd"))
    if kind == "code":
        return "".join(map(str, element.itertext())).strip("\n")
    words = plain_text(element)
    if kind in {"figure", "chart"} and not words:
        return next((image.get("alt", "").strip() for image in element.iter("img")), "")
    return words


def plain_text(element: Element) -> str:
    """Words without markup, white space collapsed, `<br>` as a line's end."""
    lines: list[list[str]] = [[]]
    for event, each in etree.iterwalk(element, events=("start", "end")):
        if event == "start":
            if each.tag == "br":
                lines.append([])
            if each.tag not in DROPPED:
                lines[-1].append(each.text or "")
        elif each is not element:
            lines[-1].append(("" if each.tag not in BLOCK_TAGS else " ") + (each.tail or ""))
    return "\n".join(" ".join("".join(line).split()) for line in lines).strip()
