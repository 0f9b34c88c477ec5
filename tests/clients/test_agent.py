"""The browser agent in a real Chromium: recorded answers book a ticket, up to where a person has to allow it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from benchmarks.browser import flags, program
from qwenvl import Action, Client
from qwenvl.drawing.marks import colour_of
from tests.clients.conftest import Served
from tests.clients.recipes import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = ROOT / "clients" / "agent"
TASK = "Book the 20:05 night train from Berlin to Rome on 12 May for Ada Lovelace"
pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")


@pytest.fixture(scope="module")
def agent() -> Any:
    """The example as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("agent_example", FOLDER / "agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agent_example"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    if program() is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=flags())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, agent: Any) -> Iterator["Page"]:
    context = browser.new_context(viewport={"width": agent.WIDTH, "height": agent.HEIGHT})
    page = context.new_page()
    page.goto((FOLDER / "booking.html").as_uri())
    yield page
    context.close()


def steps(agent: Any, served: Served, page: "Page", client: Client, folder: Path, allow: bool) -> list[Any]:
    """All that the agent did with the recorded answers, and what it asked a person."""
    replay = agent.Replay(served.engine_url)
    asked: list[str] = []

    def may(action: Action, reason: str) -> bool:
        asked.append(reason)
        return allow

    done = []
    running = agent.run(page, TASK, client, folder, may)
    while True:
        replay.next()
        step = next(running, None)
        if step is None:
            break
        done.append(step)
    return [*done, asked]


def test_it_fills_in_the_form_and_stops_before_it_pays(
    agent: Any, served: Served, page: "Page", client: Client, tmp_path: Path
):
    *done, asked = steps(agent, served, page, client, tmp_path / "steps", allow=False)
    assert page.locator("#chosen").inner_text() == "Berlin to Rome, 12 May, 20:05"
    assert page.locator("#name").input_value() == "Ada Lovelace"
    assert page.locator("#who").is_visible()
    assert not page.locator("#done").is_visible()
    assert done[-1].stopped_by == "the click would hit 'Pay 59 \u20ac'"
    assert asked == [done[-1].stopped_by]


def test_it_goes_on_when_a_person_allows_it(agent: Any, served: Served, page: "Page", client: Client, tmp_path: Path):
    *done, asked = steps(agent, served, page, client, tmp_path / "steps", allow=True)
    assert page.locator("#done").is_visible()
    assert done[-1].stopped_by == "over"
    assert len(asked) == 1


def test_every_step_is_a_picture_with_the_click_on_it(
    agent: Any, served: Served, page: "Page", client: Client, tmp_path: Path
):
    *done, _ = steps(agent, served, page, client, tmp_path / "steps", allow=False)
    assert [step.picture.name for step in done] == [f"step-{number:02}.png" for number in range(1, len(done) + 1)]
    with Image.open(done[0].picture) as first:
        assert first.size == (agent.WIDTH, agent.HEIGHT)
        assert first.getpixel((480, 146)) == colour_of("left_click")


def test_the_model_is_told_what_was_done(agent: Any, served: Served, page: "Page", client: Client, tmp_path: Path):
    steps(agent, served, page, client, tmp_path / "steps", allow=False)
    told = json.dumps(served.asked()["messages"])
    assert "Step 10:" in told
    assert "Ada Lovelace" in told


def test_it_gives_up_after_so_many_steps(agent: Any, served: Served, page: "Page", client: Client, tmp_path: Path):
    served.says('<tool_call>{"name": "computer_use", "arguments": {"action": "wait", "time": 0}}</tool_call>')
    done = list(agent.run(page, TASK, client, tmp_path / "steps", lambda *_: True, 3))
    assert len(done) == 3


def test_it_cannot_do_what_no_page_can(agent: Any, page: "Page"):
    with pytest.raises(ValueError, match="a page cannot do open"):
        agent.do(page, {"action": "open", "text": "Settings"})
