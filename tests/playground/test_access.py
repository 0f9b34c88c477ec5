"""For everyone: with a keyboard, a screen reader, a phone, in the dark, without motion."""

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import until
from tests.playground.common import TABS, open_tab, pick, rectangles, run
from tests.playground.conftest import PHONE, window
from tests.playground.oracle import SAMPLES, Oracle

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERIOUS = ("serious", "critical")
SAMPLE = {
    "detect": "Shapes",
    "parse-document": "One page",
    "localize-events": "Everything",
    "act": "Six buttons",
    "read-text": "A page",
    "caption": "Shapes",
    "extract": "Three fields",
}


@pytest.fixture(scope="session")
def axe() -> str:
    """Deque's scanner, as a script."""
    pytest.importorskip("axe_playwright_python", reason="axe is not installed: pip install axe-playwright-python")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


async def findings(page: "Page", axe: str, rules: str = "{}") -> list[str]:
    """What axe-core finds that matters, in words; `rules` are options that choose among its rules."""
    await page.evaluate(axe)
    # Opacity on its way would be measured as a colour.
    await page.evaluate("document.getAnimations().forEach(each => each.playState === 'running' && each.cancel())")
    report: dict[str, Any] = await page.evaluate("axe.run(document, {rules})".replace("{rules}", rules))
    return [
        f"{found['impact']} {found['id']}: {node['target']} {json.dumps(node['any'][:1])[:300]}"
        for found in report["violations"]
        if found["impact"] in SERIOUS
        for node in found["nodes"]
    ]


async def test_axe_finds_nothing_serious_in_light_and_in_dark(
    browser: "Browser", base_url: str, engine: Oracle, axe: str
) -> None:
    async with window(browser, forgiven="Trusted") as page:
        found = {}
        for tab in TABS:
            view = await open_tab(page, base_url, tab)
            if tab in SAMPLE:
                found[f"{tab}, empty"] = await findings(page, axe) if tab == "detect" else []
                await pick(view, SAMPLE[tab])
                await view.locator(".options summary").click()
                await run(view)
            found[tab] = await findings(page, axe)
            await page.evaluate("document.documentElement.dataset.theme = 'dark'")
            found[f"{tab}, dark"] = await findings(page, axe, "{ runOnly: ['color-contrast'] }")
            await page.goto("about:blank")  # what was done in a tab stays in the page, and would be scanned again
        assert {tab: each for tab, each in found.items() if each} == {}


async def test_axe_finds_nothing_serious_in_a_chat_a_failure_and_a_window(
    browser: "Browser", base_url: str, engine: Oracle, axe: str
) -> None:
    async with window(browser, forgiven="Trusted") as page:
        view = await open_tab(page, base_url, "chat")
        await view.locator(".sample-card").first.click()
        await view.locator(".composer .preview").wait_for()
        await view.get_by_role("button", name="Send").click()
        await view.locator("[data-state=done]").wait_for()
        assert await findings(page, axe) == []
        await view.get_by_role("button", name="Code").click()
        assert await findings(page, axe) == []


async def test_axe_finds_nothing_serious_on_a_phone(phone: "Page", base_url: str, axe: str) -> None:
    view = await open_tab(phone, base_url, "detect")
    await pick(view, "Shapes")
    await run(view)
    assert await findings(phone, axe) == []


async def test_a_picture_is_looked_through_by_keyboard_alone(page: "Page", base_url: str, engine: Oracle) -> None:
    await page.goto(base_url)
    await page.locator("nav a[href='#/detect']").wait_for()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.locator("nav a[href='#/detect']").focus()
    await page.keyboard.press("Enter")
    view = page.locator(".view:not([hidden])")
    await view.locator(".sample").first.focus()
    await page.keyboard.press("Enter")
    await view.locator(".frame img").wait_for()
    await view.get_by_role("textbox", name="Labels", exact=True).focus()
    await page.keyboard.press("Backspace")
    await page.keyboard.type("cross,")
    chips = await view.locator(".chips").first.locator(".chip").all_inner_texts()
    assert [chip.strip() for chip in chips] == ["star", "circle", "square", "cross"]
    await page.keyboard.press("Enter")  # in a field: asks
    await view.locator("[data-state=done]").wait_for()
    assert "cross" in await view.locator(".chip.off").all_inner_texts()
    await view.locator(".found button").nth(1).focus()
    assert await view.locator(".mark.active").count() == 1
    await view.get_by_role("button", name="Export").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowDown")
    assert await page.evaluate("document.activeElement.textContent") == "COCO"
    await page.keyboard.press("Escape")
    assert await page.evaluate("document.activeElement.textContent.trim()") == "Export"


async def test_a_screen_reader_is_told_what_happened(page: "Page", base_url: str, engine: Oracle) -> None:
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await run(view)
    told = page.get_by_role("status")
    await told.get_by_text("Done. 6 objects").wait_for(state="attached")
    assert await view.get_by_role("listitem").count() >= 6
    assert await page.locator("h1").count() == 1
    assert await page.title() == "Detect · Playground"


async def test_tabs_move_by_arrows(page: "Page", base_url: str, engine: Oracle) -> None:
    view = await open_tab(page, base_url, "parse-document")
    await pick(view, "One page")
    await run(view)
    await view.get_by_role("tab", name="Blocks").focus()
    await page.keyboard.press("ArrowRight")
    assert await page.evaluate("document.activeElement.textContent") == "Markdown"
    await page.keyboard.press("End")
    assert await view.get_by_role("tab", name="JSON").get_attribute("aria-selected") == "true"


@pytest.mark.parametrize("tab", TABS)
async def test_nothing_is_wider_than_a_phone(phone: "Page", base_url: str, tab: str) -> None:
    view = await open_tab(phone, base_url, tab)
    if tab in SAMPLE:
        await pick(view, SAMPLE[tab])
        await run(view)
    assert await phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    buttons = await rectangles(view, "button:not(.chip, .bare, .page-chip, .remove)")
    heights = [bottom - top for _, top, _, bottom in buttons]
    assert [height for height in heights if 0 < height < 30] == [], "large enough for a finger"


async def test_a_picture_can_be_dropped_pasted_and_taken(browser: "Browser", base_url: str, engine: Oracle) -> None:
    async with window(browser, permissions=["camera"]) as page:
        view = await open_tab(page, base_url, "detect")
        data = list((SAMPLES / "tall.png").read_bytes())
        carry = """([kind, bytes]) => {
          const carried = new DataTransfer()
          carried.items.add(new File([new Uint8Array(bytes)], 'mine.png', { type: 'image/png' }))
          const options = { bubbles: true, cancelable: true }
          const event = kind === 'paste'
            ? new ClipboardEvent('paste', { ...options, clipboardData: carried })
            : new DragEvent(kind, { ...options, dataTransfer: carried })
          document.body.dispatchEvent(event)
        }"""
        read = view.locator(".readout", has_text="810 px")
        for kind in ("paste", "drop"):

            async def is_taken(kind: str = kind) -> bool:
                await page.evaluate(carry, [kind, data])  # the page listens a moment after it shows
                await page.wait_for_timeout(500)
                return await read.count() > 0

            await until(is_taken)
            await page.reload()
            await view.get_by_role("button", name="Camera").wait_for()
            assert await read.count() == 0
        await view.get_by_role("button", name="Camera").click()
        await page.get_by_role("button", name="Take the photo").click()
        await view.locator(".frame img[alt='photo.jpg']").wait_for()
        assert await page.locator("dialog").count() == 0


async def test_colours_are_chosen_and_remembered(browser: "Browser", base_url: str, engine: Oracle) -> None:
    async with window(browser, color_scheme="dark") as page:
        await page.goto(base_url)
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = await page.evaluate(ground)
        await page.get_by_role("button", name="Colours: As the system").click()
        await page.get_by_role("button", name="Colours: Light").wait_for()
        light = await page.evaluate(ground)
        assert light != dark
        await page.reload()
        await page.get_by_role("button", name="Colours: Light").wait_for()
        assert await page.evaluate(ground) == light
