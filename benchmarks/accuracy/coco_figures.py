"""Mean average precision as COCO defines it, computed by faster-coco-eval over detection records."""

from collections.abc import Sequence

from faster_coco_eval import COCO, COCOeval_faster

from benchmarks.accuracy.items import Fields, Record
from benchmarks.accuracy.scoring import given_objects

MOST_BOXES = 100
"""Boxes that count in one picture, as in COCO."""


def average_precision(records: Sequence[Record], *, with_sub_labels: bool = False) -> dict[str, float]:
    """`mAP@0.5:0.95`, `mAP@0.5` and `mAP@0.75` over the categories that the truth names.

    A category is a label, or a label with its sub-label. Boxes are ranked by the server's confidence; without one all
    rank alike. A label that no truth names is a category without truth, which COCO leaves out of the mean: count boxes
    (`detect precision`) to see those.
    """
    categories = {name: i for i, name in enumerate(sorted(named(records, with_sub_labels)), start=1)}
    if not categories:
        return {}
    truth = truth_of(records, categories, with_sub_labels)
    found = found_of(records, categories, with_sub_labels)
    if not found:
        return {"mAP@0.5:0.95": 0.0, "mAP@0.5": 0.0, "mAP@0.75": 0.0}
    known = COCO(truth)
    evaluation = COCOeval_faster(known, known.loadRes(found), "bbox", print_function=lambda *_: None)
    evaluation.params.maxDets = [1, 10, MOST_BOXES]
    evaluation.run()
    figures = evaluation.stats_as_dict
    return {"mAP@0.5:0.95": figures["AP_all"], "mAP@0.5": figures["AP_50"], "mAP@0.75": figures["AP_75"]}


def category(found: Fields, with_sub_labels: bool) -> str:
    """
    >>> category({"label": "star", "sub_label": "red"}, True), category({"label": "star"}, False)
    ('star, red', 'star')
    """
    return f"{found.get('label')}, {found.get('sub_label')}" if with_sub_labels else str(found.get("label"))


def named(records: Sequence[Record], with_sub_labels: bool) -> set[str]:
    return {category(each, with_sub_labels) for record in records for each in record.truth["objects"]}


def truth_of(records: Sequence[Record], categories: dict[str, int], with_sub_labels: bool) -> Fields:
    """A COCO data set of what there is."""
    annotations: list[Fields] = []
    for image_id, record in enumerate(records, start=1):
        for each in record.truth["objects"]:
            x1, y1, x2, y2 = each["bbox"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": categories[category(each, with_sub_labels)],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(each.get("crowd", False)),
                }
            )
    return {
        "info": {},
        "images": [
            {"id": i, "width": record.about["wh"][0], "height": record.about["wh"][1]}
            for i, record in enumerate(records, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for name, i in categories.items()],
    }


def found_of(records: Sequence[Record], categories: dict[str, int], with_sub_labels: bool) -> list[Fields]:
    """What was found, as COCO's results have it."""
    found = []
    for image_id, record in enumerate(records, start=1):
        for each in given_objects(record):
            number = categories.get(category(each, with_sub_labels))
            if number is None:
                continue
            x1, y1, x2, y2 = each["bbox_2d"]
            score = each.get("confidence")
            found.append(
                {
                    "image_id": image_id,
                    "category_id": number,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": 1.0 if score is None else float(score),
                }
            )
    return found
