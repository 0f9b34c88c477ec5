"""What a person does with the page, as the tests do it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

TABS = ("chat", "detect", "parse-document", "localize-events", "act", "read-text", "caption", "extract", "model")


async def open_tab(page: "Page", base_url: str, tab: str) -> "Locator":
    """The view of a tab."""
    await page.goto(f"{base_url}/#/{tab}")
    await page.locator(f"nav a[href='#/{tab}'][aria-current=page]").wait_for()
    return page.locator(".view:not([hidden])")


async def pick(view: "Locator", sample: str) -> None:
    """Choose a sample, and see it."""
    await view.locator(".sample", has_text=sample).click()
    await view.locator(".task-stage :is(.frame, video)").first.wait_for()


async def run(view: "Locator", *, until: str = "done") -> None:
    """Press the button that asks, and wait for the answer, not for the one before it that still stands there."""
    await view.locator(".results").evaluate_all("all => all.forEach(each => { each.dataset.state = 'before' })")
    await view.locator("button.primary:not([disabled])").click()
    await view.locator(f"[data-state={until}]").first.wait_for()


async def rectangles(view: "Locator", selector: str) -> list[list[float]]:
    """[left, top, right, bottom] of elements in pixels of the screen, in their order in the page."""
    return list(
        await view.locator(selector).evaluate_all(
            "all => all.map(each => each.getBoundingClientRect()).map(r => [r.left, r.top, r.right, r.bottom])"
        )
    )


async def on_screen(
    view: "Locator", boxes: Sequence[Sequence[float]], wh: Sequence[float], frame: str = ".frame"
) -> list[list[float]]:
    """Where boxes in pixels of a picture of `wh` must lie on the screen."""
    left, top, right, bottom = (await rectangles(view, frame))[0]
    x, y = (right - left) / wh[0], (bottom - top) / wh[1]
    return [[left + box[0] * x, top + box[1] * y, left + box[2] * x, top + box[3] * y] for box in boxes]


def furthest(some: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> float:
    """The largest difference between two lists of boxes, each sorted, in pixels.

    >>> furthest([[0, 0, 1, 1]], [[0, 0, 3, 1]])
    2
    """
    assert len(some) == len(others)
    pairs = zip(sorted(map(list, some)), sorted(map(list, others)), strict=True)
    return max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))


async def saved(page: "Page", view: "Locator", entry: str) -> Any:
    """The text of a file that the export menu saves."""
    await view.locator(".menu > button").click()
    async with page.expect_download() as downloading:
        await view.locator("[role=menuitem]", has_text=entry).click()
    download = await downloading.value
    return (await download.path()).read_bytes()
