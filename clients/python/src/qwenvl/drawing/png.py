"""Marks as pixels, on the picture itself."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from qwenvl.drawing.fonts import Font, runs
from qwenvl.drawing.marks import Mark, line_width

WHITE = (255, 255, 255)


def drawn(picture: Image.Image, marks: Sequence[Mark]) -> tuple[Image.Image, list[str]]:
    """(The picture with its marks, the words that no font here can write: those marks have their number instead).

    >>> image, unwritten = drawn(Image.new("RGB", (100, 60), "white"), [Mark((10, 30, 50, 50), "cat")])
    >>> image.getpixel((10, 40)) == Mark((), "cat").colour, unwritten
    (True, [])
    """
    image = picture.convert("RGB")
    pen = ImageDraw.Draw(image)
    line = line_width(image.size)
    unwritten = []
    for mark in marks:  # all lines first: no box runs through another one's words
        _outline(pen, mark, line)
    for number, mark in enumerate(marks, start=1):
        if not mark.words:
            continue
        pieces = runs(mark.words, line * 6 + 6)
        if pieces is None:
            unwritten.append(mark.words)
            pieces = runs(str(number), line * 6 + 6) or []
        _label(pen, mark, pieces, image.size, line)
    return image, unwritten


def _outline(pen: ImageDraw.ImageDraw, mark: Mark, line: int) -> None:
    if mark.is_point:
        x, y = mark.place
        pen.circle((x, y), line * 3 + 1, fill=WHITE)
        pen.circle((x, y), line * 3, fill=mark.colour)
        return
    x1, y1, x2, y2 = mark.place
    pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=mark.colour, width=line)


def _label(
    pen: ImageDraw.ImageDraw, mark: Mark, pieces: Sequence[tuple[str, Font]], wh: tuple[int, int], line: int
) -> None:
    """White on the mark's colour, above the box where there is room, and always inside the picture."""
    width = sum(pen.textlength(words, font=font) for words, font in pieces)
    height = max(font.getbbox("Ag")[3] for _, font in pieces)
    pad = line
    if mark.is_point:
        x, y = mark.place[0] + line * 2, mark.place[1] - height - 3 * pad - line * 2  # beside what it points at
    else:
        x, y = mark.place[0], mark.place[1] - height - 2 * pad
        if y < 0:
            y = mark.place[1]
    x = max(0.0, min(x, wh[0] - width - 2 * pad))
    y = max(0.0, min(y, wh[1] - height - 2 * pad))
    pen.rectangle((x, y, x + width + 2 * pad, y + height + 2 * pad), fill=mark.colour)
    x += pad
    for words, font in pieces:
        pen.text((x, y + pad), words, font=font, fill=WHITE)
        x += pen.textlength(words, font=font)
