"""A folder in COCO's shape: `annotations/instances_*.json` and pictures beside it.

    DIR/annotations/instances_val2017.json     images, annotations (bbox as x, y, width, height), categories
    DIR/val2017/000000000139.jpg               or DIR/images/..., or DIR/...

Each picture is asked for the categories that its annotations name, so a figure says nothing of categories that are not
there (`--suite scenes` has those), and is higher than that of a detector that is asked for all eighty.
"""

import logging
import mimetypes
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from benchmarks.accuracy.items import Fields, Item, data_uri

log = logging.getLogger(__name__)

MOST_LABELS = 64
"""`/v1/detect` takes no more in one request."""


def items(data: Path, limit: int | None = None) -> Iterator[Item]:
    """One question a picture. Raises FileNotFoundError, and ValueError for a folder of another shape."""
    file = annotation_file(data)
    read = read_annotations(file)
    names = {int(each["id"]): str(each["name"]) for each in read["categories"]}
    by_image: dict[int, list[Fields]] = defaultdict(list)
    for annotation in read["annotations"]:
        by_image[annotation["image_id"]].append(truth_of(annotation, names))
    missing = given = 0
    for image in read["images"]:
        objects = by_image[image["id"]]
        path = picture_path(data, file, image["file_name"])
        if path is None or not objects:
            missing += path is None
            continue
        if limit is not None and given == limit:
            break
        given += 1
        labels = sorted({each["label"] for each in objects})[:MOST_LABELS]
        about = {"wh": [image["width"], image["height"]], "objects": len(objects)}
        item_id = f"detect-{image['id']}"
        yield Item(item_id, "detect", "/v1/detect", partial(body, path, labels), {"objects": objects}, about)
    if missing:
        log.warning("%d pictures that %s names are not in %s: left out", missing, file.name, data)


def annotation_file(data: Path) -> Path:
    """The one with boxes; the validation set's where there are several."""
    found = sorted((data / "annotations").glob("instances_*.json")) or sorted(data.glob("*.json"))
    if not found:
        raise FileNotFoundError(f"{data} has no annotations/instances_*.json")
    return next((file for file in found if "val" in file.stem), found[0])


def read_annotations(file: Path) -> dict[str, Any]:
    read = orjson.loads(file.read_bytes())
    lacking = [key for key in ("images", "annotations", "categories") if key not in read]
    if lacking:
        raise ValueError(f"{file} is not in COCO's shape: it lacks {', '.join(lacking)}")
    return dict(read)


def truth_of(annotation: dict[str, Any], names: dict[int, str]) -> Fields:
    """
    >>> truth_of({"bbox": [10, 20, 30, 40], "category_id": 1, "iscrowd": 0}, {1: "cat"})
    {'bbox': [10, 20, 40, 60], 'label': 'cat', 'crowd': False}
    """
    x, y, width, height = annotation["bbox"]
    label = names[annotation["category_id"]]
    return {"bbox": [x, y, x + width, y + height], "label": label, "crowd": bool(annotation.get("iscrowd", 0))}


def picture_path(data: Path, annotations: Path, name: str) -> Path | None:
    """Where a picture lies: in the folder of its set, in `images`, or beside the annotations' folder."""
    places = (annotations.stem.removeprefix("instances_"), "images", "")
    return next((path for place in places if (path := data / place / name).is_file()), None)


def body(path: Path, labels: list[str]) -> Fields:
    return {"image": file_uri(path), "labels": labels}


def file_uri(path: Path) -> str:
    """A file as a data: URI of the type that its name says."""
    return data_uri(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
