"""What a perfect eye makes of the picture or the frames that arrive: where the scene's things are *in them*.

It knows what the scene holds, but finds in the pixels how the picture lies (turned, mirrored), how large it was made,
and which frames show what. A server that shows something else than was sent is told about that something else, as a
model would tell it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

from PIL import Image, ImageChops, ImageStat

from demo import scenes
from demo.scenes import COLOURS, Box, Event, Thing

Wh = tuple[int, int]
Turn = Image.Transpose | None
TURNS: tuple[Turn, ...] = (None, *Image.Transpose)
THUMBNAIL = (32, 32)
LEAST_DIFFERENCE = 70
"""Levels from the background at which a frame's pixel belongs to a shape; JPEG stays far below."""
IS_SHAPE = [255 if level >= LEAST_DIFFERENCE else 0 for level in range(256)]
LEAST_SHARE = 0.01
"""Of a frame's pixels, below which nothing is there."""


def turn_of(scene: Image.Image, seen: Image.Image) -> Turn:
    """How the picture that arrived lies, compared to the scene."""
    small = seen.convert("RGB").resize(THUMBNAIL, Image.Resampling.BOX)
    known = scene.resize(THUMBNAIL, Image.Resampling.BOX)  # a square: turned, it is still comparable

    def difference(turn: Turn) -> float:
        candidate = known if turn is None else known.transpose(turn)
        return sum(ImageStat.Stat(ImageChops.difference(candidate, small)).sum)

    return min(TURNS, key=difference)


def turned(box: Box, wh: Wh, turn: Turn) -> Box:
    """A box where it is after the picture was turned.

    >>> turned((10, 20, 30, 60), (100, 200), Image.Transpose.ROTATE_90)
    (20, 70, 60, 90)
    """
    width, height = wh
    x1, y1, x2, y2 = box
    match turn:
        case Image.Transpose.FLIP_LEFT_RIGHT:
            return width - x2, y1, width - x1, y2
        case Image.Transpose.FLIP_TOP_BOTTOM:
            return x1, height - y2, x2, height - y1
        case Image.Transpose.ROTATE_180:
            return width - x2, height - y2, width - x1, height - y1
        case Image.Transpose.ROTATE_90:
            return y1, width - x2, y2, width - x1
        case Image.Transpose.ROTATE_270:
            return height - y2, x1, height - y1, x2
        case Image.Transpose.TRANSPOSE:
            return y1, x1, y2, x2
        case Image.Transpose.TRANSVERSE:
            return height - y2, width - x2, height - y1, width - x1
    return box


def scaled(box: Box, source_wh: Wh, target_wh: Wh) -> Box:
    """In whole pixels of another size, as a model writes them."""
    x, y = target_wh[0] / source_wh[0], target_wh[1] / source_wh[1]
    return round(box[0] * x), round(box[1] * y), round(box[2] * x), round(box[3] * y)


def things_seen(scene: scenes.Picture, seen: Image.Image) -> list[Thing]:
    """The scene's things in pixels of the picture that arrived, from left to right."""
    turn = turn_of(scene.image, seen)
    width, height = scene.image.size
    sideways = turn in (
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
    )
    lying = (height, width) if sideways else (width, height)
    found = [replace(thing, bbox=scaled(turned(thing.bbox, (width, height), turn), lying, seen.size))
             for thing in scene.objects]  # fmt: skip
    return sorted(found, key=lambda thing: thing.bbox)


@dataclass(frozen=True)
class Seen:
    """An event as it shows in frames."""

    event: Event
    first: int
    """Frame in which it shows first."""
    last: int


def events_seen(clip: scenes.Clip, frames: Sequence[Image.Image]) -> list[Seen]:
    """Runs of frames that show the same event."""
    shown = [event_in(clip, frame.convert("RGB")) for frame in frames]
    found = []
    for event, run in groupby(enumerate(shown), key=lambda each: each[1]):
        places = [at for at, _ in run]
        if event is not None:
            found.append(Seen(event, places[0], places[-1]))
    return found


def event_in(clip: scenes.Clip, frame: Image.Image) -> Event | None:
    """Which of the clip's events a frame shows: by the colour of what is there, then by its outline."""
    off = ImageChops.difference(frame, Image.new("RGB", frame.size, clip.background)).split()
    strongest = ImageChops.lighter(ImageChops.lighter(off[0], off[1]), off[2])
    mask = strongest.point(IS_SHAPE)
    box = mask.getbbox()
    if box is None or mask.histogram()[255] < LEAST_SHARE * frame.width * frame.height:
        return None
    colour = colour_of(frame, mask)
    alike = [event for event in clip.events if event.colour == colour]
    return max(alike, key=lambda event: overlap(mask.crop(box), event.label), default=None)


def colour_of(frame: Image.Image, mask: Image.Image) -> str:
    """The name nearest to the middle of the masked pixels."""
    middle = ImageStat.Stat(frame, mask).median
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], middle, strict=True)))


def overlap(mask: Image.Image, label: str) -> float:
    """How much of a mask and of a shape of the same size is shared, 0..1."""
    shape = shape_mask(label, mask.size)
    both = ImageChops.darker(shape, mask).histogram()[255]
    either = ImageChops.lighter(shape, mask).histogram()[255]
    return both / max(1, either)


@lru_cache(maxsize=256)
def shape_mask(label: str, wh: Wh) -> Image.Image:
    """A shape that fills a picture of this size."""
    side = max(wh) * 4
    drawn = Image.new("RGB", (side, side))
    box = scenes.draw_shape(drawn, label, (255, 255, 255), 0, 0, side)
    return drawn.getchannel(0).crop(box).resize(wh, Image.Resampling.BOX).point([0] * 128 + [255] * 128)
