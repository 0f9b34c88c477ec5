"""Each tab, from a sample to what is drawn over it."""

import io
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from benchmarks.overhead.behaviour import Behaviour
from tests.conftest import until
from tests.playground.common import furthest, on_screen, open_tab, pick, rectangles, run, saved
from tests.playground.oracle import CAPTION, SAMPLES, THOUGHT, Oracle, samples
from tests.tasks.common import pdf

if TYPE_CHECKING:
    from playwright.async_api import FilePayload, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

ARRIVED = """time_s => {
  const video = document.querySelector(".player video")
  return video.currentTime === time_s && !video.seeking
}"""
"""A function and no expression, which Playwright would evaluate in the page at every look: its policy forbids that."""
NEAR_PX = 2
"""What lies within is at the right place: a pixel of rounding in the model's picture, and one on the screen."""


async def test_boxes_lie_where_the_things_are(page: "Page", base_url: str) -> None:
    scene = samples().PICTURES["shapes"]
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await run(view)
    assert await view.locator(".results h2").inner_text() == "6 objects"
    expected = await on_screen(view, [thing.bbox for thing in scene.objects], scene.image.size)
    assert furthest(await rectangles(view, ".mark.box"), expected) <= NEAR_PX


async def test_boxes_stay_with_the_picture_when_the_window_changes(page: "Page", base_url: str) -> None:
    scene = samples().PICTURES["shapes"]
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await run(view)
    await page.set_viewport_size({"width": 430, "height": 900})
    expected = await on_screen(view, [thing.bbox for thing in scene.objects], scene.image.size)
    assert furthest(await rectangles(view, ".mark.box"), expected) <= NEAR_PX


async def test_sub_labels_are_told_apart_by_colour_and_can_be_hidden(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Stars by colour")
    await run(view)
    assert await view.locator(".tag").all_inner_texts() == ["star, red", "star, green", "star, orange", "star, green"]
    colours = await view.locator(".mark").evaluate_all(
        "all => all.map(each => each.style.getPropertyValue('--colour'))"
    )
    assert colours[1] == colours[3]
    assert len(set(colours)) == 3
    await view.get_by_role("button", name="green 2").click()
    assert await view.locator(".tag").all_inner_texts() == ["star, red", "star, orange"]
    await view.get_by_role("button", name="Names").click()
    assert await view.locator(".tag").count() == 0
    assert await view.locator(".mark").count() == 2


async def test_points_are_pinned_where_they_are(page: "Page", base_url: str) -> None:
    scene = samples().PICTURES["tall"]
    view = await open_tab(page, base_url, "detect")
    await pick(view, "By description")
    await view.get_by_role("radio", name="Point").check()
    await run(view)
    circle = next(thing.bbox for thing in scene.objects if thing.label == "circle")
    x, y = (circle[0] + circle[2]) / 2, (circle[1] + circle[3]) / 2
    expected = await on_screen(view, [(x, y, x, y)], scene.image.size)
    assert furthest(await rectangles(view, ".mark.point"), expected) <= NEAR_PX


async def test_the_pointer_tells_what_lies_under_it_and_where(page: "Page", base_url: str) -> None:
    scene = samples().PICTURES["shapes"]
    star = next(thing for thing in scene.objects if thing.label == "star")
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await run(view)
    ((left, top, right, bottom),) = await on_screen(view, [star.bbox], scene.image.size)
    await page.mouse.move((left + right) / 2, (top + bottom) / 2)
    readout = view.locator(".readout-mark")
    assert (await readout.locator("strong").inner_text()) == "star"
    corners = [int(number) for number in re.findall(r"\d+", await readout.locator("code").inner_text())]
    assert furthest([corners], [star.bbox]) <= 1
    assert await view.locator(".mark.active .tag").inner_text() == "star"
    assert await view.locator(".found .active").inner_text() != ""


async def test_exports_are_as_the_server_writes_them(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await run(view)
    answered = json.loads(await saved(page, view, "JSON"))
    coco = json.loads(await saved(page, view, "COCO"))
    yolo = (await saved(page, view, "YOLO labels")).decode()
    classes = (await saved(page, view, "YOLO classes")).decode().split()
    png = await saved(page, view, "PNG")
    labels = json.dumps(["star", "circle", "square", "triangle"])
    for form in ("coco", "yolo"):
        fields = {"labels": labels, "format": form, "image": sent("shapes.png", "image/png")}
        response = await page.request.post(f"{base_url}/v1/detect", multipart=fields)
        server = await response.json()
        assert server["objects"] == answered["objects"]
        if form == "coco":
            assert coco["categories"] == server["coco"]["categories"]
            assert coco["images"] == [{**server["coco"]["images"][0], "file_name": "shapes.png"}]
            assert [each["category_id"] for each in coco["annotations"]] == [
                each["category_id"] for each in server["coco"]["annotations"]
            ]
            boxes = [[each["bbox"] for each in form["annotations"]] for form in (coco, server["coco"])]
            assert furthest(*boxes) <= 1, "the server's are from before its answer was rounded to whole pixels"
        else:
            assert classes == server["yolo"]["names"]
            lines = [
                [[float(part) for part in line.split()] for line in text.splitlines()]
                for text in (yolo, server["yolo"]["labels"])
            ]
            assert furthest(*lines) <= 1 / 640
    assert png.startswith(b"\x89PNG")


async def test_blocks_lie_on_their_pages_and_light_up_with_their_text(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "parse-document")
    await pick(view, "Three pages")
    await page.locator("canvas[data-drawn=true]").first.wait_for()
    await run(view)
    assert await view.locator(".results h2").inner_text() == "3 pages, 12 blocks"
    for number, scene in enumerate(samples().PAGES, start=1):
        await view.get_by_role("button", name=f"Page {number}, completed").click()
        sheet = view.locator(f"[data-page='{number}']")
        expected = await on_screen(sheet, [block.bbox for block in scene.blocks], scene.image.size)
        assert furthest(await rectangles(sheet, ".mark"), expected) <= NEAR_PX
    title = samples().PAGES[0].blocks[0].text
    text = view.locator(".block", has_text=title)
    await text.hover()
    lit = view.locator(".pages .mark.active")
    assert await lit.get_attribute("data-mark") == await text.get_attribute("data-mark")
    box = (await rectangles(view, ".pages .mark.active"))[0]
    await page.mouse.move((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    assert title in await view.locator(".block.active").inner_text()


def scanned() -> bytes:
    """A PDF whose page is a JPEG 2000 picture, which PDF.js decodes in WebAssembly."""
    out = io.BytesIO()
    Image.new("RGBA", (400, 300), (20, 120, 220, 255)).save(out, "PDF")
    return out.getvalue()


SHADES = """
  const canvas = document.querySelector('canvas')
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
  return new Set(pixels.filter((_, at) => at % 4 === 0)).values().toArray().sort((a, b) => a - b)
"""
"""The reds of what was drawn, the darkest first."""


@pytest.mark.parametrize(
    ("data", "darkest"),
    [
        pytest.param(scanned, 20, id="a scan in JPEG 2000"),
        pytest.param(lambda: pdf((400, 300, "Words")), 0, id="letters without their font"),
    ],
)
async def test_pages_of_other_kinds_are_drawn_too(
    page: "Page", base_url: str, data: Callable[[], bytes], darkest: int
) -> None:
    view = await open_tab(page, base_url, "parse-document")
    file: FilePayload = {"name": "some.pdf", "mimeType": "application/pdf", "buffer": data()}
    await view.locator("input[type=file]").set_input_files(file)
    await page.locator("canvas[data-drawn=true]").wait_for()
    left, top, right, bottom = (await rectangles(view, "canvas"))[0]
    assert abs((right - left) / (bottom - top) - 400 / 300) < 0.01
    assert (await page.evaluate(f"(() => {{{SHADES}}})()"))[0] == darkest


async def test_a_document_is_there_as_markdown_html_and_json_too(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "parse-document")
    await pick(view, "One page")
    await run(view)
    await view.get_by_role("tab", name="Markdown").click()
    assert f"# {samples().RECEIPT.blocks[0].text}" in await view.locator("pre").inner_text()
    await view.get_by_role("tab", name="JSON").click()
    assert json.loads(await view.locator("pre").inner_text())["pages"][0]["status"] == "completed"
    await view.get_by_role("tab", name="HTML").click()
    frame = view.frame_locator("iframe.sandbox")
    assert await frame.locator("td").all_inner_texts() == [
        cell for row in samples().RECEIPT.values.items() for cell in row
    ]
    family = await frame.locator("td").first.evaluate("cell => getComputedStyle(cell).borderTopStyle")
    assert family == "solid", "the frame's style sheet was loaded"


async def test_events_are_on_the_timeline_and_jump_the_player(page: "Page", base_url: str) -> None:
    clip = samples().CLIP
    view = await open_tab(page, base_url, "localize-events")
    await pick(view, "Everything")
    await page.wait_for_function("() => document.querySelector('.player video').readyState >= 1")
    await run(view)
    left, top, right, bottom = (await rectangles(view, ".track"))[0]
    per_s = (right - left) / clip.duration_s
    spans = await rectangles(view, ".span")
    expected = [[left + event.start_s * per_s, left + event.end_s * per_s] for event in clip.events]
    assert furthest([[span[0], span[2]] for span in spans], expected) <= NEAR_PX
    assert all(top <= span[1] and span[3] <= bottom for span in spans)
    await view.locator(".found button").nth(3).click()
    await page.wait_for_function(ARRIVED, arg=clip.events[3].start_s)

    async def playhead_there() -> bool:
        playhead = (await rectangles(view, ".playhead"))[0]
        return abs((playhead[0] + playhead[2]) / 2 - expected[3][0]) <= NEAR_PX

    await until(playhead_there)


async def test_the_agent_points_at_the_button(page: "Page", base_url: str) -> None:
    scene = samples().SCREEN
    button = next(each for each in scene.buttons if each.name == "Login")
    view = await open_tab(page, base_url, "act")
    await pick(view, "Six buttons")
    await run(view)
    x, y = button.centre
    ((wanted_x, wanted_y, _, _),) = await on_screen(view, [(x, y, x, y)], scene.image.size)
    left, top, right, bottom = (await rectangles(view, "[data-target]"))[0]
    assert abs((left + right) / 2 - wanted_x) <= NEAR_PX
    assert abs((top + bottom) / 2 - wanted_y) <= NEAR_PX
    assert THOUGHT in await view.locator(".results").inner_text()


async def test_what_the_agent_did_is_told_with_the_next_question(page: "Page", base_url: str, engine: Oracle) -> None:
    view = await open_tab(page, base_url, "act")
    await pick(view, "Six buttons")
    await run(view)
    await view.get_by_role("button", name="Count it as done").click()
    assert "Click at" in await view.locator(".steps").inner_text()
    await run(view)
    assert b"You have done: Step 1: " in engine.requests[-1].body


async def test_a_swipe_is_an_arrow_and_what_costs_money_is_a_persons_to_allow(
    page: "Page", base_url: str, engine: Oracle
) -> None:
    arguments = {"action": "swipe", "coordinate": [280, 560], "coordinate2": [280, 140]}
    call = json.dumps({"name": "mobile_use", "arguments": arguments})
    engine.behaviour = Behaviour(answer=f"<tool_call>{call}</tool_call>")
    view = await open_tab(page, base_url, "act")
    await pick(view, "Six buttons")
    await view.get_by_role("radio", name="Mobile").check()
    await run(view)
    assert await view.locator(".target").count() == 2
    assert "Swipe from" in await view.locator(".results h2").inner_text()
    engine.behaviour = Behaviour()
    await view.get_by_role("radio", name="Computer").check()
    await view.get_by_label("Task").fill("Pay with the Send button")
    await run(view)
    assert "A person should allow this first" in await view.locator(".confirm").inner_text()


async def test_a_task_that_the_page_has_never_heard_of_has_a_form_too(page: "Page", base_url: str) -> None:
    listed = await (await page.request.get(f"{base_url}/v1/tasks")).json()
    card = next(card for card in listed["data"] if card["id"] == "caption")
    card["id"], card["summary"] = "tell-a-story", "Tell a story about a picture."
    hero = {"type": "string", "title": "Hero", "description": "Who it is about."}
    card["request_schema"]["properties"]["hero"] = hero
    await page.route("**/v1/tasks", lambda route: route.fulfill(json=listed))
    view = await open_tab(page, base_url, "tell-a-story")
    await view.get_by_role("textbox", name="Hero").wait_for()
    await pick(view, "Shapes")
    await run(view)
    assert CAPTION in await view.locator(".results").inner_text()
    await page.unroute_all()


async def test_a_caption_is_written(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "caption")
    await pick(view, "Shapes")
    await run(view)
    assert (await view.locator(".told").inner_text()).strip() == CAPTION


async def test_extracted_values_show_where_they_stand(page: "Page", base_url: str) -> None:
    scene = samples().RECEIPT
    view = await open_tab(page, base_url, "extract")
    await pick(view, "Three fields")
    await run(view)
    rows = await view.locator(".facts-table tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [[name, value] for name, value in scene.values.items()]
    assert await view.locator(".tag").all_inner_texts() == list(scene.values)
    await view.locator(".facts-table tr", has_text="total").hover()
    assert await view.locator(".mark.active .tag").inner_text() == "total"


async def test_forms_are_made_from_what_the_server_says_of_its_tasks(page: "Page", base_url: str) -> None:
    listed = (await (await page.request.get(f"{base_url}/v1/tasks")).json())["data"]
    shown = {"caption": ["length"], "read-text": ["level", "order"], "extract": ["schema", "evidence", "question"]}
    for task in listed:
        if task["id"] not in shown:
            continue
        assert set(shown[task["id"]]) <= set(task["request_schema"]["properties"])
        view = await open_tab(page, base_url, task["id"])
        legends = await view.locator(".controls > .field > :is(label, legend)").all_inner_texts()
        names = [legend.strip().lower().replace(" ", "_") for legend in legends]
        assert names == shown[task["id"]]
        await view.locator(".options summary").click()
        assert await view.get_by_label("Longest answer, in tokens").is_visible()


async def test_the_model_card_says_what_answers_here(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "model")
    card = view.locator(".cards article")
    await card.get_by_text("8.3 billion").wait_for()
    said = await card.inner_text()  # one card: a model and its alias are the same
    assert [word for word in ("32,768 tokens", "qwen2.5-vl", "Apache License 2.0", "yes") if word not in said] == []


async def test_what_fits_is_what_the_server_computes(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "model")
    cells = view.locator(".verdict")
    await cells.nth(9).wait_for()
    shown = await cells.all_inner_texts()
    for at, (gpu, precision) in {1: ("24 GB", "bf16"), 8: ("80 GB", "awq")}.items():
        query: dict[str, str | float | bool] = {
            "model": "Qwen/Qwen2.5-VL-7B-Instruct",
            "gpu": gpu,
            "precision": precision,
        }
        fit = await (await page.request.get(f"{base_url}/v1/fit", params=query)).json()
        assert shown[at].replace(",", "") == str(fit["largest_concurrency"])
    await view.get_by_role("textbox", name="Card").fill("Abacus")
    await view.get_by_role("button", name="Check").click()
    assert "known are" in await view.locator(".error").inner_text()
    await view.get_by_role("combobox", name="Model").fill("72B")
    await view.get_by_role("textbox", name="Card").fill("L4")
    await view.get_by_role("button", name="Check").click()
    await view.get_by_text("GiB are missing on each card").wait_for()
    await view.get_by_text("It fits if").wait_for()


async def test_a_server_without_sizing_shows_none(page: "Page", base_url: str) -> None:
    missing = {"error": {"message": "there is nothing at /v1/fit", "code": "not_found"}}
    await page.route("**/v1/fit*", lambda route: route.fulfill(status=404, json=missing))
    view = await open_tab(page, base_url, "model")
    await view.get_by_text("8.3 billion").wait_for()
    assert await view.get_by_text("Will it fit").count() == 0
    await page.unroute_all()


def sent(name: str, kind: str) -> "str | float | bool | bytes | FilePayload":
    """A sample as a form's file."""
    return {"name": name, "mimeType": kind, "buffer": (SAMPLES / name).read_bytes()}
