"""Pictures, pages, screens and clips to send, made on the spot from a seed; each one's pixels are unique unless asked
otherwise, because servers keep what they have seen. Or pictures and clips from a folder of one's own.
"""

import base64
import functools
import io
import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, UnidentifiedImageError

from benchmarks.photos import jpeg, photo
from demo.files import save_mp4
from demo.papers import page, screen

Size = tuple[int, int]
BASES = 3
"""Photos drawn for a size; the others are these with marks of their own."""
MARKS = 24
FILM_SIDE_PX = 60
PICTURES: Mapping[str, str] = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
CLIPS: Mapping[str, str] = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}
"""Ending of a file -> its type."""


@dataclass(frozen=True)
class Media:
    """A picture or clip as it is sent."""

    data: bytes
    kind: str = "image/jpeg"
    megapixels: float = 0.0
    """Of a picture; 0 where that is not known."""
    url: str = ""
    """Where it lies, if the server is to fetch it."""

    @property
    def uri(self) -> str:
        """Its URL, or a `data:` URI.

        >>> Media(b"own", "image/png").uri
        'data:image/png;base64,b3du'
        """
        return self.url or f"data:{self.kind};base64,{base64.b64encode(self.data).decode()}"


@functools.cache
def _base(wh: Size, kind: str, number: int) -> Image.Image:
    return photo(wh, kind, seed=number)


def picture(wh: Size, seed: int, kind: str = "street") -> Media:
    """A JPEG of a photo-like scene. The same seed gives the same bytes, another one other pixels.

    >>> picture((640, 500), seed=1).megapixels, picture((640, 500), seed=1) == picture((640, 500), seed=2)
    (0.32, False)
    """
    generator = random.Random(f"picture {wh} {seed}")
    image = _base(wh, kind, generator.randrange(BASES)).copy()
    draw = ImageDraw.Draw(image)
    for _ in range(MARKS):
        x, y, side = generator.randrange(wh[0]), generator.randrange(wh[1]), generator.randrange(4, max(5, wh[0] // 12))
        draw.rectangle([x, y, x + side, y + side], fill=tuple(generator.randrange(256) for _ in range(3)))
    return _picture(jpeg(image), wh)


def document(seed: int, wh: Size = (1240, 1754)) -> Media:
    """A page of text, a table and a figure, as a scan at 150 dots an inch."""
    image = page(seed, wh=(420, 594), size_px=16, paragraphs=2).image.resize(wh, Image.Resampling.BICUBIC)
    return _picture(jpeg(image), wh)


def screenshot(seed: int, wh: Size = (1280, 800)) -> Media:
    """A window with buttons."""
    image = screen(seed, wh=(640, 400)).image.resize(wh, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return _picture(buffer.getvalue(), wh, "image/png")


def _picture(data: bytes, wh: Size, kind: str = "image/jpeg") -> Media:
    return Media(data, kind, wh[0] * wh[1] / 1e6)


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


def video(seed: int, seconds: float = 8) -> Media:
    """A short clip with something that moves, as mp4."""
    with tempfile.TemporaryDirectory() as folder:
        return Media(save_mp4(Film(seed, seconds), Path(folder) / "clip.mp4").read_bytes(), "video/mp4")


@functools.cache
def files_in(folder: Path, kinds: tuple[tuple[str, str], ...]) -> tuple[Media, ...]:
    """The files of a folder with one of these endings, ordered by name. Raises ValueError where there are none."""
    types = dict(kinds)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in types)
    if not paths:
        raise ValueError(f"{folder} holds none of what this workload sends ({', '.join(types)})")
    return tuple(_media(path, types[path.suffix.lower()]) for path in paths)


def _media(path: Path, kind: str) -> Media:
    try:
        with Image.open(path) as image:
            return Media(path.read_bytes(), kind, image.width * image.height / 1e6)
    except UnidentifiedImageError:  # a clip; or no picture, which is for the server to say
        return Media(path.read_bytes(), kind)
