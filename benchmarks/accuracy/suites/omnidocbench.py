"""A folder in OmniDocBench's shape: `OmniDocBench.json` and the pages' pictures in `images/`.

Of each page's `layout_dets` those are taken that are not marked `ignore` and whose category is part of the page's
content; boxes are the rectangles around `poly`, the text is `text`, or the words of `html`, or `latex`.
"""

import logging
import re
from collections.abc import Iterator
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import orjson

from benchmarks.accuracy.items import Fields, Item
from benchmarks.accuracy.suites.coco import file_uri

log = logging.getLogger(__name__)

LEFT_OUT = re.compile(r"abandon|mask$")
"""Categories that are no content, or hide some."""
TYPES = {
    "title": "title",
    "table": "table",
    "figure": "figure",
    "equation_isolated": "formula",
    "header": "header",
    "footer": "footer",
    "page_number": "page_number",
    "page_footnote": "footnote",
    "code_txt": "code",
}
"""Category -> type in our answers; captions and footnotes of things are captions, all others paragraphs."""


def items(data: Path, limit: int | None = None) -> Iterator[Item]:
    """One question a page. Raises FileNotFoundError, and ValueError for a folder of another shape."""
    file = data / "OmniDocBench.json"
    if not file.is_file():
        raise FileNotFoundError(f"{data} has no OmniDocBench.json")
    pages = orjson.loads(file.read_bytes())
    if not isinstance(pages, list) or not all("layout_dets" in page and "page_info" in page for page in pages):
        raise ValueError(f"{file} is not in OmniDocBench's shape: a list of pages with layout_dets and page_info")
    missing = given = 0
    for page in pages:
        info = page["page_info"]
        path = next((at for at in (data / "images", data) if (at / info["image_path"]).is_file()), None)
        if path is None:
            missing += 1
            continue
        if limit is not None and given == limit:
            break
        given += 1
        wh = [info["width"], info["height"]]
        truth: Fields = {"wh": wh, "blocks": [block_of(each) for each in content(page["layout_dets"])]}
        source = (info.get("page_attribute") or {}).get("data_source", "")
        item_id = f"page-{info['image_path']}"
        ask = partial(body, path / info["image_path"])
        yield Item(item_id, "page", "/v1/parse-document", ask, truth, {"wh": wh, "source": source})
    if missing:
        log.warning("%d pages that %s names have no picture: left out", missing, file.name)


def content(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What belongs to the page, in reading order; what has no place in it comes last."""
    kept = [each for each in found if not each.get("ignore") and not LEFT_OUT.search(each["category_type"])]
    return sorted(kept, key=lambda each: (each.get("order") is None, each.get("order") or 0))


def block_of(found: dict[str, Any]) -> Fields:
    """
    >>> block_of({"category_type": "title", "poly": [1, 2, 30, 2, 30, 9, 1, 9], "text": "A  title"})
    {'type': 'title', 'bbox': [1, 2, 30, 9], 'text': 'A  title'}
    >>> block_of({"category_type": "table", "poly": [0, 0, 1, 1], "html": "<tr><td>a &amp; b</td><td>c</td>"})["text"]
    'a & b c'
    """
    xs, ys = found["poly"][0::2], found["poly"][1::2]
    category = found["category_type"]
    text = found.get("text") or words(found.get("html") or "") or found.get("latex") or ""
    kind = TYPES.get(category, "caption" if category.endswith(("_caption", "_footnote")) else "paragraph")
    return {"type": kind, "bbox": [min(xs), min(ys), max(xs), max(ys)], "text": text}


def words(html: str) -> str:
    """
    >>> words("<tr><td>1</td><td>two&nbsp;</td></tr>")
    '1 two'
    """
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def body(path: Path) -> Fields:
    return {"image": file_uri(path)}
