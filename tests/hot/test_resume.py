"""Streams that survive their engine, and those that cannot and say so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.hot.resume import FOLD_EVENTS, Said
from tests.conftest import ASK, running_gateway, until

CHAT = "/v1/chat/completions"
TOKENS = 12
STREAM = {**ASK, "max_tokens": TOKENS, "stream": True, "stream_options": {"include_usage": True}}
SAID = " ".join(f"token{i}" for i in range(TOKENS))
SOUND = Behaviour()


class Pair:
    """A gateway before two engines, the first of which is at fault."""

    def __init__(self, client: httpx2.AsyncClient, mocks: list[Mock]) -> None:
        self.client, self.mocks = client, mocks

    async def events(self, path: str = CHAT, **changes: Any) -> list[Any]:
        """Of a stream that the first engine begins, as it does with a pool's first request; `[DONE]` as a string."""
        answer = await self.client.post(path, json={**STREAM, **changes})
        assert answer.status_code == 200
        payloads = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
        return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


@asynccontextmanager
async def pair(fault: Behaviour, second: Behaviour = SOUND, **settings: Any) -> AsyncIterator[Pair]:
    mocks = [Mock(behaviour=fault), Mock(behaviour=second)]
    urls = [await mock.listen() for mock in mocks]
    async with (
        running_gateway(urls, engine_slow_start_s=0.01, **settings) as url,
        httpx2.AsyncClient(base_url=url) as client,
    ):
        yield Pair(client, mocks)
    for mock in mocks:
        await mock.close()


def text_of(events: list[Any]) -> str:
    choices = [choice for event in events[:-1] for choice in event.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def check_whole(events: list[Any]) -> None:
    """One unbroken answer, as a client that knows nothing of engines takes it."""
    assert text_of(events) == SAID
    assert events[-1] == "[DONE]"
    chunks = events[:-1]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert [bool(choice["delta"].get("role")) for choice in choices] == [True] + [False] * (len(choices) - 1)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["length"]
    assert {**chunks[-1]["usage"], "prompt_tokens_details": None} == {
        "prompt_tokens": 17,
        "completion_tokens": TOKENS,
        "total_tokens": 17 + TOKENS,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


@pytest.mark.parametrize("after", [1, 2, 7, TOKENS - 1, TOKENS])
@pytest.mark.parametrize("fault", ["die", "error_event"])
async def test_another_engine_goes_on_where_the_first_one_broke_off(fault: str, after: int) -> None:
    async with pair(Behaviour(fault=fault, after=after)) as two:
        check_whole(await two.events())
        assert two.mocks[0].stats()["requests"] >= 1


async def test_a_stream_that_only_lacks_its_end_gets_it() -> None:
    async with pair(Behaviour(fault="no_end")) as two:
        check_whole(await two.events())


async def test_a_stream_without_usage_needs_no_engine_for_its_end() -> None:
    async with pair(Behaviour(fault="no_end")) as two:
        events = await two.events(stream_options=None)
        assert text_of(events) == SAID
        assert events[-1] == "[DONE]"
        assert two.mocks[1].stats()["requests"] == 0


async def test_several_engines_may_break_off_one_after_the_other() -> None:
    dying = Behaviour(fault="die", after=3)
    async with pair(dying, dying) as two:
        check_whole(await two.events())


async def test_the_second_engine_is_asked_for_the_rest_of_the_same_answer() -> None:
    async with pair(Behaviour(fault="die", after=5)) as two:
        await two.events(temperature=0, min_tokens=8)
        first, second = (json.loads(mock.requests[-1].body) for mock in two.mocks)
    assert second["messages"] == [*first["messages"], {"role": "assistant", "content": SAID[: SAID.index(" token5")]}]
    assert (second["max_tokens"], second["min_tokens"]) == (TOKENS - 5, 3)
    assert second["continue_final_message"] is True
    assert second["add_generation_prompt"] is False
    same = first.keys() - {"messages", "max_tokens", "min_tokens"}
    assert {name: second[name] for name in same} == {name: first[name] for name in same}


async def test_an_answer_that_goes_on_with_the_callers_own_beginning_is_gone_on_with() -> None:
    begun = [*ASK["messages"], {"role": "assistant", "content": "token0 token1"}]
    async with pair(Behaviour(fault="die", after=3)) as two:
        events = await two.events(messages=begun, continue_final_message=True, add_generation_prompt=False)
        assert text_of(events) == "".join(f" token{i}" for i in range(2, 2 + TOKENS))
        last = json.loads(two.mocks[1].requests[-1].body)["messages"][-1]
    assert last == {"role": "assistant", "content": "token0 token1 token2 token3 token4"}


async def test_a_text_completion_is_gone_on_with() -> None:
    async with pair(Behaviour(fault="die", after=4)) as two:
        events = await two.events("/v1/completions", messages=None, prompt="Count:")
        second = json.loads(two.mocks[1].requests[-1].body)
    assert second["prompt"] == "Count:token0 token1 token2 token3"
    assert second["max_tokens"] == TOKENS - 4
    assert events[-1] == "[DONE]"
    assert len({event["id"] for event in events[:-1]}) == 1


async def test_a_stream_of_an_engine_that_stands_still_is_taken_up() -> None:
    async with pair(Behaviour(fault="stall", after=4), engine_stall_s=0.3) as two:
        check_whole(await two.events())
        await until(lambda: len(two.mocks[0].aborts) == 1)


async def test_a_stream_waits_for_an_engine_that_comes_back() -> None:
    mock = Mock(behaviour=Behaviour(chunks=TOKENS, interval_ms=20))
    async with running_gateway([await mock.listen()]) as url, httpx2.AsyncClient(base_url=url) as client:
        async with client.stream("POST", CHAT, json=STREAM) as answer:
            pieces = answer.aiter_text()
            text = await anext(pieces)
            await mock.refuse(for_s=0.3)
            text += "".join([piece async for piece in pieces])
        events = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
        assert text_of([*events, ""]) == SAID
    await mock.close()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n": 2}, "it has 2 choices (n)"),
        ({"response_format": {"type": "json_object"}}, "a grammar is in force (response_format)"),
        ({"structured_outputs": {"choice": ["a", "b"]}}, "a grammar is in force (structured_outputs)"),
        ({"logprobs": True}, "it tells log-probabilities (logprobs)"),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"},
            "a grammar is in force (tool_choice)",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_what_cannot_be_gone_on_with_ends_with_an_error_that_says_so(changes: dict[str, Any], why: str) -> None:
    async with pair(Behaviour(fault="die", after=3)) as two:
        events = await two.events(**changes)
        assert events[-1] == "[DONE]"
        assert events[-2]["error"]["code"] == "engine_failed"
        assert events[-2]["error"]["message"].endswith(f"no other engine can go on with the stream: {why}")
        assert two.mocks[1].stats()["requests"] == 0


async def test_a_stream_at_which_engines_break_off_without_a_word_is_given_up() -> None:
    silent = Behaviour(fault="refuse")
    async with pair(silent, silent) as two:
        two.mocks[0].behave({"fault": "die", "after": 3}, times=1)
        events = await two.events()
        assert text_of(events) == "token0 token1 token2"
        assert "no other engine can go on with the stream" in events[-2]["error"]["message"]
        assert events[-1] == "[DONE]"
        assert sum(mock.stats()["requests"] for mock in two.mocks) <= 4


async def test_a_client_that_leaves_a_resumed_stream_frees_the_second_engine() -> None:
    slow = Behaviour(chunks=1000, interval_ms=5)
    async with pair(Behaviour(fault="die", after=2, chunks=1000), slow) as two:
        async with two.client.stream("POST", CHAT, json={**STREAM, "max_tokens": 1000}) as answer:
            pieces = answer.aiter_raw()
            await anext(pieces)
            await until(lambda: len(two.mocks[1].running) == 1)
        await until(lambda: len(two.mocks[1].aborts) == 1)


async def test_the_openai_sdk_sees_one_answer() -> None:
    async with pair(Behaviour(fault="die", after=5)) as two:
        url = f"{two.client.base_url}/v1/".replace("//v1", "/v1")
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as sdk:
            for _ in range(2):  # one of them begins at the first engine
                async with sdk.chat.completions.stream(model=STREAM["model"], messages=STREAM["messages"]) as stream:
                    completion = await stream.get_final_completion()
                assert completion.choices[0].message.content == " ".join(f"token{i}" for i in range(16))
        assert two.mocks[0].stats()["requests"] >= 1


async def test_many_streams_at_once_lose_nothing_of_their_own() -> None:
    own = Behaviour(own_words=True, interval_ms=2)
    async with pair(own, own) as two:

        async def said(name: str) -> str:
            answer = await two.client.post(CHAT, json={**STREAM, "max_tokens": 60, "user": name})
            events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
            return text_of([*events, ""])

        streams = [asyncio.create_task(said(f"caller{number}x")) for number in range(16)]
        await until(lambda: len(two.mocks[0].running) == 8)
        await asyncio.sleep(0.03)
        await two.mocks[0].close()
        for number, stream in enumerate(streams):
            assert await stream == " ".join(f"caller{number}x{i}" for i in range(60))


@given(
    st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=4), max_size=30),
    st.sampled_from(["", "reasoning", "tool_calls"]),
)
def test_what_was_said_is_read_whatever_pieces_it_came_in(pieces: list[list[str]], other: str) -> None:
    def event(text: str, **more: Any) -> bytes:
        chunk = {
            "id": "a",
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": text, **more}}],
        }
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    said = Said()
    for texts in pieces:
        data = b"".join(map(event, texts))
        if not said.takes(data):
            said.add(data)
    if other:
        said.add(event("", **{other: [{"index": 0}]}))
    said.read()
    assert said.text == "".join(text for texts in pieces for text in texts)
    assert bool(said.problem) == bool(other)


def test_a_long_stream_takes_no_more_memory_than_its_text() -> None:
    said = Said()
    for number in range(20_000):
        chunk = {"id": "a", "choices": [{"index": 0, "delta": {"content": f" token{number}"}, "finish_reason": None}]}
        event = b"data: " + orjson.dumps(chunk) + b"\n\n"
        if not said.takes(event):
            said.add(event)
    assert len(said._kept) <= FOLD_EVENTS + 1
    assert sum(map(len, said._kept)) < 20 * FOLD_EVENTS
    said.read()
    assert said.text.split() == [f"token{number}" for number in range(20_000)]
    assert said.chunks == 20_000
