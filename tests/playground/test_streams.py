"""What comes while the model still writes is drawn while it does."""

from typing import TYPE_CHECKING

import pytest

from benchmarks.overhead.behaviour import Behaviour
from tests.conftest import until
from tests.playground.common import open_tab, pick
from tests.playground.oracle import Oracle

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

WATCH = """
selector => {
  const seen = ((window.seen ??= {})[selector] = [])
  const look = () => {
    const count = document.querySelectorAll(selector).length
    if (count && count !== seen.at(-1)) seen.push(count)
  }
  new MutationObserver(look).observe(document.body, { attributes: true, childList: true, subtree: true })
}
"""
"""Notes how many there are of something, each time that changes."""


@pytest.mark.parametrize(
    ("tab", "sample", "selector", "count"),
    [
        ("detect", "Shapes", ".mark.box", 6),
        ("localize-events", "Everything", ".span", 5),
        ("read-text", "A page", ".mark.box", 9),
    ],
)
async def test_items_are_drawn_one_by_one(
    page: "Page", base_url: str, engine: Oracle, tab: str, sample: str, selector: str, count: int
) -> None:
    engine.behaviour = Behaviour(chunks=60, interval_ms=25)
    view = await open_tab(page, base_url, tab)
    await pick(view, sample)
    await page.evaluate(WATCH, selector)
    await view.locator("button.primary").click()
    await view.locator("[data-state=done]").first.wait_for()
    seen = (await page.evaluate("window.seen"))[selector]
    assert seen[-1] == count
    assert seen == sorted(set(seen)), "never fewer than before"
    assert len(seen) > count / 2, "one by one, but for those that fall into one frame"


async def test_pages_are_there_as_each_is_done(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = Behaviour(chunks=30, interval_ms=15)
    view = await open_tab(page, base_url, "parse-document")
    await pick(view, "Three pages")
    await view.locator(".page-chip").nth(2).wait_for()
    assert await view.locator(".page").count() == 3, "they can be seen before they are read"
    waiting, completed = ".page-chip.waiting", ".page-chip.completed"
    await page.evaluate(WATCH, waiting)
    await page.evaluate(WATCH, completed)
    await view.locator("button.primary").click()
    await view.locator("[data-state=done]").first.wait_for()
    seen = await page.evaluate("window.seen")
    assert seen[waiting][0] == seen[completed][-1] == 3


async def test_a_stopped_task_keeps_what_came_and_frees_the_engine(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = Behaviour(chunks=60, interval_ms=5, fault="stall", after=40)
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await view.locator("button.primary").click()
    await view.locator(".mark").nth(1).wait_for()
    await view.get_by_role("button", name="Stop").click()
    await view.get_by_text("Stopped. What came before is shown.").wait_for()
    assert 2 <= await view.locator(".mark").count() < 6
    await until(lambda: len(engine.aborts) == 1)
