"""Streams: event by event, cut off when the client leaves, and well-formed to the end whatever the engine does."""

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from tests.conftest import ASK, Running, until

CHAT = "/v1/chat/completions"
STREAM = {**ASK, "stream": True}
LAST_WORD = {"logprobs": True}  # no other engine can go on with such a stream


async def events(client: httpx2.AsyncClient, **changes: Any) -> list[Any]:
    """The payloads of one stream, parsed; `[DONE]` as a string."""
    answer = await client.post(CHAT, json={**STREAM, **changes})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    payloads = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


async def test_the_engines_bytes_come_through_untouched(mock: Mock, running: Running) -> None:
    engine = await mock.listen()
    async with running([engine]) as url, httpx2.AsyncClient() as client:
        direct = (await client.post(f"{engine}{CHAT}", json=STREAM)).text
        through = (await client.post(f"{url}{CHAT}", json=STREAM)).text
    ids = [json.loads(text[6:].split("\n")[0])["id"] for text in (direct, through)]
    assert through.replace(ids[1], ids[0]) == direct


async def test_events_arrive_one_by_one_as_the_engine_makes_them(client: httpx2.AsyncClient, mock: Mock) -> None:
    mock.behaviour = Behaviour(chunks=3, interval_ms=50)
    arrivals_s: list[float] = []
    async with client.stream("POST", CHAT, json=STREAM) as answer:
        async for piece in answer.aiter_raw():
            assert piece.endswith(b"\n\n")
            arrivals_s.append(asyncio.get_running_loop().time())
    assert len(arrivals_s) >= 4
    assert arrivals_s[-1] - arrivals_s[0] > 0.09


async def test_a_client_that_leaves_a_stream_frees_the_engine(client: httpx2.AsyncClient, mock: Mock) -> None:
    mock.behaviour = Behaviour(chunks=10_000, interval_ms=5)
    async with client.stream("POST", CHAT, json=STREAM) as answer:
        await anext(answer.aiter_raw())
    await until(lambda: len(mock.aborts) == 1)
    assert not mock.running


async def test_a_failure_before_the_first_event_keeps_its_status(client: httpx2.AsyncClient, mock: Mock) -> None:
    mock.behaviour = Behaviour(fault="error_event", after=0)
    answer = await client.post(CHAT, json=STREAM)
    assert answer.status_code in {400, 502}
    assert answer.json()["error"]["type"]


@pytest.mark.parametrize("fault", ["die", "error_event"])
async def test_a_failure_after_the_first_event_ends_the_stream_with_an_error_event(
    client: httpx2.AsyncClient, mock: Mock, fault: str
) -> None:
    mock.behaviour = Behaviour(fault=fault, after=2, chunks=9)
    found = await events(client, **LAST_WORD)
    assert found[-1] == "[DONE]"
    assert found[-2]["error"]["message"]
    assert [event["choices"][0]["delta"].get("content") for event in found[:3]] == ["", "token0", " token1"]


async def test_the_openai_sdk_raises_what_broke_the_stream(gateway: str, mock: Mock) -> None:
    mock.behaviour = Behaviour(fault="die", after=2, chunks=9)
    async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(**STREAM, **LAST_WORD)
        with pytest.raises(openai.APIError, match="closed the connection"):
            async for _ in stream:
                pass


async def test_a_stalled_stream_ends_with_a_timeout_event(mock: Mock, running: Running) -> None:
    mock.behaviour = Behaviour(fault="stall", after=1, chunks=9)
    async with running([await mock.listen()], engine_timeout_s=0.2) as url, httpx2.AsyncClient(base_url=url) as client:
        found = await events(client, **LAST_WORD)
    assert found[-2]["error"]["code"] == "engine_timeout"


async def test_a_slow_reader_holds_back_the_engine_instead_of_filling_memory(gateway: str, mock: Mock) -> None:
    mock.behaviour = Behaviour(chunks=200_000)
    host, port = gateway.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    body = json.dumps({**STREAM, "max_tokens": 30_000}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: len(mock.running) <= 1)
    whole = bytearray()
    while not whole.endswith(b"0\r\n\r\n"):
        whole += await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    assert whole.count(b"data: {") > 30_000
    assert b"data: [DONE]" in whole[-64:]


async def test_http_1_0_gets_the_stream_unframed(gateway: str) -> None:
    host, port = gateway.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(STREAM).encode()
    head = f"POST {CHAT} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head_bytes
    assert rest.startswith(b"data: {")
    assert rest.endswith(b"data: [DONE]\n\n")
