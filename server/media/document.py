"""A document's pages, from the caller's bytes to what the engine is sent. Runs in a decode process.

PDF pages are rendered by PDFium at the size shown, one page a job: PDFium is not thread-safe, and a page that crashes
it costs that page alone. TIFF gives its frames, any other picture is a document of one page. A PDF page's own pixels
are those of `dpi`; its text layer, where it has one, comes along for comparison.
"""

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import pybase64
import pypdfium2 as pdfium
from PIL import Image

from server.errors import MediaTooLarge, MediaUnreadable
from server.media.image import DECODE_ERRORS, Picture, digest, flattened
from server.media.jobs import Part, Result
from server.media.scale import resized
from server.media.sizes import check_aspect_ratio, shown_size
from server.media.sniff import HEAD_BYTES, PICTURES, expect_kind
from server.media.source import decoded
from server.media.view import Size

KINDS = ("PDF", *PICTURES)
POINTS_PER_INCH = 72
LONGEST_TEXT_LAYER = 100_000
"""Characters of a page's text layer that are compared; more is no page."""
PASSWORD = 4  # fpdfview.h: FPDF_ERR_PASSWORD
DIGEST_PAGE = "{digest}-{page}"


def decode(file: BinaryIO, parts: Sequence[Part], options: Mapping[str, Any]) -> Result:
    """The number of pages (`page` is None), or one page, ready to send.

    Options: param, page, dpi, min_pixels, max_pixels, most_pixels, most_bytes.
    """
    data = _read(file, parts[0], options)
    kind = expect_kind(bytes(data[:HEAD_BYTES]), KINDS, param=options["param"], noun="document")
    page = options["page"]
    if kind == "PDF":
        return _pdf(data, page, options)
    if kind == "TIFF":
        return _tiff(data, page, options)
    return Result({"pages": 1}, []) if page is None else _picture(data, options)


def _read(file: BinaryIO, part: Part, options: Mapping[str, Any]) -> bytes | memoryview:
    """The whole file. Read by offset: several processes share the file's position."""
    pieces: list[bytes] = []
    at = 0
    while at < part.bytes and (piece := os.pread(file.fileno(), part.bytes - at, at)):
        pieces.append(piece)
        at += len(piece)
    data = decoded(b"".join(pieces), part.encoding, param=options["param"], noun="document")
    if len(data) > options["most_bytes"]:
        raise MediaTooLarge(
            options["param"], value=len(data), limit=options["most_bytes"], unit="bytes", code="document_too_large"
        )
    return data


# -- PDF -------------------------------------------------------------------------------------------------------------


def _pdf(data: bytes | memoryview, page: int | None, options: Mapping[str, Any]) -> Result:
    try:
        document = pdfium.PdfDocument(bytes(data))
    except pdfium.PdfiumError as exc:
        why = "needs a password" if getattr(exc, "err_code", None) == PASSWORD else "is not a PDF that can be opened"
        raise _unreadable(options, why) from exc
    try:
        if len(document) == 0:
            raise _unreadable(options, "has no pages")
        if page is None:
            return Result({"pages": len(document)}, [])
        return _pdf_page(document, page, digest(data), options)
    except pdfium.PdfiumError as exc:
        raise _unreadable(options, f"has a page {page} that cannot be rendered") from exc
    finally:
        document.close()


def _pdf_page(document: pdfium.PdfDocument, number: int, file_digest: str, options: Mapping[str, Any]) -> Result:
    page = document[number - 1]
    width_pt, height_pt = page.get_size()  # after its own rotation
    if not (width_pt > 0 and height_pt > 0):
        raise _unreadable(options, f"has a page {number} of no size")
    scale = options["dpi"] / POINTS_PER_INCH
    original = max(1, round(width_pt * scale)), max(1, round(height_pt * scale))
    shown = _shown(original, options)
    text = _text_layer(page)
    bitmap = page.render(scale=max(shown[0] / width_pt, shown[1] / height_pt), fill_color=(255, 255, 255, 255))
    image = bitmap.to_pil().convert("RGB")
    facts = _facts(original, shown, number, file_digest)
    return _bmp(image, shown, {**facts, "page_wh_pt": [round(width_pt, 3), round(height_pt, 3)], "text_layer": text})


def _text_layer(page: pdfium.PdfPage) -> str:
    try:
        return str(page.get_textpage().get_text_bounded())[:LONGEST_TEXT_LAYER]
    except (pdfium.PdfiumError, UnicodeError):
        return ""


# -- pictures --------------------------------------------------------------------------------------------------------


def _tiff(data: bytes | memoryview, page: int | None, options: Mapping[str, Any]) -> Result:
    param = options["param"]
    try:
        image = Image.open(io.BytesIO(data), formats=["TIFF"])
        if page is None:
            return Result({"pages": getattr(image, "n_frames", 1)}, [])
        image.seek(page - 1)
        width, height = image.size
        if width * height > options["most_pixels"]:
            what = f"page {page} of {param} ({width}x{height})"
            raise MediaTooLarge(
                param,
                value=width * height,
                limit=options["most_pixels"],
                unit="pixels",
                what=what,
                code="document_too_large",
            )
        image.load()
        upright = flattened(image)
    except DECODE_ERRORS as exc:
        raise _unreadable(options, f"has a page {page} that cannot be read" if page else "cannot be read") from exc
    shown = _shown(upright.size, options)
    return _bmp(upright, shown, _facts(upright.size, shown, page, digest(data)))


def _picture(data: bytes | memoryview, options: Mapping[str, Any]) -> Result:
    picture = Picture(data, most_pixels=options["most_pixels"], param=options["param"])
    shown = _shown(picture.wh, options)
    return _bmp(picture.pixels(shown), shown, _facts(picture.wh, shown, 1, digest(data)))


def _shown(wh: Size, options: Mapping[str, Any]) -> Size:
    check_aspect_ratio(wh, param=options["param"])
    return shown_size(wh, options["min_pixels"], options["max_pixels"])


def _facts(original: Size, shown: Size, page: int, file_digest: str) -> dict[str, Any]:
    return {
        "original_wh": original,
        "shown_wh": shown,
        "page": page,
        "digest": DIGEST_PAGE.format(digest=file_digest, page=page),
    }


def _bmp(image: Image.Image, shown: Size, facts: dict[str, Any]) -> Result:
    buffer = io.BytesIO()
    resized(image, shown).save(buffer, "BMP")
    return Result(facts, [b"data:image/bmp;base64,", pybase64.b64encode(buffer.getbuffer())])


def _unreadable(options: Mapping[str, Any], why: str) -> MediaUnreadable:
    return MediaUnreadable(f"{options['param']} {why}", param=options["param"], code="document_unreadable")
