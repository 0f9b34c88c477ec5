"""The mock engine behaves like vLLM where a gateway can tell, and fails on demand."""

import asyncio
import doctest
import importlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import MODEL, Mock

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}


@pytest_asyncio.fixture
async def mock() -> AsyncIterator[Mock]:
    mock = Mock()
    yield mock
    await mock.close()


@pytest_asyncio.fixture
async def client(mock: Mock) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=await mock.listen(), timeout=5) as client:
        yield client


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def events(text: str) -> list[Any]:
    """The stream's events, `[DONE]` as a string."""
    payloads = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


def contents(text: str) -> list[str]:
    """What the content chunks say, the empty ones of role and end left out."""
    deltas = [e["choices"][0]["delta"] for e in events(text) if e != "[DONE]" and e.get("choices")]
    return [delta["content"] for delta in deltas if delta["content"]]


async def test_the_openai_client_reads_its_answer(client: httpx2.AsyncClient) -> None:
    async with openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0) as sdk:
        answer = await sdk.chat.completions.create(**ASK)
        assert answer.choices[0].message.content == "token0 token1 token2"
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3
        chunks = [chunk async for chunk in await sdk.chat.completions.create(**ASK, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "token0 token1 token2"


async def test_a_stream_opens_with_the_role_and_ends_with_usage_and_done(client: httpx2.AsyncClient) -> None:
    body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
    response = await client.post(CHAT, json=body)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    first, *_, finish, usage, done = events(response.text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert contents(response.text) == ["token0", " token1", " token2"]
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 20
    assert done == "[DONE]"


async def test_a_chunk_is_as_long_as_one_of_vllm(client: httpx2.AsyncClient) -> None:
    response = await client.post(CHAT, json={**ASK, "stream": True})
    assert 200 <= len(response.text.split("\n\n")[2]) <= 300


async def test_usage_is_sent_only_where_it_is_asked_for(client: httpx2.AsyncClient) -> None:
    response = await client.post(CHAT, json={**ASK, "stream": True})
    assert all("usage" not in event for event in events(response.text)[:-1])


async def test_completions_answer_with_text(client: httpx2.AsyncClient) -> None:
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
    answer = (await client.post("/v1/completions", json=body)).json()
    assert (answer["object"], answer["choices"][0]["text"]) == ("text_completion", "token0 token1")
    streamed = await client.post("/v1/completions", json={**body, "stream": True})
    assert [event["choices"][0]["text"] for event in events(streamed.text)[:-1]] == ["token0", " token1", ""]


@pytest.mark.parametrize("stream", [False, True])
async def test_it_says_what_it_is_told_to(mock: Mock, client: httpx2.AsyncClient, stream: bool) -> None:
    said = '[{"bbox_2d": [1, 2, 3, 4], "label": "a \\"100%\\" cat\\n"}]'
    mock.behave({"answer": said, "chunks": 7})
    response = await client.post(CHAT, json={**ASK, "stream": stream})
    heard = "".join(contents(response.text)) if stream else response.json()["choices"][0]["message"]["content"]
    assert heard == said


@pytest.mark.parametrize("way", ["query", "header", "body"])
async def test_one_request_can_be_told_apart(client: httpx2.AsyncClient, way: str) -> None:
    response = await client.post(
        CHAT + ("?chunks=5" if way == "query" else ""),
        headers={"x-mock": "chunks=5"} if way == "header" else {},
        json={**ASK, "mock": {"chunks": 5}} if way == "body" else ASK,
    )
    assert response.json()["usage"]["completion_tokens"] == 5
    plain = await client.post(CHAT, json=ASK)
    assert plain.json()["usage"]["completion_tokens"] == 3


async def test_a_behaviour_that_there_is_not_is_refused(client: httpx2.AsyncClient) -> None:
    response = await client.post(f"{CHAT}?fualt=die", json=ASK)
    assert response.status_code == 400
    assert "fualt is no behaviour of the mock" in response.json()["error"]["message"]


async def test_a_fault_can_strike_once(client: httpx2.AsyncClient) -> None:
    await client.post("/mock/behaviour", json={"fault": "status", "status": 503, "times": 1})
    statuses = [(await client.post(CHAT, json=ASK)).status_code for _ in range(3)]
    assert statuses == [503, 200, 200]


async def test_a_dying_stream_breaks_off_after_its_chunks(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"fault": "die", "after": 2, "chunks": 9})
    async with client.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
        texts = response.aiter_text()
        seen = ""
        while "token1" not in seen:
            seen += await anext(texts)
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(texts)
    assert contents(seen) == ["token0", " token1"]
    assert mock.stats()["running"] == 0


async def test_a_dying_json_answer_is_cut_off(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"fault": "die"})
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.post(CHAT, json=ASK)


async def test_refused_is_closed_without_a_byte(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"fault": "refuse"})
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        await client.post(CHAT, json=ASK)


async def test_an_error_event_comes_inside_a_200(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"fault": "error_event", "after": 1, "chunks": 9})
    response = await client.post(CHAT, json={**ASK, "stream": True})
    *_, error, done = events(response.text)
    assert response.status_code == 200
    assert error["error"]["code"] == 500
    assert done == "[DONE]"


async def test_a_stalled_stream_makes_no_steps(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"fault": "stall", "after": 1, "interval_ms": 1})
    async with client.stream("POST", CHAT, json={**ASK, "stream": True}) as response:
        texts = response.aiter_text()
        seen = ""
        while "token0" not in seen:
            seen += await anext(texts)
        await until(lambda: any(asked.stalled() for asked in mock.running))
        steps = mock.steps()
        assert (mock.stats()["running"], mock.steps()) == (1, steps)


async def test_steps_move_while_work_waits(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"json_ms": 60_000})
    asking = asyncio.create_task(client.post(CHAT, json=ASK))
    await until(lambda: mock.stats()["running"] == 1)
    name = 'vllm:iteration_tokens_total_count{engine="0",model_name="' + MODEL + '"} '
    first, second = [(await client.get("/metrics")).text.split(name)[1].split()[0] for _ in range(2)]
    assert float(second) > float(first)
    asking.cancel()
    await until(lambda: mock.stats()["running"] == 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_counted_and_freed(mock: Mock, client: httpx2.AsyncClient, stream: bool) -> None:
    mock.behave({"json_ms": 60_000, "ttft_ms": 60_000})
    asking = asyncio.create_task(client.post(CHAT, json={**ASK, "stream": stream, "user": "one"}))
    await until(lambda: mock.stats()["running"] == 1)
    asking.cancel()
    await until(lambda: mock.stats()["running"] == 0)
    (abort,) = mock.aborts
    assert (abort["tag"], abort["stream"]) == ("one", stream)


async def test_streams_of_one_interval_tick_together(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"interval_ms": 5, "chunks": 4})
    await asyncio.gather(*(client.post(CHAT, json={**ASK, "stream": True}) for _ in range(8)))
    assert mock.stats() | {"connections": 0} == {
        "requests": 8,
        "running": 0,
        "finished": 8,
        "aborted": 0,
        "connections": 0,
        "steps": mock.stats()["steps"],
    }
    assert mock.stats()["steps"] < 8 * 4


async def test_it_shows_what_reached_it(client: httpx2.AsyncClient) -> None:
    await client.post(CHAT, json=ASK, headers={"X-Seen": "yes"})
    (kept,) = (await client.get("/mock/requests")).json()
    assert ["x-seen", "yes"] in kept["headers"]
    assert json.loads(kept["body"]) == ASK


async def test_it_can_be_away_for_a_while(mock: Mock, client: httpx2.AsyncClient) -> None:
    away = asyncio.create_task(mock.refuse(for_s=0.2))
    await asyncio.sleep(0)
    with pytest.raises(httpx2.TransportError):
        await client.get("/health")
    await away
    assert (await client.get("/health")).status_code == 200


async def test_it_listens_on_a_unix_socket(mock: Mock, tmp_path: Path) -> None:
    socket = str(tmp_path / "engine.sock")
    assert await mock.listen(uds=socket) == f"unix:{socket}"
    transport = httpx2.AsyncHTTPTransport(uds=socket)
    async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as client:
        models = (await client.get("/v1/models")).json()
    assert models["data"][0]["id"] == MODEL


async def test_a_model_that_is_not_served_is_unknown(client: httpx2.AsyncClient) -> None:
    response = await client.post(CHAT, json={**ASK, "model": "other"})
    assert response.status_code == 404
    assert response.json()["error"]["param"] == "model"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"'])
async def test_a_body_that_is_no_question_is_a_400(client: httpx2.AsyncClient, body: bytes) -> None:
    response = await client.post(CHAT, content=body)
    assert response.status_code == 400


async def test_health_can_fail(client: httpx2.AsyncClient) -> None:
    await client.post("/mock/behaviour", json={"healthy": False})
    assert (await client.get("/health")).status_code == 503


def test_a_behaviour_knows_its_faults() -> None:
    with pytest.raises(ValueError, match="fault is 'explode'"):
        Behaviour().overlaid({"fault": "explode"})


@pytest.mark.parametrize("name", ["answers", "behaviour", "cpu", "disconnect", "load", "report"])
def test_the_examples_in_the_benchmark_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"benchmarks.overhead.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
