"""What the model is taught: scenes as pixels, questions with answers, dense targets for each visual token."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from PIL import Image

from demo import prompts, scenes
from demo.shape import CELL_PX, IMAGE_PIXELS, VIDEO_PIXELS

Wh = tuple[int, int]


class Question(NamedTuple):
    """What is asked, and the answer."""

    asked: str
    answer: str
    about: tuple[int, ...] = ()
    """For each item of the answer the thing or event that it is about, as `Cell.owner` counts them."""
    grids: tuple[tuple[int, int], ...] = ()
    """For each item the pairs of frames in which its event begins and ends."""
    looks: tuple[int, ...] = ()
    """In place of `about`: for each letter of the answer whom it is about, as `demo.aims` has it."""


Asker = Callable[[Random, Sequence[scenes.Thing]], Question]


@dataclass
class Cell:
    """What one visual token should know; boxes in shown pixels."""

    label: int = 0
    """0: nothing here; else 1 + index in SHAPES."""
    colour: int = 0
    box: tuple[float, float, float, float] | None = None
    owner: int = -1
    """Which of the picture's things or the clip's events is here; -1: none."""
    times_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Now; when the latest event began; when the latest finished one ended."""
    motion: int = 0
    """Index in MOTIONS of what moves here; 0 in a picture."""
    letters: tuple[int, ...] = ()
    """What is written in each of its slots, as `paper_lessons` has them; empty for no writing at all."""
    words: tuple[int, ...] = ()
    """The word that covers most of each row of slots: 0 for none, else 1 + its index in `paper_lessons.KNOWN`."""
    fields: tuple[int, ...] = ()
    """Whose value stands in each row of slots, in a table's second column: 0 for none, else 1 + its index in
    `papers.FIELDS`."""


@dataclass
class Lesson:
    frames: list[Image.Image]
    """Of the shown size; one for a picture, two for each grid of a clip."""
    questions: list[Question]
    cells: list[Cell] = field(default_factory=list)
    """Grid by grid, row by row."""
    system: str = prompts.SYSTEM
    before: str = ""
    """What the user says before the picture; the same, as `system`, in all lessons of a batch."""


def shown_size(wh: Wh, pixels: tuple[int, int]) -> Wh:
    """The size that Qwen's processor gives a picture or frame: multiples of 28 within the limits.

    >>> shown_size((1000, 500), (3136, 50176))
    (308, 140)
    """
    width, height = (max(CELL_PX, round(side / CELL_PX) * CELL_PX) for side in wh)
    area = wh[0] * wh[1]
    if width * height > pixels[1]:
        scale = (area / pixels[1]) ** 0.5
        width, height = (max(CELL_PX, int(side / scale / CELL_PX) * CELL_PX) for side in wh)
    elif width * height < pixels[0]:
        scale = (pixels[0] / area) ** 0.5
        width, height = (-int(-side * scale // CELL_PX) * CELL_PX for side in wh)
    return width, height


def canvases() -> dict[Wh, list[Wh]]:
    """Sizes of pictures grouped by the size they are shown at, as often as `scenes.picture` has them."""
    random = Random("canvases")
    groups: dict[Wh, list[Wh]] = {}
    for _ in range(6000):
        wh = scenes.canvas_size(random)
        groups.setdefault(shown_size(wh, IMAGE_PIXELS), []).append(wh)
    return groups


def shown(image: Image.Image, wh: Wh, random: Random) -> Image.Image:
    """The picture as the gateway hands it on: scaled, and now and then through JPEG."""
    image = image if image.size == wh else image.resize(wh, Image.Resampling.BICUBIC)
    if random.random() < 0.3:
        packed = io.BytesIO()
        image.save(packed, "JPEG", quality=random.choice((80, 90, 95)))
        image = Image.open(packed).convert("RGB")
    return image


def scaled(thing: scenes.Thing, source: Wh, target: Wh) -> scenes.Thing:
    """The same shape in whole pixels of the picture shown."""
    x, y = target[0] / source[0], target[1] / source[1]
    x1, y1, x2, y2 = thing.bbox
    return scenes.Thing(thing.label, thing.colour, (round(x1 * x), round(y1 * y), round(x2 * x), round(y2 * y)))


def picture_lesson(seed: int, canvas: Wh, count: tuple[int, int], askers: Sequence[Asker]) -> Lesson:
    """One picture and a question about it from each of `askers`."""
    random = Random(f"lesson {seed}")
    picture = scenes.picture(seed, canvas, count)
    wh = shown_size(canvas, IMAGE_PIXELS)
    things = in_reading_order(wh, [scaled(thing, canvas, wh) for thing in picture.objects])
    asked = [ask(random, things) for ask in askers]
    return Lesson([shown(picture.image, wh, random)], asked, picture_cells(wh, things))


def in_reading_order(wh: Wh, things: Sequence[scenes.Thing]) -> list[scenes.Thing]:
    """As their first cells come, row by row: the order in which the language layers meet them.

    Listed from left to right instead, the next thing could not be told by what was met before it, and 1,000 steps did
    not teach it.
    """
    met = list(dict.fromkeys(cell.owner for cell in picture_cells(wh, things) if cell.owner >= 0))
    unmet = [at for at in range(len(things)) if at not in met]
    return [things[at] for at in met + unmet]


def picture_cells(wh: Wh, things: Sequence[scenes.Thing]) -> list[Cell]:
    """For each cell the shape that covers it, the nearest by centre where several do."""
    cells = []
    for y in range(0, wh[1], CELL_PX):
        for x in range(0, wh[0], CELL_PX):
            over = [t for t in things if overlap(t.bbox, (x, y)) > 40]
            best = max(over, key=lambda t: overlap(t.bbox, (x, y)), default=None)
            cells.append(Cell() if best is None else known(best, things.index(best)))
    return cells


def known(thing: scenes.Thing, owner: int) -> Cell:
    colour = list(scenes.COLOURS).index(thing.colour)
    return Cell(1 + scenes.SHAPES.index(thing.label), colour, thing.bbox, owner)


def listing(
    asked: str, things: Sequence[scenes.Thing], found: Sequence[tuple[scenes.Thing, dict[str, Any]]]
) -> Question:
    """A question that is answered by a JSON list: an item for each thing found."""
    return Question(asked, prompts.answer([item for _, item in found]), tuple(things.index(t) for t, _ in found))


def overlap(box: scenes.Box, at: tuple[int, int]) -> int:
    """Pixels of `box` in the cell whose corner is `at`."""
    width = min(box[2], at[0] + CELL_PX) - max(box[0], at[0])
    height = min(box[3], at[1] + CELL_PX) - max(box[1], at[1])
    return max(0, width) * max(0, height)


def some_labels(random: Random, things: Sequence[scenes.Thing]) -> list[str]:
    """A few labels, or all; sometimes only such as are there."""
    if random.random() < 0.25:
        return list(scenes.SHAPES)
    present = sorted({thing.label for thing in things})
    pool = present if present and random.random() < 0.4 else scenes.SHAPES
    return random.sample(pool, random.randint(1, min(3, len(pool))))


def ask_detect(random: Random, things: Sequence[scenes.Thing]) -> Question:
    """Boxes of some labels, which may not be there."""
    labels = some_labels(random, things)
    found = [(thing, {"bbox_2d": thing.bbox, "label": thing.label}) for thing in things if thing.label in labels]
    return listing(prompts.detect(labels), things, found)


def ask_coloured(random: Random, things: Sequence[scenes.Thing]) -> Question:
    """Boxes of some labels with the colour as sub-label, from all colours or those in the picture."""
    labels = some_labels(random, things)
    present = sorted({thing.colour for thing in things})
    colours = present if present and random.random() < 0.5 else random.sample(list(scenes.COLOURS), 6)
    found = [
        (thing, {"bbox_2d": thing.bbox, "label": thing.label, "sub_label": thing.colour})
        for thing in things
        if thing.label in labels
    ]
    return listing(prompts.detect(labels, colours), things, found)


def ask_everything(random: Random, things: Sequence[scenes.Thing]) -> Question:
    found = [(thing, {"bbox_2d": thing.bbox, "label": thing.label}) for thing in things]
    return listing(prompts.EVERYTHING, things, found)


def named(random: Random, things: Sequence[scenes.Thing]) -> tuple[str, list[scenes.Thing]]:
    """A name such as "red star" or "star", mostly of something there, and what it names."""
    if things and random.random() < 0.75:
        thing = random.choice(things)
        label, colour = thing.label, thing.colour
    else:
        label, colour = random.choice(scenes.SHAPES), random.choice(list(scenes.COLOURS))
    if random.random() < 0.5:
        return label, [thing for thing in things if thing.label == label]
    return f"{colour} {label}", [thing for thing in things if (thing.label, thing.colour) == (label, colour)]


def ask_named(random: Random, things: Sequence[scenes.Thing]) -> Question:
    name, found = named(random, things)
    return listing(prompts.detect([name]), things, [(thing, {"bbox_2d": thing.bbox, "label": name}) for thing in found])


def ask_count(random: Random, things: Sequence[scenes.Thing]) -> Question:
    name, found = ("shape", list(things)) if random.random() < 0.4 else named(random, things)
    return Question(prompts.count(name), prompts.count_answer(len(found), name))


def ask_point(random: Random, things: Sequence[scenes.Thing]) -> Question:
    labels = some_labels(random, things)
    found = [
        (t, {"point_2d": [(t.bbox[0] + t.bbox[2]) // 2, (t.bbox[1] + t.bbox[3]) // 2], "label": t.label})
        for t in things
        if t.label in labels
    ]
    return listing(prompts.point(labels), things, found)


PLACES: dict[str, Callable[[scenes.Thing], int]] = {
    "largest": lambda t: -(t.bbox[2] - t.bbox[0]) * (t.bbox[3] - t.bbox[1]),
    "smallest": lambda t: (t.bbox[2] - t.bbox[0]) * (t.bbox[3] - t.bbox[1]),
    "leftmost": lambda t: t.bbox[0] + t.bbox[2],
    "rightmost": lambda t: -t.bbox[0] - t.bbox[2],
    "topmost": lambda t: t.bbox[1] + t.bbox[3],
    "bottommost": lambda t: -t.bbox[1] - t.bbox[3],
}


SIDES: dict[str, Callable[[scenes.Thing, scenes.Thing], bool]] = {
    "left of": lambda a, b: a.bbox[2] <= b.bbox[0],
    "right of": lambda a, b: a.bbox[0] >= b.bbox[2],
    "above": lambda a, b: a.bbox[3] <= b.bbox[1],
    "below": lambda a, b: a.bbox[1] >= b.bbox[3],
}


def related(random: Random, things: Sequence[scenes.Thing]) -> tuple[str, scenes.Thing] | None:
    """A phrase such as "circle left of the square" that names one thing; None if there is none."""
    labels = [thing.label for thing in things]
    pairs = [
        (f"{a.label} {side} the {b.label}", a)
        for a in things
        for b in things
        for side, holds in SIDES.items()
        if labels.count(a.label) == labels.count(b.label) == 1 and a is not b and holds(a, b)
    ]
    return random.choice(pairs) if pairs else None


def ask_ground(random: Random, things: Sequence[scenes.Thing]) -> Question:
    """The largest star, the circle left of the square: one box, or none where nothing fits."""
    relation = related(random, things) if random.random() < 0.35 else None
    if relation is not None:
        phrase, thing = relation
        return listing(
            prompts.ground(f"the {phrase}"), things, [(thing, {"bbox_2d": thing.bbox, "label": thing.label})]
        )
    place, measure = random.choice(list(PLACES.items()))
    name, found = ("shape", list(things)) if random.random() < 0.3 else named(random, things)
    phrase = f"the {place} {name}"
    best = min(found, key=measure, default=None)
    return listing(prompts.ground(phrase), things, [(best, {"bbox_2d": best.bbox, "label": name})] if best else [])


def ask_caption(random: Random, things: Sequence[scenes.Thing]) -> Question:
    names = [("an " if t.colour[0] in "aeiou" else "a ") + f"{t.colour} {t.label}" for t in things]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "no shapes"
    return Question(prompts.CAPTION, f"The picture shows {listed}.")


ASKERS: dict[Asker, float] = {
    ask_detect: 20,
    ask_everything: 2,
    ask_coloured: 10,
    ask_named: 28,
    ask_count: 10,
    ask_point: 6,
    ask_ground: 22,
    ask_caption: 2,
}
"""Questions about pictures, and how often each is asked."""
FIRST = (ask_detect, ask_coloured, ask_count)
"""Those that training begins with."""


@dataclass(frozen=True)
class Cut:
    """A stretch of a clip, as long as one question shows; its seconds count from its own start."""

    clip: scenes.Clip
    start_s: int
    duration_s: int

    @property
    def events(self) -> list[tuple[float, float, scenes.Event]]:
        """(start, end, event) of what is to be seen of each event."""
        whole = [
            (max(0.0, e.start_s - self.start_s), min(float(self.duration_s), e.end_s - self.start_s), e)
            for e in self.clip.events
        ]
        return [(start_s, end_s, event) for start_s, end_s, event in whole if end_s - start_s >= 0.5]


def cut_clip(random: Random, seed: int, duration_s: int, wh: Wh, max_events: int) -> Cut:
    """A whole clip, or, four times in ten, a part of a longer one: events may be cut off, or there may be none."""
    if random.random() < 0.6:
        return Cut(scenes.clip(seed, duration_s, wh, max_events=max_events), 0, duration_s)
    whole_s = round(duration_s * random.uniform(1.5, 10))
    clip = scenes.clip(seed, whole_s, wh, max_events=max_events)
    return Cut(clip, random.randint(0, whole_s - duration_s), duration_s)


def clip_lesson(seed: int, grids: int, canvas: Wh, max_events: int) -> Lesson:
    """One clip of `grids` seconds sampled at 2 fps, all its events, and the moment of one of them."""
    random = Random(f"lesson {seed}")
    wh = shown_size(canvas, VIDEO_PIXELS)
    cut = cut_clip(random, seed, grids, (wh[0] * 2, wh[1] * 2), max_events)
    events = cut.events
    empty = scenes.Clip(cut.clip.wh, cut.clip.fps, grids, (), cut.clip.background).frame(0).resize(wh)
    frames = []
    cells: list[Cell] = []
    for i in range(2 * grids):
        seen = any(start_s <= i / 2 < end_s for start_s, end_s, _ in events)
        frame = cut.clip.frame(cut.start_s + i / 2) if seen else None
        frames.append(empty if frame is None else frame.resize(wh, Image.Resampling.BICUBIC))
        if i % 2:
            cells += clip_cells(cut, wh, i // 2)
    items = [
        {"start_time": prompts.clock(start_s), "end_time": prompts.clock(end_s), "description": event.description}
        for start_s, end_s, event in events
    ]
    about = tuple(cut.clip.events.index(event) for _, _, event in events)
    told = Question(
        prompts.EVENTS, prompts.answer(items), about, tuple(ends(cut, start_s, end_s) for start_s, end_s, _ in events)
    )
    return Lesson(frames, [told, ask_moment(random, cut)], cells)


def ends(cut: Cut, start_s: float, end_s: float) -> tuple[int, int]:
    """The pairs of frames in which an event begins and ends; the last pair where it ends with the clip."""
    return int(start_s), min(int(end_s), cut.duration_s - 1)


def ask_moment(random: Random, cut: Cut) -> Question:
    """When one of the events happens; one time in eight it is none of them."""
    events = cut.events
    if events and random.random() > 0.125:
        start_s, end_s, event = random.choice(events)
        asked = prompts.moment(event.description[0].lower() + event.description[1:-1])
        owner = cut.clip.events.index(event)
        return Question(asked, prompts.moment_answer(start_s, end_s), (owner,), (ends(cut, start_s, end_s),))
    there = {(event.label, event.colour) for _, _, event in events}
    kinds = [(label, colour) for label in scenes.SHAPES for colour in scenes.COLOURS]
    label, colour = random.choice([kind for kind in kinds if kind not in there])
    article = "an" if colour[0] in "aeiou" else "a"
    return Question(prompts.moment(f"{article} {colour} {label} {random.choice(scenes.MOTIONS)}"), prompts.NO_MOMENT)


def clip_cells(cut: Cut, wh: Wh, grid: int) -> list[Cell]:
    """The cells of the two frames at `grid` and `grid` + 0.5 seconds."""
    events = cut.events
    owner = motion = -1
    things: list[scenes.Thing] = []
    for time_s in (grid, grid + 0.5):
        for start_s, end_s, event in events:
            if start_s <= time_s < end_s:
                share = (cut.start_s + time_s - event.start_s) / (event.end_s - event.start_s)
                box = [round((a + (b - a) * share) / 2) for a, b in zip(*event.path, strict=True)]
                things.append(scenes.Thing(event.label, event.colour, (box[0], box[1], box[2], box[3])))
                owner, motion = cut.clip.events.index(event), scenes.MOTIONS.index(event.motion)
    cells = picture_cells(wh, things[-1:])
    for cell in cells:
        cell.owner, cell.motion = (owner, motion) if cell.label else (-1, 0)
    begun = max((start_s for start_s, _, _ in events if start_s <= grid + 0.5), default=0.0)
    ended = max((end_s for _, end_s, _ in events if end_s <= grid + 0.5), default=0.0)
    for cell in cells:
        cell.times_s = (float(grid), begun, ended)
    return cells
