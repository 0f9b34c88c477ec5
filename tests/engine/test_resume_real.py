"""A stream that is cut and gone on with by a real vLLM: the same words, the same usage.

One engine stands for two: the gateway reaches it through a relay that cuts one stream and lets the next pass. The
answer is held to words that are one token each whatever stands before them, because a model with random weights writes
what no tokenizer would: there the text does not say which tokens it was made of.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import running_gateway
from tests.engine.test_chat_real import CHAT, image_part

pytestmark = pytest.mark.engine
WORDS = (" circle", " cross", " triangle", " square", " green", " blue", " red", " orange", " yellow", " purple")
TOKENS = 24


class Relay:
    """Passes everything on to the engine, and cuts the next stream once, after so many events."""

    def __init__(self, engine: Path) -> None:
        self.cut_after: int | None = None
        self.cuts = 0
        self._engine = engine

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_engine, to_engine = await asyncio.open_unix_connection(str(self._engine))
        there = asyncio.create_task(self._copy(reader, to_engine))
        back = asyncio.create_task(self._copy_cutting(from_engine, writer))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (there, back):
                each.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for end in (writer, to_engine):
                end.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)

    async def _copy_cutting(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        events = 0
        while data := await source.read(65536):
            events += data.count(b"data: {")
            if self.cut_after is not None and events > self.cut_after:
                self.cut_after = None
                self.cuts += 1
                return
            target.write(data)


class Cut:
    """A client of the gateway, and what cuts its streams."""

    def __init__(self, client: httpx2.AsyncClient, relay: Relay) -> None:
        self.client, self.relay = client, relay

    async def events(self, body: dict[str, Any], cut_after: int | None) -> list[dict[str, Any]]:
        self.relay.cut_after = cut_after
        text = (await self.client.post(CHAT, json=body)).text
        assert text.endswith("data: [DONE]\n\n")
        return [json.loads(event[6:]) for event in text.split("\n\n") if event.startswith("data: {")]

    async def words(self) -> list[int]:
        """Their tokens, one each."""
        ids = []
        for word in WORDS:
            answer = await self.client.post("/tokenize", json={"model": "qwen2.5-vl", "prompt": word})
            assert answer.json()["count"] == 1
            ids += answer.json()["tokens"]
        return ids


@asynccontextmanager
async def relayed(engine: Path) -> AsyncIterator[tuple[Relay, str]]:
    relay, serving = Relay(engine), set[asyncio.Task[None]]()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(relay.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield relay, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@pytest.fixture
async def cut(engine_socket: Path) -> AsyncIterator[Cut]:
    async with (
        relayed(engine_socket) as (relay, relay_url),
        running_gateway([relay_url]) as url,
        httpx2.AsyncClient(base_url=url, timeout=120) as client,
    ):
        yield Cut(client, relay)


def said(events: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event.get("choices", ()))


@pytest.mark.parametrize("shown", [[], [image_part(112, 84)]], ids=["words", "a picture"])
async def test_a_stream_that_was_cut_says_what_it_would_have_said(cut: Cut, shown: list[dict[str, Any]]) -> None:
    content = [*shown, {"type": "text", "text": "Name shapes and colours."}]
    body = {
        "model": "qwen2.5-vl",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "allowed_token_ids": await cut.words(),
        "ignore_eos": True,
    }
    whole = await cut.events(body, None)
    assert len(said(whole).split()) == TOKENS
    for cuts, after in enumerate((2, 9, TOKENS), start=1):
        events = await cut.events(body, after)
        assert cut.relay.cuts == cuts
        assert said(events) == said(whole)
        usage = {**events[-1]["usage"], "prompt_tokens_details": None}
        assert usage == {**whole[-1]["usage"], "prompt_tokens_details": None}
        assert len({event["id"] for event in events}) == 1


async def test_a_stream_of_free_words_that_was_cut_is_whole_and_as_long(cut: Cut) -> None:
    body = {
        "model": "qwen2.5-vl",
        "messages": [{"role": "user", "content": "Say something."}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "stream": True,
        "ignore_eos": True,
    }
    events = await cut.events(body, 6)
    assert cut.relay.cuts == 1
    choices = [choice for event in events for choice in event["choices"]]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
    assert sum(bool(choice["delta"].get("role")) for choice in choices) == 1
