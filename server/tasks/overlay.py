"""The picture with what was found drawn on it, as a data: URI.

SVG leaves the letters to the viewer, which knows every script. PNG numbers each object as in the answer's list and
spells the label in Latin letters: fonts for every script would be larger than the server.
"""

import base64
import colorsys
import io
from collections.abc import Sequence
from html import escape
from typing import Any, Literal

from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont

from server.geometry import Box, Point
from server.media.view import View

Place = Box | Point | None
"""In pixels of the caller's picture."""


def draw(form: Literal["png", "svg"], view: View, objects: Sequence[dict[str, Any]], places: Sequence[Place]) -> str:
    """The overlay: an SVG at the caller's size over the picture as the model saw it, or a PNG of the latter's size."""
    if form == "svg":
        return _data_uri("image/svg+xml", svg(view, objects, places).encode())
    return _data_uri("image/png", png(view, objects, places))


def svg(view: View, objects: Sequence[dict[str, Any]], places: Sequence[Place]) -> str:
    """Drawn in pixels of the caller's picture."""
    width, height = view.original_wh
    line = max(1.0, max(width, height) / 400)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="{line * 7:.0f}">',
        f'<image href="{escape(view.url)}" width="{width}" height="{height}" preserveAspectRatio="none"/>',
    ]
    for each, place in zip(objects, places, strict=True):
        colour = _hex(_colour(str(each["label"])))
        text = escape(_caption(each))
        if isinstance(place, Box):
            parts.append(
                f'<rect x="{place.x1:.1f}" y="{place.y1:.1f}" width="{place.x2 - place.x1:.1f}" '
                f'height="{place.y2 - place.y1:.1f}" fill="none" stroke="{colour}" stroke-width="{line:.1f}"/>'
            )
            x, y = place.x1, max(place.y1 - line * 2, line * 7)
        elif isinstance(place, Point):
            parts.append(f'<circle cx="{place.x:.1f}" cy="{place.y:.1f}" r="{line * 3:.1f}" fill="{colour}"/>')
            x, y = place.x + line * 4, max(place.y, line * 7)
        else:
            continue
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" stroke="#fff" stroke-width="{line:.1f}" '
            f'paint-order="stroke">{text}</text>'
        )
    return "".join([*parts, "</svg>"])


def png(view: View, objects: Sequence[dict[str, Any]], places: Sequence[Place]) -> bytes:
    """Drawn on the picture as the model saw it."""
    data = base64.b64decode(view.url.partition(",")[2])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    pen = ImageDraw.Draw(image)
    line = max(1, max(image.size) // 400)
    size_px = max(12, line * 7)
    font = ImageFont.load_default(size=size_px)
    for number, (each, place) in enumerate(zip(objects, places, strict=True), start=1):
        colour = _colour(str(each["label"]))
        if isinstance(place, Box):
            box = place.scaled(view.original_wh, image.size)
            pen.rectangle(
                (box.x1, box.y1, max(box.x1, box.x2 - 1), max(box.y1, box.y2 - 1)), outline=colour, width=line
            )
            corner = (box.x1, max(0, box.y1 - 1.4 * size_px - line))
        elif isinstance(place, Point):
            point = place.scaled(view.original_wh, image.size)
            pen.circle((point.x, point.y), line * 3, fill=colour)
            corner = (point.x + line * 4, max(0, point.y - line * 4))
        else:
            continue
        text = f"{number} {anyascii(_caption(each))}"
        pen.text(corner, text, fill=colour, font=font, stroke_width=line, stroke_fill=(255, 255, 255))
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return out.getvalue()


def _caption(found: dict[str, Any]) -> str:
    words = ", ".join(str(words) for words in (found["label"], found.get("sub_label")) if words)
    return "".join(char for char in words if char.isprintable())


def _colour(label: str) -> tuple[int, int, int]:
    """The same for the same label; strong enough to be seen on white."""
    hue = sum(ord(char) * prime for char, prime in zip(label, (31, 101, 7, 57, 89) * 40, strict=False)) % 360
    red, green, blue = colorsys.hls_to_rgb(hue / 360, 0.4, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
