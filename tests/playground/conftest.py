"""One Chromium, one gateway and one engine for all tests of the page; a fresh window for each.

Every test ends with the same two checks: nothing was asked of another machine, and the browser found no fault.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from benchmarks.browser import launched, program
from benchmarks.overhead.behaviour import Behaviour
from server.app import create_server
from server.settings import Settings
from tests.conftest import until
from tests.playground.oracle import Oracle

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

DESKTOP: "ViewportSize" = {"width": 1360, "height": 860}
PHONE: "ViewportSize" = {"width": 390, "height": 844}
PATIENCE_MS = 30_000


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> "AsyncIterator[Browser]":
    pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
    from playwright.async_api import async_playwright

    if program() is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await launched(playwright)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def oracle() -> AsyncIterator[Oracle]:
    oracle = Oracle()
    await oracle.listen()
    yield oracle
    await oracle.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def base_url(oracle: Oracle) -> AsyncIterator[str]:
    """Where the page is served."""
    async with serving(oracle.url) as url:
        yield url


@asynccontextmanager
async def serving(engine_url: str, **settings: Any) -> AsyncIterator[str]:
    """Where a gateway before an engine serves; stopped to its last task at the end, because the loop lives on."""
    options = {"engine_poll_s": 0.2, "media_workers": 1, "access_log": False, "log_level": "warning", **settings}
    server = create_server(Settings(port=0, **options), [engine_url])
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def engine(oracle: Oracle) -> Iterator[Oracle]:
    """The engine behind the page, as if new: it answers what it sees at once."""
    oracle.behaviour = Behaviour()
    oracle.requests.clear()
    oracle.aborts.clear()
    yield oracle
    oracle.behaviour = Behaviour()


class Watched:
    """A browser's doings: where it went, and what it complained of."""

    def __init__(self, context: "BrowserContext") -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []
        context.on("request", lambda request: self.asked.append(request.url))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("console", self._said)

    def _said(self, message: Any) -> None:
        # A refusal of the server is an answer; the browser reports each as an error of its own.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def check(self, forgiven: str | None = None) -> None:
        """It stayed on this machine, and found no fault but what was meant. Begins anew."""
        at_home = ("http://127.0.0.1:", "blob:http://127.0.0.1:")
        strangers = [url for url in self.asked if not url.startswith(at_home)]
        complaints = [each for each in self.complaints if forgiven is None or forgiven not in each]
        self.asked.clear()
        self.complaints.clear()
        assert strangers == []
        assert complaints == []


OPTIONS: dict[str, Any] = {"viewport": DESKTOP, "accept_downloads": True, "reduced_motion": "reduce"}
"""Of every window; what moves while it is measured is not where it will be."""


@asynccontextmanager
async def window(browser: "Browser", *, forgiven: str | None = None, **options: Any) -> "AsyncIterator[Page]":
    """A window with options of its own, closed at the end, when it must have stayed at home and in order.

    `forgiven` is a part of the complaints that a test means to bring about.
    """
    context = await browser.new_context(**{**OPTIONS, **options})
    watched = Watched(context)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    await context.close()
    watched.check(forgiven)


class Kept:
    """A window that tests share, each from an empty page: a new one costs more than most tests in it."""

    def __init__(self, context: "BrowserContext", page: "Page") -> None:
        self.watched = Watched(context)
        self.page = page

    @asynccontextmanager
    async def fresh(self) -> "AsyncIterator[Page]":
        yield self.page
        await self.page.goto("about:blank")
        self.watched.check()


@asynccontextmanager
async def kept(browser: "Browser", **options: Any) -> AsyncIterator[Kept]:
    context = await browser.new_context(**{**OPTIONS, **options})
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield Kept(context, page)
    await context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_desktop(browser: "Browser") -> AsyncIterator[Kept]:
    async with kept(browser) as window:
        yield window


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_phone(browser: "Browser") -> AsyncIterator[Kept]:
    async with kept(browser, viewport=PHONE, has_touch=True, is_mobile=True) as window:
        yield window


@pytest_asyncio.fixture(loop_scope="session")
async def page(kept_desktop: Kept, engine: Oracle) -> "AsyncIterator[Page]":
    """A desktop's window, in light colours."""
    async with kept_desktop.fresh() as page:
        await page.set_viewport_size(DESKTOP)
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def phone(kept_phone: Kept, engine: Oracle) -> "AsyncIterator[Page]":
    """A phone's window."""
    async with kept_phone.fresh() as page:
        yield page
