"""What is drawn: boxes and points in pixels of the picture, each with words and a colour that goes with its label."""

import colorsys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """A box (x1, y1, x2, y2) or a point (x, y), in pixels of the picture."""

    place: tuple[float, ...]
    words: str = ""
    group: str = ""
    """Marks of one group have one colour."""

    @property
    def is_point(self) -> bool:
        return len(self.place) == 2

    @property
    def colour(self) -> Colour:
        return colour_of(self.group or self.words)


def colour_of(name: str) -> Colour:
    """The same for the same name, wherever it is drawn; dark enough for white letters.

    >>> colour_of("cat") == colour_of("cat"), colour_of("cat") == colour_of("dog")
    (True, False)
    """
    hue = zlib.crc32(name.encode()) % 997 / 997
    lightness = 0.33 if 0.1 < hue < 0.55 else 0.42  # yellow and green look lighter than they are
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def in_pixels(numbers: Sequence[float], space: str, wh: tuple[int, int]) -> tuple[float, ...]:
    """Coordinates of a result in pixels of its picture.

    >>> in_pixels([0.5, 0.5, 1, 1], "unit", (200, 100)), in_pixels([500, 500], "per_mille", (200, 100))
    ((100.0, 50.0, 200.0, 100.0), (100.0, 50.0))
    """
    scale = {"pixel": (1.0, 1.0), "unit": wh, "per_mille": (wh[0] / 1000, wh[1] / 1000)}[space]
    return tuple(float(number * scale[at % 2]) for at, number in enumerate(numbers))


def line_width(wh: tuple[int, int]) -> int:
    """Of a box on a picture of this size, in pixels: seen at a glance, hiding little."""
    return max(2, round(max(wh) / 400))
