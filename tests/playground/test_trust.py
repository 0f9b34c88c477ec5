"""What a model writes is never run, never made into a page's HTML, and never fetches anything."""

from typing import TYPE_CHECKING

import pytest

from benchmarks.overhead.behaviour import Behaviour
from tests.playground.common import open_tab, pick, run
from tests.playground.conftest import window
from tests.playground.oracle import Oracle

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

ATTACK = (
    '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script><svg onload="window.pwned=1"></svg>'
    '<a href="javascript:window.pwned=1">click</a><iframe src="https://evil.example/"></iframe>'
    '<img src="https://evil.example/a.png"><style>body{display:none}</style><form action="https://evil.example">'
    '<link rel=stylesheet href=https://evil.example/a.css><base href="https://evil.example/">'
)
MARKDOWN = f"# Title\n\n{ATTACK}\n\n![x](https://evil.example/b.png) [y](javascript:alert(1)) `<b>`\n\n"
MARKDOWN += "| a | b |\n|---|---|\n| <i>c</i> | d |\n"
PAGE = (
    '<html><body><h1 data-bbox="60 60 300 100">Title</h1>'
    f'<p data-bbox="60 200 600 260" onclick="window.pwned=1" style="position:fixed">Words {ATTACK}</p>'
    '<table data-bbox="60 300 600 400"><tr><td colspan="2" onmouseover="window.pwned=1">Cell</td></tr></table>'
    "</body></html>"
)
DANGEROUS = (
    "script, iframe:not(.sandbox), object, embed, link[href*=evil], form[action], "
    "[onerror], [onclick], [onload], [href^=javascript], [src*=evil]"
)


async def harmless(page: "Page") -> None:
    assert await page.evaluate("window.pwned") is None
    assert await page.locator(f"main :is({DANGEROUS})").count() == 0


async def test_a_chat_answer_is_words(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = Behaviour(answer=MARKDOWN, chunks=30)
    view = await open_tab(page, base_url, "chat")
    await view.get_by_role("textbox", name="Message").fill("Attack!")
    await view.get_by_role("button", name="Send").click()
    answer = view.locator(".message.assistant[data-state=done]")
    await answer.wait_for()
    await harmless(page)
    assert "<script>window.pwned=1</script>" in await answer.inner_text()
    assert await answer.locator("a, img, i").count() == 0
    assert await answer.locator("td").all_inner_texts() == ["<i>c</i>", "d"]


async def test_a_page_is_shown_without_what_could_act(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = Behaviour(answer=PAGE, chunks=10)
    view = await open_tab(page, base_url, "parse-document")
    await pick(view, "One page")
    await run(view)
    await harmless(page)
    blocks = view.locator(".block")
    assert await blocks.locator("td[colspan='2']").inner_text() == "Cell"
    assert "Words" in await blocks.nth(1).inner_text()
    assert await blocks.locator("[style], [data-bbox]").count() == 0
    await view.get_by_role("tab", name="HTML").click()
    frame = view.locator("iframe.sandbox")
    assert await frame.get_attribute("sandbox") == ""
    inside = view.frame_locator("iframe.sandbox")
    assert await inside.locator("td").inner_text() == "Cell"
    assert await inside.locator(f":is({DANGEROUS}), style").count() == 0
    await harmless(page)


async def test_the_browser_itself_refuses_text_as_html(browser: "Browser", base_url: str) -> None:
    async with window(browser, forgiven="Trusted") as page:
        await page.goto(base_url)
        await page.locator("nav a").first.wait_for()
        refused = "(act) => { try { act(); return false } catch (error) { return error instanceof TypeError } }"
        assert await page.evaluate(f"({refused})(() => {{ document.querySelector('main').innerHTML = '<b>x</b>' }})")
        assert await page.evaluate(f"({refused})(() => trustedTypes.createPolicy('mine', {{}}))")
