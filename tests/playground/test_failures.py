"""What goes wrong is said in words, from the server's error object, with the request's id."""

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.overhead.behaviour import Behaviour
from tests.playground.common import open_tab, pick, run
from tests.playground.conftest import serving, window
from tests.playground.oracle import SAMPLES, Oracle

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHOSEN = "input[type=file]"


async def failure(view: "Locator") -> str:
    card = view.locator(".error")
    await card.wait_for()
    return await card.inner_text()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        pytest.param(
            Behaviour(answer="I see no reason to answer."),
            ["not in a form that can be read", "answer_unreadable", "502"],
            id="unreadable",
        ),
        pytest.param(Behaviour(fault="status", status=500), ["The engine broke off", "engine_failed"], id="engine"),
        pytest.param(Behaviour(fault="refuse"), ["engine", "Status 50"], id="refused"),
    ],
)
async def test_a_failure_is_told_in_words_with_the_request_id(
    page: "Page", base_url: str, engine: Oracle, behaviour: Behaviour, words: list[str]
) -> None:
    engine.behaviour = behaviour
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    async with page.expect_response("**/v1/detect") as answering:
        await view.locator("button.primary").click()
    answer = await answering.value
    said = await failure(view)
    assert [word for word in words if word not in said] == []
    assert answer.headers["x-request-id"] in said
    engine.behaviour = Behaviour()
    await view.get_by_role("button", name="Try again").click()
    await view.locator("[data-state=done]").wait_for()
    assert await view.locator(".error").count() == 0


async def test_what_the_model_wrote_is_shown_where_it_cannot_be_read(
    page: "Page", base_url: str, engine: Oracle
) -> None:
    engine.behaviour = Behaviour(answer="I would rather <b>not</b>.")
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await view.locator("button.primary").click()
    await view.get_by_text("What the model wrote").click()
    assert await view.locator(".error pre").inner_text() == "I would rather <b>not</b>."


async def test_a_stream_that_breaks_keeps_what_came_before(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = Behaviour(chunks=40, interval_ms=5, fault="die", after=25)
    view = await open_tab(page, base_url, "detect")
    await pick(view, "Shapes")
    await view.locator("button.primary").click()
    assert "The engine broke off" in await failure(view)
    assert 0 < await view.locator(".mark").count() < 6


async def test_a_chat_that_fails_can_be_asked_again(page: "Page", base_url: str, engine: Oracle) -> None:
    engine.behaviour = Behaviour(fault="status", status=500)
    view = await open_tab(page, base_url, "chat")
    await view.get_by_role("textbox", name="Message").fill("Hello?")
    await view.get_by_role("button", name="Send").click()
    assert "engine_failed" in await failure(view)
    engine.behaviour = Behaviour(answer="Hello.")
    await view.get_by_role("button", name="Try again").click()
    await view.locator(".message.assistant[data-state=done]").wait_for()
    assert await view.locator(".message.user").count() == 1


async def test_a_file_of_another_kind_is_refused_before_it_is_sent(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "detect")
    await view.locator(CHOSEN).set_input_files(SAMPLES / "clip.mp4")
    assert await view.locator("[role=alert]").inner_text() == "clip.mp4 is not a picture."


async def test_a_field_that_is_no_json_is_named(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "extract")
    await pick(view, "Three fields")
    await view.get_by_role("radio", name="JSON Schema").check()
    await view.locator("textarea.code").fill("{")
    await view.locator("button.primary").click()
    said = await failure(view)
    assert "A field cannot be read" in said
    assert "Schema is not JSON" in said


async def test_a_limit_of_the_server_is_told_with_its_number(page: "Page", base_url: str) -> None:
    view = await open_tab(page, base_url, "caption")
    await pick(view, "Shapes")
    await view.locator(".options summary").click()
    await view.get_by_label("Longest answer, in tokens").fill("99999")
    await view.locator("button.primary").click()
    said = await failure(view)
    assert "99999; the limit is 32768" in said
    assert "max_tokens" in said


async def test_a_server_with_a_key_asks_for_it(browser: "Browser", oracle: Oracle, engine: Oracle) -> None:
    async with serving(oracle.url, api_key=["sk-right"]) as url, window(browser) as page:
        await page.goto(f"{url}/#/detect")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("API key").fill("sk-wrong")
        await dialog.get_by_role("button", name="Use this key").click()
        await dialog.get_by_text("not known here").wait_for()
        await dialog.get_by_label("API key").fill("sk-right")
        await dialog.get_by_role("button", name="Use this key").click()
        view = page.locator(".view:not([hidden])")
        await pick(view, "Shapes")
        await run(view)
        await view.get_by_role("button", name="Code").click()
        code = await page.locator("dialog pre").inner_text()
        assert "$QVL_API_KEY" in code
        assert "sk-right" not in code


async def test_a_server_that_is_gone_is_told_apart_from_one_that_refuses(
    browser: "Browser", oracle: Oracle, engine: Oracle
) -> None:
    async with window(browser) as page:
        async with serving(oracle.url) as url:
            view = await open_tab(page, url, "detect")
            await pick(view, "Shapes")
        await view.locator("button.primary").click()
        assert "The server cannot be reached" in await failure(view)


async def test_an_engine_that_is_not_up_yet_is_told(browser: "Browser") -> None:
    async with serving("http://127.0.0.1:9") as url, window(browser) as page:
        await page.goto(url)
        await page.locator(".light.starting").wait_for()
        view = await open_tab(page, url, "detect")
        await pick(view, "Shapes")
        await view.locator("button.primary").click()
        assert "No engine is up" in await failure(view)
        assert json.loads(await (await page.request.get(f"{url}/readyz")).text())["error"]["code"]
