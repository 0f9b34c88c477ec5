"""The pictures: scenes that training never saw, as files with a manifest, and what is right about them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.accuracy.asking import slim
from benchmarks.accuracy.figures import figures
from benchmarks.accuracy.items import Item, Record
from benchmarks.accuracy.suites import scenes

Answers = Mapping[str, dict[str, Any]]
"""Id -> the task's result."""
FIGURES = ("detect mAP@0.5", "detect mAP@0.5, sub-labels too", "detect number of boxes right")


@dataclass(frozen=True)
class Pictures:
    """A manifest, and the request of each row as the online path takes it."""

    manifest: Path
    items: list[Item]
    bodies: dict[str, bytes]


def pictures(folder: Path, count: int, model: str) -> Pictures:
    """The detection question about each of so many scenes of odd seeds; files lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    items, rows, bodies = [], [], {}
    for seed in scenes.Sizes().seeds(count):
        item = next(each for each in scenes.picture_items(seed) if each.kind == "detect")
        fields = item.body()
        head, _, data = fields["image"].partition(",")
        name = f"{seed}.{'png' if 'png' in head else 'jpg'}"
        (folder / name).write_bytes(base64.b64decode(data))
        items.append(item)
        rows.append({"id": item.id, **fields, "image": name, "model": model})
        bodies[item.id] = json.dumps({**fields, "model": model}).encode()
    manifest = folder / "in.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pictures(manifest, items, bodies)


def written(out: Path) -> list[dict[str, Any]]:
    """Every row of a bulk run's output."""
    return [row for file in sorted(out.glob("part-*.parquet")) for row in pq.read_table(file).to_pylist()]


def accuracy(items: list[Item], answers: Answers) -> dict[str, float]:
    """The figures of `benchmarks.accuracy` over these answers."""
    records = [
        Record(item.id, item.kind, item.truth, item.about, slim(answers[item.id]))
        for item in items
        if item.id in answers
    ]
    found = figures(records)
    return {name: round(found[name].value, 4) for name in FIGURES if name in found}


def seen(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What an answer says, without how sure it is, which differs in the fourth place with what else the engine steps.

    >>> seen({"objects": [{"bbox_2d": [1, 2, 3, 4], "label": "star", "sub_label": "red", "confidence": 0.91}]})
    [((1, 2, 3, 4), 'star', 'red')]
    """
    return [(tuple(each["bbox_2d"]), each["label"], each.get("sub_label")) for each in answer["objects"]]


def differing(one: Answers, other: Answers) -> int:
    """Pictures of both whose boxes or labels are not the same to the pixel."""
    return sum(seen(one[name]) != seen(other[name]) for name in one.keys() & other.keys())
