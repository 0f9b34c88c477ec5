"""Folders in the shape of public data sets become questions with the right answers, asked over HTTP and scored."""

import base64
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.accuracy.run import Options, Outcome, measure
from benchmarks.accuracy.suites import Wanted, items
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from demo import scenes
from tests.accuracy.conftest import gateway_before

Answered = Callable[[str, Path, str], Awaitable[Outcome]]
"""answered(suite, folder, says)"""


def picture(path: Path, wh: tuple[int, int] = (560, 280)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", wh, "teal").save(path)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures, one of them with a cat, a dog and a crowd of dogs; a third one is not there."""
    folder = tmp_path / "coco"
    picture(folder / "val2017" / "1.jpg")
    picture(folder / "val2017" / "2.jpg")
    file = folder / "annotations" / "instances_val2017.json"
    file.parent.mkdir()
    names = ["cat", "dog"]
    told = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 560, "height": 280} for i in (1, 2, 3)],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 100, 60], "area": 6000, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [200, 40, 100, 100], "area": 10000, "iscrowd": 0},
            {"id": 3, "image_id": 1, "category_id": 2, "bbox": [0, 0, 500, 200], "area": 100000, "iscrowd": 1},
            {"id": 4, "image_id": 3, "category_id": 2, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0},
        ],
    }
    file.write_text(json.dumps(told))
    return folder


@pytest.fixture
def omnidocbench(tmp_path: Path) -> Path:
    """One page with a title, a table, a page number that is to be ignored, and a mask."""
    folder = tmp_path / "omnidocbench"
    picture(folder / "images" / "page.png", (280, 560))
    boxes = {
        "title": (20, 20, 200, 60),
        "table": (20, 100, 260, 200),
        "text_mask": (0, 0, 9, 9),
        "header": (0, 0, 5, 5),
    }

    def block(kind: str, order: int | None, **more: Any) -> dict[str, Any]:
        x1, y1, x2, y2 = boxes[kind]
        return {"category_type": kind, "poly": [x1, y1, x2, y1, x2, y2, x1, y2], "order": order, **more}

    found = [
        block("table", 2, html="<table><tr><td>total</td><td>12</td></tr></table>"),
        block("title", 1, text="A title"),
        block("text_mask", None),
        block("header", None, text="no", ignore=True),
    ]
    info = {"page_no": 0, "width": 280, "height": 560, "image_path": "page.png", "page_attribute": {}}
    (folder / "OmniDocBench.json").write_text(json.dumps([{"layout_dets": found, "page_info": info, "extra": {}}]))
    return folder


@pytest.fixture
def charades(tmp_path: Path) -> Path:
    """One video of ten seconds with one query, and a query about a video that is not there."""
    folder = tmp_path / "charades"
    (folder / "videos").mkdir(parents=True)
    scenes.save_mp4(scenes.clip(1, 10, (128, 96), fps=4), folder / "videos" / "3MSZA.mp4")
    lines = ["3MSZA 2.0 6.0##person turn a light on.", "GONE1 0.0 3.5##a person sits."]
    (folder / "charades_sta_test.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def answered(tmp_path: Path) -> Answered:
    """Runs a suite against a model that says the same to every question."""

    async def answered(suite: str, data: Path, says: str) -> Outcome:
        async with gateway_before(Mock(behaviour=Behaviour(answer=says, chunks=5))) as url:
            options = Options(url, tmp_path / "out", suite, Wanted(data=data), quiet=True, fresh=True)
            return await measure(options)

    return answered


def test_a_coco_folder_asks_for_what_its_annotations_name(coco: Path):
    (item,) = items("coco", Wanted(data=coco))
    body = item.body()
    assert (item.path, body["labels"]) == ("/v1/detect", ["cat", "dog"])
    assert body["image"].startswith("data:image/jpeg;base64,")
    boxes = [(each["label"], each["bbox"], each["crowd"]) for each in item.truth["objects"]]
    assert boxes == [("cat", [20, 20, 120, 80], False), ("dog", [200, 40, 300, 140], False),
                     ("dog", [0, 0, 500, 200], True)]  # fmt: skip


async def test_coco_is_scored_and_a_crowd_is_no_miss(coco: Path, answered: Answered):
    said = '[{"bbox_2d":[20,20,120,80],"label":"cat"},{"bbox_2d":[200,40,300,140],"label":"dog"}]'
    outcome = await answered("coco", coco, said)
    assert outcome.figures["detect mAP@0.5:0.95"].value == pytest.approx(1)
    assert outcome.figures["detect recall@0.5, label right"].count == 2
    outcome = await answered("coco", coco, '[{"bbox_2d":[20,20,120,80],"label":"cat"}]')
    assert outcome.figures["detect mAP@0.5"].value == pytest.approx(0.5)


def test_an_omnidocbench_page_is_its_content_in_reading_order(omnidocbench: Path):
    (item,) = items("omnidocbench", Wanted(data=omnidocbench))
    assert item.path == "/v1/parse-document"
    picture_bytes = base64.b64decode(item.body()["image"].partition(",")[2])
    assert Image.open(io.BytesIO(picture_bytes)).size == (280, 560)
    assert item.truth["blocks"] == [
        {"type": "title", "bbox": [20, 20, 200, 60], "text": "A title"},
        {"type": "table", "bbox": [20, 100, 260, 200], "text": "total 12"},
    ]


async def test_omnidocbench_is_scored(omnidocbench: Path, answered: Answered):
    said = (
        '<html><body><h2 data-bbox="20 20 200 60">A title</h2>'
        '<table data-bbox="20 100 260 150"><tr><td>total</td><td>12</td></tr></table></body></html>'
    )
    outcome = await answered("omnidocbench", omnidocbench, said)
    assert outcome.figures["page text edit distance"].value == 0
    assert outcome.figures["page mean block IoU"].value == pytest.approx((1 + 0.5) / 2)
    assert outcome.figures["page block type right"].value == 1


def test_a_charades_folder_asks_each_query_whose_video_is_there(charades: Path, caplog: pytest.LogCaptureFixture):
    (item,) = items("charades-sta", Wanted(data=charades))
    assert item.truth["spans"] == [(2.0, 6.0)]
    assert item.body()["query"] == "person turn a light on."
    assert "1 queries" in caplog.text


async def test_charades_is_scored(charades: Path, answered: Answered):
    outcome = await answered("charades-sta", charades, "The event happens in 00:02.00 - 00:05.00.")
    assert outcome.figures["moment mean tIoU"].value == pytest.approx(0.75)
    assert outcome.figures["moment R@0.7"].value == 1


@pytest.mark.parametrize("suite", ["coco", "omnidocbench", "charades-sta"])
def test_a_folder_without_the_annotations_is_named(suite: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        items(suite, Wanted(data=tmp_path))


def test_a_folder_of_another_shape_is_told_what_it_lacks(tmp_path: Path):
    (tmp_path / "some.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match="lacks annotations, categories"):
        items("coco", Wanted(data=tmp_path))
    (tmp_path / "OmniDocBench.json").write_text("{}")
    with pytest.raises(ValueError, match="list of pages"):
        items("omnidocbench", Wanted(data=tmp_path))
    (tmp_path / "charades_sta_test.txt").write_text("3MSZA 24.3##a person\n")
    with pytest.raises(ValueError, match="line 1"):
        items("charades-sta", Wanted(data=tmp_path))


def test_a_limit_holds(tmp_path: Path, coco: Path):
    file = coco / "annotations" / "instances_val2017.json"
    told = json.loads(file.read_text())
    told["annotations"].append({"id": 9, "image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81})
    file.write_text(json.dumps(told))
    assert len(items("coco", Wanted(data=coco))) == 2
    assert len(items("coco", Wanted(data=coco, limit=1))) == 1
