"""Photo-like pictures from a seed: octaves of noise with the falling spectrum of photographs, shapes, edges and text.

No photograph is in the repository, so that anyone may have these at any size. Same size, kind and seed: same pixels.
"""

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of photo is drawn; octaves are named by the size of their grain in pixels."""

    fine: tuple[float, float, float]
    """Share of new noise at grains of 1, 2 and 4 pixels."""
    coarse: float
    """The same at every coarser grain."""
    shapes: int
    text_lines: int
    paper: bool = False


KINDS: Mapping[str, Kind] = {
    "landscape": Kind(fine=(0.03, 0.05, 0.08), coarse=0.2, shapes=12, text_lines=0),
    "foliage": Kind(fine=(0.06, 0.12, 0.2), coarse=0.3, shapes=0, text_lines=0),
    "street": Kind(fine=(0.03, 0.04, 0.06), coarse=0.15, shapes=80, text_lines=24),
    "document": Kind(fine=(0.015, 0.01, 0.01), coarse=0.03, shapes=4, text_lines=60, paper=True),
    "night": Kind(fine=(0.08, 0.06, 0.05), coarse=0.1, shapes=30, text_lines=4),
}
COARSEST_PX = 8
WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "0123456789",
    "Total",
    "47.11 EUR",
    "Straße",
)


def photo(wh: Size, kind: str = "landscape", seed: int = 0) -> Image.Image:
    """A picture of mode RGB."""
    style = KINDS[kind]
    rng = random.Random(f"{kind} {seed}")
    image = _noise(wh, style, rng)
    draw = ImageDraw.Draw(image)
    _draw_shapes(draw, wh, style.shapes, rng)
    _draw_text(draw, wh, style, rng)
    return image


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """As a camera writes it: chroma at half resolution."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def size_of(megapixels: float, ratio: float = 4 / 3) -> Size:
    """Width and height of a sensor.

    >>> size_of(12), size_of(24, 3 / 2)
    ((4000, 3000), (6000, 4000))
    """
    height = round((megapixels * 1e6 / ratio) ** 0.5)
    return round(height * ratio), height


def _noise(wh: Size, style: Kind, rng: random.Random) -> Image.Image:
    """From coarse to fine, each octave drawn over the one before."""
    octave = 0
    while min(wh) >> (octave + 1) >= COARSEST_PX:
        octave += 1
    image: Image.Image | None = None
    for level in range(octave, -1, -1):
        level_wh = (max(1, wh[0] >> level), max(1, wh[1] >> level))
        noise = Image.frombytes("RGB", level_wh, rng.randbytes(level_wh[0] * level_wh[1] * 3))
        if image is None:
            image = Image.new("RGB", level_wh, (225, 222, 214)) if style.paper else noise
        share = style.fine[level] if level < len(style.fine) else style.coarse
        image = Image.blend(image.resize(level_wh, Image.Resampling.BICUBIC), noise, share)
    assert image is not None
    return image


def _draw_shapes(draw: ImageDraw.ImageDraw, wh: Size, count: int, rng: random.Random) -> None:
    for index in range(count):
        x, y = rng.randrange(wh[0]), rng.randrange(wh[1])
        side = rng.randrange(4, max(5, min(wh) // 5))
        colour = tuple(rng.randrange(256) for _ in range(3))
        if index % 3 == 0:
            draw.ellipse([x, y, x + side, y + side * rng.uniform(0.3, 1)], fill=colour)
        elif index % 3 == 1:
            draw.rectangle([x, y, x + side * rng.uniform(0.2, 1), y + side], fill=colour)
        else:
            end = (rng.randrange(wh[0]), rng.randrange(wh[1]))
            draw.line([(x, y), end], fill=colour, width=max(1, min(wh) // 300))


def _draw_text(draw: ImageDraw.ImageDraw, wh: Size, style: Kind, rng: random.Random) -> None:
    if not style.text_lines:
        return
    size_px = max(9, wh[1] // (style.text_lines * 2 if style.paper else 45))
    font = ImageFont.load_default(size_px)
    for line in range(style.text_lines):
        text = " ".join(rng.choice(WORDS) for _ in range(12 if style.paper else 3))
        x = wh[0] // 12 if style.paper else rng.randrange(wh[0])
        y = wh[1] * line // style.text_lines if style.paper else rng.randrange(wh[1])
        ink = (38, 36, 44) if style.paper else tuple(rng.randrange(256) for _ in range(3))
        draw.text((x, y), text, fill=ink, font=font)
