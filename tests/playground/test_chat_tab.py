"""Chat: a picture and a question, an answer that grows, stopping it, and the request as code that runs."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.overhead.behaviour import Behaviour
from tests.conftest import until
from tests.playground.common import open_tab
from tests.playground.oracle import SAMPLES, Oracle

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORDS = 500
SLOWLY = Behaviour(answer=" ".join(f"word{at}" for at in range(WORDS)), chunks=WORDS, interval_ms=20)


async def ask(view: "Locator", question: str) -> None:
    await view.get_by_role("textbox", name="Message").fill(question)
    await view.get_by_role("textbox", name="Message").press("Enter")


async def attached(view: "Locator") -> None:
    await view.locator(".sample-card", has_text="A picture").click()
    await view.locator(".composer .preview").wait_for()


async def test_a_picture_and_a_question_are_answered(page: "Page", base_url: str, engine: Oracle) -> None:
    view = await open_tab(page, base_url, "chat")
    await view.get_by_role("textbox", name="System prompt").fill("Be brief.")
    await attached(view)
    await view.get_by_role("button", name="Send").click()
    answer = view.locator(".message.assistant[data-state=done]")
    await answer.wait_for()
    assert await answer.locator("strong").inner_text() == "six shapes"
    assert await answer.locator("li").count() == 4
    assert "seen at 952x644" in await answer.inner_text()
    asked = json.loads(engine.requests[-1].body)["messages"]
    assert asked[0] == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in asked[1]["content"]] == ["image_url", "text"]


async def test_an_answer_grows_and_can_be_stopped(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = SLOWLY
    view = await open_tab(page, base_url, "chat")
    await ask(view, "Count.")
    prose = view.locator(".message.assistant .prose")
    lengths = []
    for word in (3, 9):
        await prose.get_by_text(f"word{word}").wait_for()
        lengths.append(len(await prose.inner_text()))
    await view.get_by_role("button", name="Stop").click()
    stopped = view.locator(".message.assistant[data-state=stopped]")
    await stopped.wait_for()
    lengths.append(len(await prose.inner_text()))
    assert sorted(set(lengths)) == lengths, "more each time"
    assert f"word{WORDS - 1}" not in await prose.inner_text()
    await until(lambda: len(engine.aborts) == 1)


async def test_the_conversation_goes_along_with_the_next_question(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = Behaviour(answer="Four.")
    view = await open_tab(page, base_url, "chat")
    for question in ("Two and two?", "And twice that?"):
        await ask(view, question)
        await view.locator(".message.assistant[data-state=done]").nth(0).wait_for()
        await view.get_by_role("button", name="Send").wait_for()
    await until(lambda: len(engine.requests) == 2)
    messages = json.loads(engine.requests[-1].body)["messages"]
    assert [(each["role"], each["content"]) for each in messages] == [
        ("user", "Two and two?"),
        ("assistant", "Four."),
        ("user", "And twice that?"),
    ]


async def test_a_clip_is_sent_as_a_video(page: "Page", base_url: str, engine: Oracle) -> None:
    view = await open_tab(page, base_url, "chat")
    await view.locator(".sample-card", has_text="A clip").click()
    await view.locator(".composer video.preview").wait_for()
    await view.get_by_role("button", name="Send").click()
    await view.locator(".message.assistant[data-state=done]").wait_for()
    parts = json.loads(engine.requests[-1].body)["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["video_url", "text"]


@pytest.mark.parametrize("language", ["curl", "Python"])
async def test_the_code_that_is_shown_asks_the_same(
    page: "Page", base_url: str, engine: Oracle, tmp_path: Path, language: str
) -> None:
    (tmp_path / "shapes.png").write_bytes((SAMPLES / "shapes.png").read_bytes())
    question = 'Is it "$5" or `six`? \\ It\'s\nhard.'
    view = await open_tab(page, base_url, "chat")
    await attached(view)
    await view.get_by_role("textbox", name="Message").fill(question)
    await view.get_by_role("button", name="Code").click()
    await page.get_by_role("tab", name=language).click()
    code = await page.locator("dialog pre").inner_text()
    said = await ran(language, code, tmp_path)
    assert "six" in said
    by_code = json.loads(engine.requests[-1].body)
    assert by_code["messages"][0]["content"][1]["text"] == question
    await page.keyboard.press("Escape")
    await view.get_by_role("button", name="Send").click()
    await view.locator(".message.assistant[data-state=done]").wait_for()
    assert json.loads(engine.requests[-1].body) == by_code


@pytest.mark.parametrize("language", ["curl", "Python"])
async def test_so_does_the_code_of_a_task(
    page: "Page", base_url: str, engine: Oracle, tmp_path: Path, language: str
) -> None:
    (tmp_path / "stars.png").write_bytes((SAMPLES / "stars.png").read_bytes())
    view = await open_tab(page, base_url, "detect")
    await view.locator(".sample", has_text="Stars by colour").click()
    await view.locator(".frame").wait_for()
    await view.get_by_role("button", name="Code").click()
    await page.get_by_role("tab", name=language).click()
    said = await ran(language, await page.locator("dialog pre").inner_text(), tmp_path)
    assert said.count("sub_label") == 4
    assert b'\\"star\\"' in engine.requests[-1].body


async def ran(language: str, code: str, folder: Path) -> str:
    """What a shell or Python prints."""
    command = ["sh", "-c", code] if language == "curl" else [sys.executable, "-c", code]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
