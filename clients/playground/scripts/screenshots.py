"""Takes the pictures in screenshots/: every tab with an answer, light and dark, on a desktop and on a phone.

    python clients/playground/scripts/screenshots.py [FOLDER]

Needs Chromium and playwright, as the tests do. The engine behind it is the tests' own, which knows the samples.
"""

import asyncio
import io
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from playwright.async_api import Browser, Locator, Page, async_playwright  # noqa: E402

from benchmarks.browser import launched  # noqa: E402
from benchmarks.overhead.behaviour import Behaviour  # noqa: E402
from tests.playground.common import open_tab, pick, run  # noqa: E402
from tests.playground.conftest import DESKTOP, PHONE, serving  # noqa: E402
from tests.playground.oracle import Oracle  # noqa: E402

QUALITY = 50
SAMPLE = {
    "detect": "Stars by colour",
    "parse-document": "Three pages",
    "localize-events": "Everything",
    "act": "Six buttons",
    "read-text": "A page",
    "caption": "Shapes",
    "extract": "Three fields",
}
SIZES = (("desktop", DESKTOP), ("phone", PHONE))


async def chat(page: Page, view: Locator) -> None:
    await view.locator(".sample-card").first.click()
    await view.locator(".composer .preview").wait_for()
    await view.get_by_role("button", name="Send").click()
    await view.locator(".message.assistant[data-state=done]").wait_for()


async def task(page: Page, view: Locator, tab: str) -> None:
    await pick(view, SAMPLE[tab])
    await run(view)
    if tab == "parse-document":
        await page.locator("canvas[data-drawn=true]").first.wait_for()
    if tab == "localize-events":
        await view.locator(".found button").nth(3).click()
        await page.wait_for_function("() => !document.querySelector('.player video').seeking")
    if tab == "detect":
        await view.locator(".found button").nth(1).hover()


async def shots(browser: Browser, base_url: str, engine: Oracle, folder: Path) -> None:
    for device, viewport in SIZES:
        for colours in ("light", "dark"):
            context = await browser.new_context(
                viewport=viewport,
                color_scheme=colours,
                reduced_motion="reduce",
                device_scale_factor=1.5 if device == "phone" else 1,
                is_mobile=device == "phone",
                has_touch=device == "phone",
            )
            page = await context.new_page()
            states = ("start", "empty", "failure") if colours == "light" else ()
            for tab in (*states, "chat", *SAMPLE, "model"):
                where = {"start": "chat", "empty": "detect", "failure": "detect"}.get(tab, tab)
                view = await open_tab(page, base_url, where)
                if tab == "chat":
                    await chat(page, view)
                elif tab in SAMPLE:
                    await task(page, view, tab)
                elif tab == "failure":
                    engine.behaviour = Behaviour(answer="I cannot see any stars in this picture, I am afraid.")
                    await pick(view, "Shapes")
                    await view.locator("button.primary").click()
                    await view.locator(".error").wait_for()
                    engine.behaviour = Behaviour()
                if tab == "model":
                    await view.locator(".verdict").nth(9).wait_for()
                await page.wait_for_timeout(250)  # for pictures to be decoded and drawn
                full = device == "phone" and where != "chat"
                if full:
                    await page.evaluate("window.scrollTo(0, 0)")
                image = Image.open(io.BytesIO(await page.screenshot(full_page=full))).convert("RGB")
                image.save(folder / f"{tab}-{device}-{colours}.webp", quality=QUALITY, method=6)
                await page.goto("about:blank")
            await context.close()


async def main(folder: Path) -> None:
    engine = Oracle()
    url = await engine.listen()
    async with serving(url) as base_url, async_playwright() as playwright:
        browser = await launched(playwright)
        await shots(browser, base_url, engine, folder)
        await browser.close()
    await engine.close()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "screenshots"
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
