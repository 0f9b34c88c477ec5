"""Questions about scenes of `demo/scenes.py`: any number of them, with exact answers, made here.

Seeds are odd, as training takes only even ones. Pictures have canvases of 112 to 1,100 px, up to three times as wide as
high; most come as JPEG files that lie turned, as cameras leave them. Each request names its scene's seed as `seed`,
which does nothing at temperature 0; `benchmarks.accuracy.perfect` knows by it what it is shown.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random

from benchmarks.accuracy.items import Fields, Item, data_uri, jpeg, png
from benchmarks.accuracy.suites import scene_questions
from demo import prompts, scenes
from demo.papers import SCREEN_SIZES

FIRST_SEED = 900_000_001
FIRST_LONG_SEED = 950_000_001
"""From here on clips are long."""
CLIP_SIZES = ((320, 240), (320, 240), (640, 360), (240, 240), (240, 320), (360, 640))
CLIP_RATES = (24, 12, 10, 8, 6, 4)
"""Frames a second of the files: even, so that events, which begin and end at half seconds, do so at a frame."""
MOST_FRAMES = 600
LONG_S = 600
LEAST_LONG_EVENTS = 12
PAGE_SCALES = (1.0, 1.25, 1.5)


@dataclass(frozen=True)
class Sizes:
    """How many scenes of each sort."""

    pictures: int = 200
    clips: int = 40
    long_clips: int = 1
    pages: int = 20
    screens: int = 20
    first: int = 0
    """Scenes left out at the beginning: another sample."""

    def seeds(self, count: int, start: int = FIRST_SEED) -> range:
        """Odd seeds.

        >>> list(Sizes().seeds(3, 1))
        [1, 3, 5]
        """
        begin = start + 2 * self.first
        return range(begin, begin + 2 * count, 2)


def items(sizes: Sizes) -> Iterator[Item]:
    """All questions about all scenes."""
    for seed in sizes.seeds(sizes.pictures):
        yield from picture_items(seed)
    for seed in [*sizes.seeds(sizes.clips), *sizes.seeds(sizes.long_clips, FIRST_LONG_SEED)]:
        yield from clip_items(seed)
    for seed in sizes.seeds(sizes.pages):
        yield from page_items(seed)
    for seed in sizes.seeds(sizes.screens):
        yield screen_item(seed)


# -- pictures ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)  # a picture is asked about ten times in a row
def picture_of(seed: int) -> scenes.Picture:
    return scenes.picture(seed)


def file_form(seed: int) -> int:
    """EXIF orientation of the picture's file; 0 for a PNG, which has none."""
    return Random(f"file {seed}").randrange(9)


@lru_cache(maxsize=16)
def picture_file(seed: int) -> str:
    orientation = file_form(seed)
    image = picture_of(seed).image
    return jpeg(image, orientation) if orientation else png(image)


def picture_items(seed: int) -> Iterator[Item]:
    """Every kind of question about one picture."""
    scene = picture_of(seed)
    form = file_form(seed)
    about: Fields = {
        "wh": scene.image.size,
        "ground": scene.ground,
        "file": f"jpeg, orientation {form}" if form else "png",
        "objects": len(scene.objects),
    }
    for asked in scene_questions.questions(seed, scene.objects):

        def body(fields: Fields = asked.fields) -> Fields:
            return scene_questions.with_picture(fields, picture_file(seed), seed)

        yield Item(f"{asked.kind}-{seed}", asked.kind, asked.path, body, asked.truth, about)


# -- clips -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def clip_of(seed: int) -> scenes.Clip:
    """The clip of a seed; from FIRST_LONG_SEED on ten minutes with many events."""
    if seed >= FIRST_LONG_SEED:
        return long_clip(seed)
    random = Random(f"clip file {seed}")
    clip = scenes.clip(seed, wh=random.choice(CLIP_SIZES))
    rates = [rate for rate in CLIP_RATES if rate * clip.duration_s <= MOST_FRAMES]
    return replace(clip, fps=random.choice(rates or CLIP_RATES[-1:]))


def long_clip(seed: int) -> scenes.Clip:
    """The first of the seeds that are this one and so many millions more whose clip has enough events."""
    for further in range(100):
        clip = scenes.clip(seed + further * 1_000_000, LONG_S, CLIP_SIZES[0], fps=4, max_events=30)
        if len(clip.events) >= LEAST_LONG_EVENTS:
            return clip
    raise AssertionError("one clip in two has as many events")


@lru_cache(maxsize=16)
def clip_file(seed: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return data_uri(scenes.save_mp4(clip_of(seed), Path(folder) / "clip.mp4").read_bytes(), "video/mp4")


def clip_items(seed: int) -> Iterator[Item]:
    """All events of a clip, when one of them is, and one that is not there; of a long clip all events."""
    clip = clip_of(seed)
    is_long = seed >= FIRST_LONG_SEED
    about: Fields = {
        "wh": clip.wh,
        "fps": clip.fps,
        "duration_s": clip.duration_s,
        "events": len(clip.events),
        "long": is_long,
    }

    def body(query: str | None = None) -> Fields:
        fields: Fields = {"video": clip_file(seed), "seed": seed}
        return fields if query is None else fields | {"query": query}

    told = [{"span": (event.start_s, event.end_s), "description": event.description} for event in clip.events]
    kind, path = "long-events" if is_long else "events", "/v1/localize-events"
    yield Item(f"{kind}-{seed}", kind, path, body, {"events": told}, about)
    if is_long:
        return
    random = Random(f"moment {seed}")
    one = random.choice(clip.events)
    query = asked(one.description)
    truth = {"spans": [(one.start_s, one.end_s)]}
    yield Item(f"moment-{seed}", "moment", path, lambda: body(query), truth, {**about, "query": query})
    none = asked(no_event(random, clip).description)
    yield Item(f"no-moment-{seed}", "no-moment", path, lambda: body(none), {}, {**about, "query": none})


def asked(description: str) -> str:
    """
    >>> asked("A red star moves up.")
    'a red star moves up'
    """
    return description[0].lower() + description[1:-1]


def no_event(random: Random, clip: scenes.Clip) -> scenes.Event:
    """An event that is not in the clip: of a shape and colour that never show."""
    shown = {(event.label, event.colour) for event in clip.events}
    others = [(label, colour) for label in scenes.SHAPES for colour in scenes.COLOURS if (label, colour) not in shown]
    label, colour = random.choice(others)
    return replace(clip.events[0], label=label, colour=colour, motion=random.choice(scenes.MOTIONS))


# -- pages and screens -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def page_of(seed: int) -> scenes.Page:
    scale = Random(f"page file {seed}").choice(PAGE_SCALES)
    return scenes.scaled_page(seed, scale)


def page_file(page: scenes.Page) -> str:
    """A PDF that holds the page as a picture, one pixel to the point."""
    with tempfile.TemporaryDirectory() as folder:
        return data_uri(scenes.save_pdf([page], Path(folder) / "page.pdf").read_bytes(), "application/pdf")


def page_items(seed: int) -> Iterator[Item]:
    """A page to be parsed, as a picture or a PDF, and to be searched for what its table says."""
    page = page_of(seed)
    as_pdf = Random(f"page form {seed}").random() < 0.5
    about: Fields = {"wh": page.image.size, "file": "pdf" if as_pdf else "png"}
    blocks = [{"type": block.kind, "bbox": block.bbox, "text": block.text} for block in page.blocks]

    def parse() -> Fields:
        return {"document": page_file(page), "seed": seed} if as_pdf else {"image": png(page.image), "seed": seed}

    def extract() -> Fields:
        fields: Fields = {name: {"type": "string"} for name in page.values}
        schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        return {"image": png(page.image), "schema": schema, "seed": seed}

    truth = {"wh": page.image.size, "blocks": blocks}
    yield Item(f"page-{seed}", "page", "/v1/parse-document", parse, truth, about)
    yield Item(f"extract-{seed}", "extract", "/v1/extract", extract, {"data": page.values}, about)


@lru_cache(maxsize=4)
def screen_of(seed: int) -> scenes.Screen:
    random = Random(f"screen file {seed}")
    return scenes.screen(seed, random.choice(SCREEN_SIZES), random.randint(2, 6))


def screen_item(seed: int) -> Item:
    """One button of a screen to be clicked."""
    screen = screen_of(seed)
    button = Random(f"button {seed}").choice(screen.buttons)
    task = prompts.click(button.name)

    def body() -> Fields:
        return {"screenshot": png(screen.image), "task": task, "seed": seed}

    about: Fields = {"wh": screen.image.size, "buttons": len(screen.buttons)}
    return Item(f"act-{seed}", "act", "/v1/act", body, {"bbox": button.bbox}, about)
