"""Marks as SVG over the picture, which is inside the file: one file that any browser opens."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from qwenvl.drawing.marks import Mark, line_width


def drawn(picture: Image.Image, marks: Sequence[Mark]) -> str:
    """The SVG, at the picture's size.

    >>> svg = drawn(Image.new("RGB", (100, 60)), [Mark((10, 30, 50, 50), "<cat>")])
    >>> '<rect x="10" y="30" width="40" height="20"' in svg, "&lt;cat&gt;" in svg
    (True, True)
    """
    width, height = picture.size
    line = line_width(picture.size)
    font = line * 6 + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="{font}">',
        f'<image href="{_jpeg(picture)}" width="{width}" height="{height}"/>',
    ]
    for mark in marks:
        colour = "#{:02x}{:02x}{:02x}".format(*mark.colour)
        if mark.is_point:
            x, y = mark.place
            parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{line * 3}" fill="{colour}" stroke="#fff"/>')
            x, y = x + line * 4, y + font / 3
        else:
            x1, y1, x2, y2 = mark.place
            parts.append(
                f'<rect x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}" fill="none" '
                f'stroke="{colour}" stroke-width="{line}"/>'
            )
            x, y = x1, y1 - line * 1.5 if y1 > font * 1.3 else y1 + font
        words = "".join(letter for letter in mark.words if letter.isprintable())
        parts.append(
            f'<text x="{x:g}" y="{y:g}" fill="{colour}" stroke="#fff" stroke-width="{line * 1.5:g}" '
            f'paint-order="stroke">{escape(words)}</text>'
        )
    return "".join([*parts, "</svg>\n"])


def _jpeg(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
