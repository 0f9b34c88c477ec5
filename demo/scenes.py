"""Pictures, clips, pages and screens with exact answers, each from a seed: the same seed gives the same scene anywhere.

Training, tests, accuracy benchmarks and the playground's samples all draw from here; training takes even seeds,
everything that measures takes odd ones. Needs Pillow only; writing mp4 files needs PyAV (`demo/files.py`).

Boxes are `(x1, y1, x2, y2)` in pixels of the scene's own canvas, x2 and y2 just past the last pixel drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from random import Random

from PIL import Image, ImageDraw

from demo.files import save_mp4, save_pdf, save_png
from demo.papers import Block, Button, Line, Page, Screen, page, scaled_page, screen

__all__ = [
    "COLOURS", "MOTIONS", "SHAPES", "Block", "Button", "Clip", "Event", "Line", "Page", "Picture", "Screen", "Thing",
    "clip", "page", "picture", "save_mp4", "save_pdf", "save_png", "scaled_page", "screen",
]  # fmt: skip

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (215, 35, 40),
    "green": (35, 150, 55),
    "blue": (35, 75, 215),
    "yellow": (240, 215, 40),
    "orange": (245, 135, 25),
    "purple": (135, 45, 165),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
MOTIONS = ("stays", "moves left", "moves right", "moves up", "moves down")
GROUNDS = ("white", "light", "dark", "gradient", "stripes", "noise")


@dataclass(frozen=True)
class Thing:
    """One shape in a picture."""

    label: str
    """One of SHAPES."""
    colour: str
    """A name in COLOURS."""
    bbox: Box


@dataclass(frozen=True)
class Picture:
    image: Image.Image
    objects: tuple[Thing, ...]
    """From left to right."""
    ground: str


@dataclass(frozen=True)
class Event:
    """A shape is on screen in [start_s, end_s); both are multiples of half a second, which sampling at 2 fps sees."""

    start_s: float
    end_s: float
    label: str
    colour: str
    motion: str
    """One of MOTIONS."""
    path: tuple[Box, Box]
    """Box at the first and at the last moment."""

    @property
    def description(self) -> str:
        """
        >>> Event(0, 2, "star", "red", "moves up", ((0, 0, 9, 9), (0, 0, 9, 9))).description
        'A red star moves up.'
        """
        article = "An" if self.colour[0] in "aeiou" else "A"
        return f"{article} {self.colour} {self.label} {self.motion}."


@dataclass(frozen=True)
class Clip:
    wh: tuple[int, int]
    fps: float
    duration_s: float
    events: tuple[Event, ...]
    """In the order in which they start; no two at the same time."""
    background: Colour

    @property
    def frame_count(self) -> int:
        return round(self.duration_s * self.fps)

    def frame(self, time_s: float) -> Image.Image:
        """What is on screen at one moment."""
        image = Image.new("RGB", self.wh, self.background)
        for event in self.events:
            if event.start_s <= time_s < event.end_s:
                share = (time_s - event.start_s) / max(event.end_s - event.start_s, 1e-9)
                first, last = event.path
                x, y = (round(a + (b - a) * share) for a, b in zip(first[:2], last[:2], strict=True))
                draw_shape(image, event.label, COLOURS[event.colour], x, y, first[2] - first[0])
        return image

    def frames(self) -> Iterator[Image.Image]:
        """Frame i is the moment i / fps."""
        return (self.frame(i / self.fps) for i in range(self.frame_count))


def outline(label: str, side: int) -> list[tuple[float, float]]:
    """Corners of a shape that fills a square of `side` pixels; a circle has none of its own."""
    end = side - 1
    if label == "triangle":
        return [(end / 2, 0), (end, end), (0, end)]
    if label == "cross":
        a, b = end * 0.35, end * 0.65
        return [(a, 0), (b, 0), (b, a), (end, a), (end, b), (b, b), (b, end), (a, end), (a, b), (0, b), (0, a), (a, a)]
    if label == "star":
        radii = [0.5 if i % 2 == 0 else 0.21 for i in range(10)]
        return [(end * (0.5 + r * sin(i * pi / 5)), end * (0.52 - r * cos(i * pi / 5))) for i, r in enumerate(radii)]
    assert label == "square", label
    return [(0, 0), (end, 0), (end, end), (0, end)]


def draw_shape(image: Image.Image, label: str, colour: Colour, x: int, y: int, side: int) -> Box:
    """Draws a shape into the square at (x, y) and returns the box of the pixels it touched."""
    mask = Image.new("1", (side, side))
    pen = ImageDraw.Draw(mask)
    if label == "circle":
        pen.ellipse((0, 0, side - 1, side - 1), fill=1)
    else:
        pen.polygon(outline(label, side), fill=1)
    image.paste(colour, (x, y), mask)
    left, top, right, bottom = mask.getbbox() or (0, 0, side, side)
    return x + left, y + top, x + right, y + bottom


def grey(random: Random, low: int, high: int) -> Colour:
    """A shade that no named colour can be taken for."""
    level = random.randint(low, high)
    red, green, blue = (max(0, min(255, level + random.randint(-8, 8))) for _ in range(3))
    return red, green, blue


def ground(random: Random, wh: tuple[int, int], kind: str) -> Image.Image:
    """An empty canvas of one of GROUNDS."""
    if kind == "white":
        return Image.new("RGB", wh, (255, 255, 255))
    if kind == "light":
        return Image.new("RGB", wh, grey(random, 190, 245))
    if kind == "dark":
        return Image.new("RGB", wh, grey(random, 12, 60))
    if kind == "gradient":
        ramp = Image.linear_gradient("L").rotate(random.choice((0, 90, 180, 270))).resize(wh)
        return Image.composite(
            Image.new("RGB", wh, grey(random, 200, 250)), Image.new("RGB", wh, (120, 120, 120)), ramp
        )
    image = Image.new("RGB", wh, grey(random, 200, 245))
    pen = ImageDraw.Draw(image)
    width, height = wh
    if kind == "stripes":
        step, shade = random.randint(8, 24), grey(random, 150, 195)
        for x in range(0, width + height, 2 * step):
            pen.line((x, 0, x - height, height), fill=shade, width=max(2, step // 2))
        return image
    assert kind == "noise", kind
    for _ in range(width * height // 160):
        x, y = random.randrange(width), random.randrange(height)
        pen.rectangle((x, y, x + 1, y + 1), fill=grey(random, 120, 230))
    return image


def free_place(random: Random, wh: tuple[int, int], side: int, taken: Sequence[Box]) -> tuple[int, int] | None:
    """A corner where a square of `side` pixels touches none of `taken`; None if twenty tries found none."""
    gap = max(2, side // 12)
    for _ in range(20):
        x, y = random.randint(0, wh[0] - side), random.randint(0, wh[1] - side)
        if all(x > b[2] + gap or x + side + gap < b[0] or y > b[3] + gap or y + side + gap < b[1] for b in taken):
            return x, y
    return None


def jittered(random: Random, colour: Colour) -> Colour:
    red, green, blue = (max(0, min(255, part + random.randint(-18, 18))) for part in colour)
    return red, green, blue


def canvas_size(random: Random, low_px: int = 112, high_px: int = 1100) -> tuple[int, int]:
    """A size with sides of `low_px` to `high_px`, small and large equally likely, up to three times as wide as high."""
    long = round(low_px * (high_px / low_px) ** random.random())
    short = max(low_px, round(long / 3 ** (random.random() ** 1.5)))
    return (long, short) if random.random() < 0.5 else (short, long)


def picture(
    seed: int,
    wh: tuple[int, int] | None = None,
    count: int | tuple[int, int] = (1, 6),
    share: tuple[float, float] = (0.14, 0.42),
) -> Picture:
    """Coloured shapes that do not touch on a varied ground.

    `wh` is the canvas in pixels (by default of any size from 112 to 1,100), `count` how many shapes, or the least
    and the most (fewer where they find no room), `share` their sides as parts of the canvas's mean side.

    >>> len(picture(1, (224, 168), count=2).objects)
    2
    """
    random = Random(f"picture {seed}")
    wh = wh or canvas_size(random)
    kind = random.choice(GROUNDS)
    image = ground(random, wh, kind)
    wanted = count if isinstance(count, int) else random.randint(*count)
    crowding = 1.0 if wanted < 4 else 0.8
    taken: list[Box] = []
    things = []
    for _ in range(wanted):
        side = round((wh[0] * wh[1]) ** 0.5 * random.uniform(*share) * crowding)
        side = max(12, min(side, wh[0], wh[1]))
        place = free_place(random, wh, side, taken)
        if place is None:
            continue
        label, colour = random.choice(SHAPES), random.choice(tuple(COLOURS))
        box = draw_shape(image, label, jittered(random, COLOURS[colour]), *place, side)
        taken.append(box)
        things.append(Thing(label, colour, box))
    return Picture(image, tuple(sorted(things, key=lambda thing: thing.bbox)), kind)


def clip(
    seed: int,
    duration_s: float | None = None,
    wh: tuple[int, int] = (224, 168),
    fps: float = 8,
    max_events: int = 6,
) -> Clip:
    """Shapes that come, stay or move, and go, one after another.

    Lasts 5 s to 2 min unless `duration_s` says otherwise; an event lasts at least 2 s, and so does the time between two
    of the same shape and colour. Any `wh` and any `fps`.

    >>> clip(1, 10).duration_s
    10
    """
    random = Random(f"clip {seed}")
    duration_s = duration_s if duration_s is not None else round(5 * 24 ** random.random())
    background = grey(random, 200, 250) if random.random() < 0.7 else grey(random, 15, 50)
    wanted = random.randint(1, max(1, min(max_events, int(duration_s / 4))))
    # Cut the clip at random half seconds into quiet, event, quiet, event, ..., each event at least 2 s long.
    spare = round(2 * duration_s) - 4 * wanted
    cuts = sorted(random.randint(0, spare) for _ in range(2 * wanted))
    kinds = random.sample([(label, colour) for label in SHAPES for colour in COLOURS], wanted)
    events = []
    for i, (label, colour) in enumerate(kinds):
        start_s, end_s = (cuts[2 * i] + 4 * i) / 2, (cuts[2 * i + 1] + 4 * i + 4) / 2
        events.append(event(random, wh, start_s, end_s, label, colour))
    return Clip(wh, fps, duration_s, tuple(events), background)


def event(random: Random, wh: tuple[int, int], start_s: float, end_s: float, label: str, colour: str) -> Event:
    """One shape's time on screen, still or on a straight path."""
    width, height = wh
    side = round(min(wh) * random.uniform(0.4, 0.7))
    x, y = random.randint(0, width - side), random.randint(0, height - side)
    motion = random.choice(("stays", *MOTIONS))
    far_x, far_y = width - side, height - side
    first, last = {
        "stays": ((x, y), (x, y)),
        "moves left": ((far_x, y), (0, y)),
        "moves right": ((0, y), (far_x, y)),
        "moves up": ((x, far_y), (x, 0)),
        "moves down": ((x, 0), (x, far_y)),
    }[motion]
    path = tuple((px, py, px + side, py + side) for px, py in (first, last))
    return Event(start_s, end_s, label, colour, motion, (path[0], path[1]))
