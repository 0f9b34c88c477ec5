"""What is asked about a picture of shapes, and the right answer, each kind once a picture.

The names and phrases are drawn as training draws them (`demo/lessons.py`), so that a figure tells of unseen pictures
and not of unseen words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.accuracy.items import Fields
from demo import lessons, prompts
from demo.scenes import COLOURS, SHAPES, Thing

CHAT = "/v1/chat/completions"
DETECT = "/v1/detect"


@dataclass(frozen=True)
class Asked:
    """A question; its picture is put in by `with_picture`."""

    kind: str
    path: str
    fields: Fields
    truth: Fields


def with_picture(fields: Fields, source: str, seed: int) -> Fields:
    """The request's fields with the picture in its place: `image`, or before a chat's question."""
    if "messages" not in fields:
        return {"image": source, **fields, "seed": seed}
    part = {"type": "image_url", "image_url": {"url": source}}
    text = {"type": "text", "text": fields["messages"]}
    system = {"role": "system", "content": prompts.SYSTEM}
    return {**fields, "messages": [system, {"role": "user", "content": [part, text]}], "seed": seed}


def questions(seed: int, things: Sequence[Thing]) -> Iterator[Asked]:
    """All that is asked about the picture of this seed."""
    random = Random(f"questions {seed}")
    yield detection("detect", things, list(SHAPES), list(COLOURS))
    some = lessons.some_labels(random, things)
    yield detection("some", [thing for thing in things if thing.label in some], some)
    yield Asked("everything", DETECT, {}, {"objects": told(things, coloured=False)})
    absent = [label for label in SHAPES if label not in {thing.label for thing in things}]
    if absent:
        yield Asked("absent", DETECT, {"labels": [random.choice(absent)]}, {})
    yield from counting(random, things)
    yield from grounding(random, things)
    labels = lessons.some_labels(random, things)
    boxes = [thing.bbox for thing in things if thing.label in labels]
    yield Asked("point", DETECT, {"labels": labels, "mode": "point"}, {"boxes": boxes})
    yield Asked("caption", "/v1/caption", {}, {"names": [f"{t.colour} {t.label}" for t in things]})


def told(things: Sequence[Thing], *, coloured: bool) -> list[Fields]:
    return [
        {"bbox": thing.bbox, "label": thing.label, **({"sub_label": thing.colour} if coloured else {})}
        for thing in things
    ]


def detection(
    kind: str, things: Sequence[Thing], labels: Sequence[str], sub_labels: Sequence[str] | None = None
) -> Asked:
    """Boxes of labels; with their colours where `sub_labels` are given."""
    fields: Fields = {"labels": list(labels), **({"sub_labels": list(sub_labels)} if sub_labels else {})}
    return Asked(kind, DETECT, fields, {"objects": told(things, coloured=bool(sub_labels))})


def counting(random: Random, things: Sequence[Thing]) -> Iterator[Asked]:
    """How many there are: as the number of boxes, and asked in words."""
    name, found = lessons.named(random, things)
    yield Asked("count", DETECT, {"labels": [name]}, {"count": len(found)})
    name, found = ("shape", list(things)) if random.random() < 0.4 else lessons.named(random, things)
    fields = {"messages": prompts.count(name), "max_tokens": 64, "temperature": 0}
    yield Asked("count-words", CHAT, fields, {"count": len(found)})


def grounding(random: Random, things: Sequence[Thing]) -> Iterator[Asked]:
    """One thing by where it is among others: `the largest star`, and `the circle left of the square`."""
    name, found = ("shape", list(things)) if random.random() < 0.3 else lessons.named(random, things)
    places = [place for place in lessons.PLACES if is_clear(place, found)]
    if places:
        place = random.choice(places)
        truth = {"bbox": min(found, key=lessons.PLACES[place]).bbox}
        yield Asked("ground", DETECT, {"prompt": f"the {place} {name}"}, truth)
    related = relations(things)
    if related:
        phrase, thing = random.choice(related)
        yield Asked("relate", DETECT, {"prompt": phrase}, {"bbox": thing.bbox})


CLEAR_SHARE, CLEAR_PX = 0.15, 12
"""What the largest is larger than the next, as a share; what the leftmost's middle is further left, in pixels."""


def is_clear(place: str, found: Sequence[Thing]) -> bool:
    """Whether one of them is the largest, or leftmost, also where the picture is shown much smaller.

    >>> is_clear("leftmost", [Thing("star", "red", (0, 0, 9, 9)), Thing("star", "blue", (2, 50, 11, 59))])
    False
    """
    if len(found) < 2:
        return len(found) == 1
    first, second = sorted(map(lessons.PLACES[place], found))[:2]
    if place in ("largest", "smallest"):
        return second - first >= CLEAR_SHARE * max(abs(first), abs(second))
    return second - first >= 2 * CLEAR_PX


def relations(things: Sequence[Thing]) -> list[tuple[str, Thing]]:
    """Phrases that name one thing by a relation to another, where neither can be mistaken.

    >>> two = [Thing("circle", "red", (0, 0, 9, 9)), Thing("star", "red", (20, 0, 29, 9))]
    >>> [phrase for phrase, _ in relations(two)]
    ['the circle left of the star', 'the star right of the circle']
    """
    labels = [thing.label for thing in things]
    alone = [thing for thing in things if labels.count(thing.label) == 1]
    return [
        (f"the {thing.label} {side} the {other.label}", thing)
        for thing in alone
        for other in alone
        for side, holds in lessons.SIDES.items()
        if thing is not other and holds(thing, other)
    ]
