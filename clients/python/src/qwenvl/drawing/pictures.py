"""The picture that a result is drawn on, turned as its EXIF says: the server counts pixels after that turn."""

import io

from PIL import Image, ImageOps

from qwenvl.errors import ConnectionFailedError
from qwenvl.inputs import Remote, Source, data_bytes

FETCH_TIMEOUT_S = 30


def picture_of(source: Source, wh: tuple[int, int] | None = None, page: int = 1) -> Image.Image:
    """The picture, or page of a PDF, at the size that the result's pixels count.

    Raises ImportError for a PDF without pypdfium2, ConnectionFailedError for a URL that gives nothing.
    """
    data = _bytes(source)
    if data.startswith(b"%PDF-"):
        picture = _pdf_page(data, page, wh)
    else:
        with Image.open(io.BytesIO(data)) as opened:
            if page > 1 and getattr(opened, "n_frames", 1) >= page:
                opened.seek(page - 1)
            picture = ImageOps.exif_transpose(opened)
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture.convert("RGBA"))
        picture = picture.convert("RGB")
    return picture if wh is None or picture.size == wh else picture.resize(wh)


def _bytes(source: Source) -> bytes:
    if not isinstance(source, Remote):
        return source.read()
    if source.url.startswith("data:"):
        return data_bytes(source.url)
    import httpx2

    try:
        answer = httpx2.get(source.url, timeout=FETCH_TIMEOUT_S, follow_redirects=True)
        answer.raise_for_status()
    except httpx2.HTTPError as exc:
        raise ConnectionFailedError(f"the picture could not be fetched again to be drawn on: {exc}") from exc
    return answer.content


def _pdf_page(data: bytes, page: int, wh: tuple[int, int] | None) -> Image.Image:
    try:
        import pypdfium2
    except ImportError as exc:
        raise ImportError("drawing on the pages of a PDF needs pypdfium2: pip install 'qwenvl[pdf]'") from exc
    document = pypdfium2.PdfDocument(data)
    try:
        opened = document[page - 1]
        scale = wh[0] / opened.get_width() if wh else 2.0
        return opened.render(scale=scale).to_pil().convert("RGB")  # type: ignore[no-any-return,unused-ignore]
    finally:
        document.close()
