"""Pictures, pages, screens and clips to send, made on the spot from a seed; each one's pixels are unique unless asked
otherwise, because servers keep what they have seen. Or pictures from a folder of one's own.
"""

import base64
import functools
import io
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks.photos import jpeg, photo
from demo.files import save_mp4
from demo.papers import page, screen

Size = tuple[int, int]
BASES = 3
"""Photos drawn for a size; the others are these with marks of their own."""
MARKS = 24
FILM_SIDE_PX = 60
PICTURE_FILES = (".jpg", ".jpeg", ".png", ".webp")


@functools.cache
def _base(wh: Size, kind: str, number: int) -> Image.Image:
    return photo(wh, kind, seed=number)


def picture(wh: Size, seed: int, kind: str = "street") -> bytes:
    """A JPEG of a photo-like scene. The same seed gives the same bytes, another one other pixels."""
    generator = random.Random(f"picture {wh} {seed}")
    image = _base(wh, kind, generator.randrange(BASES)).copy()
    draw = ImageDraw.Draw(image)
    for _ in range(MARKS):
        x, y, side = generator.randrange(wh[0]), generator.randrange(wh[1]), generator.randrange(4, max(5, wh[0] // 12))
        draw.rectangle([x, y, x + side, y + side], fill=tuple(generator.randrange(256) for _ in range(3)))
    return jpeg(image)


def document(seed: int, wh: Size = (1240, 1754)) -> bytes:
    """A page of text, a table and a figure, as a scan at 150 dots an inch."""
    image = page(seed, wh=(420, 594)).image.resize(wh, Image.Resampling.BICUBIC)
    return jpeg(image)


def screenshot(seed: int, wh: Size = (1280, 800)) -> bytes:
    """A window with buttons."""
    image = screen(seed, wh=(640, 400)).image.resize(wh, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Film:
    """A photo-like ground over which a square moves."""

    seed: int
    seconds: float
    wh: Size = (640, 360)
    fps: float = 8

    def frames(self) -> Iterator[Image.Image]:
        generator = random.Random(f"film {self.seed}")
        ground = _base(self.wh, "landscape", generator.randrange(BASES))
        colour = tuple(generator.randrange(256) for _ in range(3))
        count, y = max(2, round(self.seconds * self.fps)), generator.randrange(self.wh[1] - FILM_SIDE_PX)
        for number in range(count):
            image = ground.copy()
            x = (self.wh[0] - FILM_SIDE_PX) * number // count
            ImageDraw.Draw(image).rectangle([x, y, x + FILM_SIDE_PX, y + FILM_SIDE_PX], fill=colour)
            yield image


def video(seed: int, seconds: float = 8) -> bytes:
    """A short clip with something that moves, as mp4."""
    with tempfile.TemporaryDirectory() as folder:
        return save_mp4(Film(seed, seconds), Path(folder) / "clip.mp4").read_bytes()


def files_in(folder: Path) -> list[bytes]:
    """The pictures of a folder, in order of their names. Raises ValueError where there are none."""
    found = [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURE_FILES]
    if not found:
        raise ValueError(f"{folder} holds no pictures ({', '.join(PICTURE_FILES)})")
    return found


def uri(data: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def megapixels(sizes: Sequence[Size]) -> float:
    """Of pictures of these sizes.

    >>> megapixels([(1000, 1000), (2000, 500)])
    2.0
    """
    return sum(width * height for width, height in sizes) / 1e6
