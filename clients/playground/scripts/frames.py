"""Measures how long the page's main thread is held up: a picture with 100 boxes, and a PDF of 10 pages, as they stream.

    python clients/playground/scripts/frames.py
    chrt -r 20 python clients/playground/scripts/frames.py      on a busy machine, as root: before all other work

Read in Chromium's own trace: tasks of the page's main thread, by the clock and by the CPU. The clock counts what other
programs took meanwhile; a task of more than 50 ms on an idle machine is a frame that a person sees missing.
The last line is JSON.
"""

import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from playwright.async_api import Browser, Page, async_playwright  # noqa: E402

from benchmarks.browser import launched  # noqa: E402
from benchmarks.overhead.behaviour import Behaviour  # noqa: E402
from demo.scenes import page as paper  # noqa: E402
from demo.scenes import save_pdf  # noqa: E402
from tests.playground.common import open_tab  # noqa: E402
from tests.playground.conftest import DESKTOP, serving  # noqa: E402
from tests.playground.oracle import Oracle  # noqa: E402

LIMIT_MS = 50
CATEGORIES = ["devtools.timeline", "disabled-by-default-devtools.timeline", "toplevel"]
BOXES, PAGES, PAGE_WH = 100, 10, (840, 1188)
Doing = Callable[[Page], Awaitable[None]]


def boxes() -> str:
    """A hundred boxes on a grid of a picture of 980 by 980, which is shown as it is."""
    places = [(at % 10 * 98, at // 10 * 98) for at in range(BOXES)]
    return json.dumps([{"bbox_2d": [x + 8, y + 8, x + 90, y + 90], "label": f"thing {x % 5}"} for x, y in places])


def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((980, 980), 60).convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()


async def many_boxes(page: Page, base_url: str, engine: Oracle, folder: Path) -> Doing:
    (folder / "noise.jpg").write_bytes(picture())
    view = await open_tab(page, base_url, "detect")
    await view.locator("input[type=file]").set_input_files(folder / "noise.jpg")
    await view.get_by_role("radio", name="Everything").check()
    engine.behaviour = Behaviour(answer=boxes(), chunks=400, interval_ms=8)

    async def doing(page: Page) -> None:
        await view.locator("button.primary:not([disabled])").click()
        await view.locator("[data-state=done]").wait_for()
        count = await view.locator(".mark").count()
        assert count == BOXES
        left, top, right, bottom = await page.locator(".frame").evaluate(
            "e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] }"
        )
        for step in range(20):
            share = step / 20
            await page.mouse.move(left + (right - left) * share, top + (bottom - top) * share)

    return doing


async def many_pages(page: Page, base_url: str, engine: Oracle, folder: Path) -> Doing:
    papers = [paper(2 * at + 1, PAGE_WH, 32) for at in range(PAGES)]
    save_pdf(papers, folder / "ten.pdf", 101.6)
    view = await open_tab(page, base_url, "parse-document")
    engine.behaviour = Behaviour(answer=papers[0].html, chunks=60, interval_ms=20)

    async def doing(page: Page) -> None:
        await view.locator("input[type=file]").set_input_files(folder / "ten.pdf")
        await view.locator("canvas[data-drawn=true]").first.wait_for()
        await view.locator("button.primary:not([disabled])").click()
        await view.locator("[data-state=done]").wait_for()
        for number in range(1, PAGES + 1):
            await view.locator(f".page-chip >> nth={number - 1}").click()
            await view.locator(f"[data-page='{number}'] canvas[data-drawn=true]").wait_for()

    return doing


async def traced(browser: Browser, doing: Doing, page: Page) -> dict[str, float]:
    await browser.start_tracing(page=page, categories=CATEGORIES)
    await doing(page)
    return longest(json.loads(await browser.stop_tracing())["traceEvents"])


def longest(events: list[dict[str, Any]]) -> dict[str, float]:
    """The longest tasks of renderers' main threads in a trace, in milliseconds."""
    main = {(e["pid"], e["tid"]) for e in events if e.get("args", {}).get("name") == "CrRendererMain"}
    tasks = [e for e in events if e.get("ph") == "X" and e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in main]
    wall = sorted((e["dur"] / 1000 for e in tasks), reverse=True)
    cpu = sorted((e.get("tdur", e["dur"]) / 1000 for e in tasks), reverse=True)
    return {
        "tasks": len(tasks),
        "longest_ms": round(wall[0], 1),
        "longest_cpu_ms": round(cpu[0], 1),
        "over_50_ms": sum(each > LIMIT_MS for each in wall),
        "over_50_ms_cpu": sum(each > LIMIT_MS for each in cpu),
        "busy_ms": round(sum(cpu)),
    }


async def main() -> None:
    engine = Oracle()
    url = await engine.listen()
    figures = {}
    async with serving(url) as base_url, async_playwright() as playwright:
        browser = await launched(playwright)
        with TemporaryDirectory() as folder:
            for name, prepare in {"100 boxes": many_boxes, "10 pages": many_pages}.items():
                page = await browser.new_page(viewport=DESKTOP)
                doing = await prepare(page, base_url, engine, Path(folder))
                figures[name] = await traced(browser, doing, page)
                await page.close()
        await browser.close()
    await engine.close()
    load = os.getloadavg()[0]
    for name, found in figures.items():
        sys.stdout.write(f"{name:>10}: " + ", ".join(f"{key} {value}" for key, value in found.items()) + "\n")
    sys.stdout.write(json.dumps({"load_average": round(load, 1), "cores": os.cpu_count(), **figures}) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
