"""Results draw themselves and turn into the forms that other tools read."""

import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFont

import qwenvl
from qwenvl import Client, Detection
from qwenvl.drawing import fonts
from qwenvl.drawing.marks import colour_of
from tests.clients.conftest import Served
from tests.media.conftest import make
from tests.tasks.common import pdf, picture

ENVELOPE: dict[str, Any] = {
    "id": "x-1",
    "object": "detection",
    "created": 1,
    "model": "m",
    "warnings": [],
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
SIZE = {"width": 560, "height": 280}
OBJECTS: list[dict[str, Any]] = [
    {"bbox_2d": [56, 56, 280, 224], "label": "cat", "sub_label": "asleep", "confidence": 0.9},
    {"bbox_2d": [400, 10, 500, 60], "label": "dog", "confidence": None},
]


def detection(**changes: Any) -> Detection:
    fields = {"objects": OBJECTS, "count": 2, "not_found": [], "image": SIZE, "model_input": SIZE, **changes}
    return Detection.model_validate({**ENVELOPE, **fields})


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


# -- what the server said --------------------------------------------------------------------------------------------
def test_a_result_gives_back_what_the_server_sent_and_keeps_what_it_does_not_know():
    sent = {**ENVELOPE, "objects": [], "count": 0, "image": SIZE, "model_input": SIZE, "newer_field": {"a": 1}}
    assert Detection.model_validate(sent).model_dump(mode="json", exclude_unset=True) == sent


# -- drawing ---------------------------------------------------------------------------------------------------------
def test_an_overlay_has_its_boxes_where_the_answer_says(tmp_path: Path):
    drawn = Image.open(detection().save_overlay(tmp_path / "out.png", image=picture()))
    assert drawn.size == (560, 280)
    colour = colour_of("cat, asleep")
    for edge in ((56, 140), (279, 140), (168, 223)):
        assert drawn.getpixel(edge) == colour, edge
    assert drawn.getpixel((168, 140)) != colour


@pytest.mark.parametrize("space", ["unit", "per_mille"])
def test_boxes_of_every_coordinate_space_are_drawn_in_the_same_places(space: str):
    scale = {"unit": (1 / 560, 1 / 280), "per_mille": (1000 / 560, 1000 / 280)}[space]
    boxes = [
        {**each, "bbox_2d": [value * scale[at % 2] for at, value in enumerate(each["bbox_2d"])]} for each in OBJECTS
    ]
    moved = detection(objects=boxes, coordinate_space=space)
    assert [[round(value) for value in mark.place] for mark in moved.marks()] == [
        [round(value) for value in mark.place] for mark in detection().marks()
    ]


def test_a_turned_photo_is_drawn_as_its_viewer_sees_it(client: Client, served: Served, tmp_path: Path):
    served.says('[{"bbox_2d":[14,28,140,56],"label":"cat"}]')
    found = client.detect(picture(560, 280, orientation=6), ["cat"])
    assert found.draw().size == found.image.wh == (560, 280)
    assert found.draw().getpixel((14, 40)) == colour_of("cat")


def test_a_result_of_a_client_knows_its_picture(client: Client, served: Served, photo: Path, tmp_path: Path):
    served.says('[{"point_2d":[14,28],"label":"star"}]')
    found = client.detect(photo, ["star"], mode="point")
    assert Image.open(found.save_overlay(tmp_path / "out.png")).getpixel((14, 28)) == colour_of("star")
    assert Image.open(io.BytesIO(found._repr_png_())).size == (560, 280)


def test_show_opens_the_picture_in_the_machines_viewer(monkeypatch: pytest.MonkeyPatch):
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(picture))
    detection().show(picture())
    assert [each.size for each in shown] == [(560, 280)]


def test_a_result_from_a_file_has_to_be_told_its_picture():
    with pytest.raises(ValueError, match="image="):
        detection().draw()
    assert detection()._repr_png_() is None  # a notebook shows its text instead


def test_see_through_pictures_are_drawn_on_white():
    out = io.BytesIO()
    Image.new("RGBA", (560, 280), (0, 0, 0, 0)).save(out, "PNG")
    assert detection().draw(out.getvalue()).getpixel((5, 275)) == (255, 255, 255)


def test_labels_stay_inside_the_picture():
    """A long label at the right edge, and one at the top."""
    box = [{"bbox_2d": [540, 0, 560, 20], "label": "an unusually long label indeed"}]
    colour = colour_of("an unusually long label indeed")
    drawn = detection(objects=box).draw(picture())
    columns = [x for x in range(560) if drawn.getpixel((x, 4)) == colour]
    assert min(columns) < 450


def test_an_svg_writes_every_script_and_trusts_no_label(tmp_path: Path):
    objects = [{"bbox_2d": [1, 2, 30, 40], "label": label} for label in ("\u732b", "\u0642\u0637\u0629", "<script>")]
    svg = detection(objects=objects).save_overlay(tmp_path / "out.svg", image=picture()).read_text()
    assert "\u732b" in svg
    assert "\u0642\u0637\u0629" in svg
    assert "<script>" not in svg


def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_files", lambda: ())
    fonts._font_with.cache_clear()


def test_letters_that_no_font_has_become_numbers_with_an_svg_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    no_fonts(monkeypatch)
    objects = [{"bbox_2d": [10, 20, 300, 400], "label": "\u732b"}]
    with pytest.warns(qwenvl.UnwrittenLabelsWarning, match=r"out\.svg"):
        detection(objects=objects).save_overlay(tmp_path / "out.png", image=picture())
    assert "\u732b" in (tmp_path / "out.svg").read_text()
    fonts._font_with.cache_clear()


def test_a_font_of_the_system_writes_what_pillows_own_cannot(monkeypatch: pytest.MonkeyPatch):
    """Greek is in DejaVu, which most Linux systems have, and not in Pillow's own."""
    greek = "\u03b3\u03ac\u03c4\u03b1"
    if not any("DejaVuSans" in path for path in fonts._files()):
        pytest.skip("DejaVu is not installed")
    pieces = fonts.runs(f"cat {greek}", 20)
    assert pieces is not None
    assert [words for words, _ in pieces] == ["cat ", greek]
    assert pieces[1][1].getname()[0] != ImageFont.load_default(20).getname()[0]  # type: ignore[union-attr]


def test_pages_of_a_pdf_are_drawn_and_saved(client: Client, served: Served, tmp_path: Path):
    served.says('<html><body><h1 data-bbox="10 20 90 40">Bill</h1></body></html>')
    document = client.parse_document(pdf((200, 100, "a"), (200, 100, "b")))
    paths = document.save_overlays(tmp_path / "pages")
    assert [path.name for path in paths] == ["page-001.png", "page-002.png"]
    page = document.pages[1]
    assert page.blocks is not None
    assert page.blocks[0].bbox_2d is not None
    x1, _, _, y2 = page.blocks[0].bbox_2d
    with Image.open(paths[1]) as drawn:
        assert drawn.size == page.wh
        assert drawn.getpixel((round(x1), round(y2) - 1)) == colour_of("title")


def test_events_are_drawn_as_bars_in_time(client: Client, served: Served, tmp_path: Path):
    served.says('[{"start_time":"00:01.00","end_time":"00:02.00","description":"It grows."}]')
    found = client.localize_events(make([at / 10 for at in range(40)]))
    drawn = Image.open(found.save_overlay(tmp_path / "out.png"))
    bar = [x for x in range(drawn.width) if drawn.getpixel((x, 24 + 30)) == colour_of("It grows.")]
    share = [(bar[0] - 24) / (drawn.width - 48), (bar[-1] - 24) / (drawn.width - 48)]
    assert share == pytest.approx([1 / found.duration_s, 2 / found.duration_s], abs=0.01)
    assert "It grows." in found.save_overlay(tmp_path / "out.svg").read_text()


def test_clicks_lines_and_evidence_are_drawn(client: Client, served: Served, photo: Path, tmp_path: Path):
    click = '{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [140, 28]}}'
    served.says(f"<tool_call>\n{click}\n</tool_call>")
    action = client.act(photo, "open it", device_pixel_ratio=2)
    assert action.action["coordinate"] == [70, 14]
    assert action.draw().getpixel((140, 28)) == colour_of("left_click")
    served.says('[{"bbox_2d":[14,28,140,56],"text_content":"TOTAL"}]')
    assert client.read_text(photo, level="line").draw().getpixel((14, 40)) == colour_of("line")


def test_evidence_is_drawn_on_its_page(photo: Path):
    page = {"page": 2, "image": SIZE, "model_input": SIZE}
    evidence = [{"field": "total", "page": 2, "bbox_2d": [10, 20, 90, 60], "quote": "5", "match": "exact"}]
    facts = qwenvl.Extraction.model_validate({**ENVELOPE, "data": {"total": 5}, "evidence": evidence, "pages": [page]})
    assert facts.on_page(2).draw(photo).getpixel((10, 40)) == colour_of("total")
    with pytest.raises(ValueError, match=r"\[2\] were"):
        facts.on_page(1)


# -- other forms -----------------------------------------------------------------------------------------------------
def test_coco_holds_many_pictures_in_one_dataset():
    dataset = qwenvl.coco_dataset({"a.jpg": detection(), "b.jpg": detection(objects=OBJECTS[1:])}, ["dog"])
    assert [category["name"] for category in dataset["categories"]] == ["dog", "cat"]
    assert [(each["image_id"], each["category_id"]) for each in dataset["annotations"]] == [(1, 2), (1, 1), (2, 1)]
    assert dataset["annotations"][0]["bbox"] == [56, 56, 224, 168]
    assert dataset["images"][1]["file_name"] == "b.jpg"
    json.dumps(dataset)


def test_the_client_and_the_server_write_the_same_yolo_and_coco(client: Client, served: Served, photo: Path):
    served.says('[{"bbox_2d":[14,28,140,56],"label":"cat"}]')
    found = client.detect(photo, ["dog", "cat"])
    with photo.open("rb") as file:
        forms = [
            served.http.post(
                f"{served.url}/v1/detect", data={"labels": '["dog", "cat"]', "format": form}, files={"image": file}
            ).json()
            for form in ("yolo", "coco")
        ]
    assert found.to_yolo(["dog", "cat"]) == forms[0]["yolo"]["labels"]
    assert found.to_coco("", ["dog", "cat"])["annotations"] == forms[1]["coco"]["annotations"]


def test_rows_have_a_column_for_each_number():
    assert detection().to_rows()[0] == {
        "label": "cat",
        "sub_label": "asleep",
        "confidence": 0.9,
        "x1": 56,
        "y1": 56,
        "x2": 280,
        "y2": 224,
    }


@needs("pandas")
def test_rows_become_a_table():
    assert list(detection().to_pandas()["label"]) == ["cat", "dog"]


@needs("supervision")
def test_boxes_become_detections():
    found = detection().to_supervision(["dog", "cat"])
    assert found.xyxy.tolist() == [[56, 56, 280, 224], [400, 10, 500, 60]]
    assert found.class_id.tolist() == [1, 0]
    assert found.data["class_name"].tolist() == ["cat", "dog"]
    assert len(detection(objects=[]).to_supervision()) == 0


def page_of_everything() -> qwenvl.Document:
    table = "<table><tr><th>a<th>b</tr><tr><td colspan=2>c</td></tr></table>"
    blocks = [
        {"type": "title", "order": 0, "bbox_2d": [1, 2, 30, 40], "level": 1, "text": "Bill", "html": "<h1>Bill</h1>"},
        {"type": "paragraph", "order": 1, "bbox_2d": [1, 50, 30, 60], "text": "Hello", "html": "<p>Hello</p>"},
        {"type": "list", "order": 2, "bbox_2d": None, "text": "one\ntwo", "html": "<ul><li>one<li>two</ul>"},
        {"type": "table", "order": 3, "bbox_2d": [1, 70, 30, 90], "text": "a b c", "html": table},
        {"type": "figure", "order": 4, "bbox_2d": [1, 91, 30, 99], "text": "", "html": "<figure></figure>"},
        {"type": "formula", "order": 5, "bbox_2d": None, "text": "E=mc^2", "html": "<p>E=mc^2</p>"},
        {"type": "code", "order": 6, "bbox_2d": None, "text": "print()", "html": "<pre>print()</pre>"},
        {"type": "footer", "order": 7, "bbox_2d": None, "text": "page 1", "html": "<p>page 1</p>"},
    ]
    page = {"page": 1, "status": "completed", "width": 100, "height": 200, "blocks": blocks}
    return qwenvl.Document.model_validate({**ENVELOPE, "pages": [page], "status": "completed"})


@needs("docling_core")
def test_a_document_becomes_doclings():
    found = page_of_everything().to_docling("bill")
    markdown = found.export_to_markdown()
    assert markdown.startswith("# Bill") or "Bill" in markdown.splitlines()[0]
    assert "- one" in markdown
    assert [len(table.data.table_cells) for table in found.tables] == [3]
    assert found.pages[1].size.width == 100
    place = found.texts[0].prov[0]
    assert (place.page_no, place.bbox.t, place.bbox.b) == (1, 2, 40)


@pytest.mark.parametrize(
    ("make_form", "extra"),
    [
        (lambda: detection().to_pandas(), "pandas"),
        (lambda: detection().to_supervision(), "supervision"),
        (lambda: page_of_everything().to_docling(), "docling"),
    ],
    ids=["pandas", "supervision", "docling"],
)
def test_a_missing_library_says_what_to_install(make_form: Any, extra: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("pandas", "supervision", "docling_core", "docling_core.types.doc"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'qwenvl\[{extra}\]'"):
        make_form()
