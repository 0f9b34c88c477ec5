"""Requests and tokens a minute: what is counted, what is said, what is shared, and what happens without Redis."""

import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from limits.aio.storage import MemoryStorage
from pydantic import SecretStr

from benchmarks.overhead.mock import MODEL, Mock
from server.callers.keys import Caller, hashed
from server.callers.limits import Counters, Limiter
from server.callers.store import open_store
from server.errors import RateLimited
from server.settings import Settings
from tests.conftest import ASK, Running, until
from tests.redis_server import redis_server

ALICE = Caller("alice", requests_per_minute=3)
BOB = Caller("bob", tokens_per_minute=100)


def limiter(**changes: Any) -> Limiter:
    settings = Settings(**changes)
    return Limiter(settings, open_store(settings))


# -- counting --------------------------------------------------------------------------------------------------------


async def test_a_key_has_its_requests_a_minute_and_is_told_what_is_left() -> None:
    limits = limiter()
    left = [(await limits.arrive(ALICE)).headers()["x-ratelimit-remaining-requests"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    with pytest.raises(
        RateLimited, match=r"the key 'alice' may use 3 requests a minute, and has; try again in \d+ s"
    ) as no:
        await limits.arrive(ALICE)
    assert no.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(no.value.headers["retry-after"]) <= 60
    assert (await limits.arrive(Caller("carol", requests_per_minute=3))).requests is not None


async def test_keys_of_one_name_share_their_limit() -> None:
    limits = limiter()
    for _ in range(3):
        await limits.arrive(ALICE)
    with pytest.raises(RateLimited):
        await limits.arrive(Caller("alice", requests_per_minute=3, share=2))


async def test_tokens_are_counted_by_estimate_and_then_as_they_were() -> None:
    limits = limiter()

    async def spent(estimate: int, tokens: int) -> str:
        quota = await limits.arrive(BOB)
        await quota.spend(estimate)
        quota.settle(tokens)
        await limits.close()
        return quota.headers()["x-ratelimit-remaining-tokens"]

    assert [await spent(10, 40), await spent(30, 5), await spent(10, 200)] == ["90", "30", "45"]
    with pytest.raises(RateLimited, match="tokens a minute"):
        await spent(1, 1)


async def test_a_prompt_beyond_the_whole_limit_is_let_through_once_a_minute() -> None:
    limits = limiter()
    await (await limits.arrive(BOB)).spend(500)
    with pytest.raises(RateLimited):
        await (await limits.arrive(BOB)).spend(1)


async def test_no_more_is_given_back_than_is_counted() -> None:
    counters = Counters(MemoryStorage())  # of a store that has lost what it knew, or of the next minute
    await counters.settle("bob", 100, -500)
    assert (await counters.spend("bob", 100, 60))[0]
    await counters.settle("bob", 100, -500)
    assert (await counters.spend("bob", 100, 100))[0]
    assert not (await counters.spend("bob", 100, 1))[0]


async def test_limits_may_be_set_for_all_keys_and_a_keys_own_go_first() -> None:
    limits = limiter(max_requests_per_minute=1)
    assert limits.limits(Caller("carol"))
    await limits.arrive(Caller("carol"))
    with pytest.raises(RateLimited):
        await limits.arrive(Caller("carol"))
    for _ in range(3):
        await limits.arrive(ALICE)


async def test_a_caller_without_limits_is_not_counted() -> None:
    assert not limiter().limits(Caller("carol"))


# -- over HTTP -------------------------------------------------------------------------------------------------------

KEYS = f"""
[[key]]
name = "alice"
hash = "{hashed("sk-alice")}"
requests_per_minute = 3
tokens_per_minute = 1000

[[key]]
name = "bob"
hash = "{hashed("sk-bob")}"
"""
STREAM = {**ASK, "stream": True, "max_tokens": 40}


@asynccontextmanager
async def limited(running: Running, mock: Mock, folder: Path, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    path = folder / "keys.toml"
    path.write_text(KEYS)
    async with (
        running([await mock.listen()], keys_file=str(path), **changes) as url,
        httpx2.AsyncClient(base_url=url, timeout=20, headers={"authorization": "Bearer sk-alice"}) as client,
    ):
        yield client


async def test_openais_headers_come_with_every_answer_and_its_client_understands_the_refusal(
    running: Running, mock: Mock, tmp_path: Path
) -> None:
    async with limited(running, mock, tmp_path) as client:
        answer = await client.post("/v1/chat/completions", json=ASK)
        stream = await client.post("/v1/chat/completions", json=STREAM)
        wrong = await client.post("/v1/caption", json={})
        sdk = openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="sk-alice", max_retries=0)
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])
        await sdk.close()
    assert [each.headers["x-ratelimit-remaining-requests"] for each in (answer, stream, wrong)] == ["2", "1", "0"]
    assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
    assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    assert (
        900 < int(stream.headers["x-ratelimit-remaining-tokens"]) < int(answer.headers["x-ratelimit-remaining-tokens"])
    )
    assert wrong.status_code == 400
    assert (refused.value.code, refused.value.status_code) == ("rate_limit_exceeded", 429)
    assert int(refused.value.response.headers["retry-after"]) >= 1


async def test_without_limits_there_are_no_such_headers(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=ASK)
    assert [name for name in answer.headers if "ratelimit" in name] == []


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
async def test_a_streams_tokens_are_counted_without_showing_a_usage_that_nobody_asked_for(
    running: Running, mock: Mock, tmp_path: Path, options: dict[str, Any] | None
) -> None:
    asked = {**STREAM, **({} if options is None else {"stream_options": options})}
    async with limited(running, mock, tmp_path) as client:
        before = await _completion_tokens(client)
        answer = await client.post("/v1/chat/completions", json=asked)
        await until(lambda: _counted(client, before + 40))
    assert b'"stream_options":{"include_usage":true}' in mock.requests[-1].body
    assert "usage" not in answer.text
    assert answer.text.count("data: ") == 43
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_a_usage_that_was_asked_for_is_shown(running: Running, mock: Mock, tmp_path: Path) -> None:
    async with limited(running, mock, tmp_path) as client:
        answer = await client.post("/v1/chat/completions", json={**STREAM, "stream_options": {"include_usage": True}})
    assert '"usage":{' in answer.text


async def _completion_tokens(client: httpx2.AsyncClient) -> float:
    """Of alice, in this process so far."""
    text = (await client.get("/metrics")).text
    found = re.search(r'qvl_caller_tokens_total\{caller="alice",kind="completion"\} (\S+)', text)
    return float(found[1]) if found else 0


async def _counted(client: httpx2.AsyncClient, tokens: float) -> bool:
    return await _completion_tokens(client) == tokens


# -- Redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of our own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


async def arrived(limits: Limiter, caller: Caller) -> bool:
    try:
        await limits.arrive(caller)
    except RateLimited:
        return False
    return True


async def test_gateways_that_share_a_redis_share_the_limits(redis: str) -> None:
    settings = Settings(redis_url=SecretStr(redis))
    stores = [open_store(settings) for _ in range(2)]
    first, second = (Limiter(settings, store) for store in stores)
    try:
        assert [await arrived(each, ALICE) for each in (first, second, first, second)] == [True, True, True, False]
        quota = await first.arrive(BOB)
        await quota.spend(60)
        quota.settle(100)
        await first.close()
        with pytest.raises(RateLimited):
            await (await second.arrive(BOB)).spend(1)
    finally:
        for store in stores:
            assert store is not None
            await store.close()


async def test_without_its_redis_a_gateway_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    limits = limiter(redis_url=SecretStr(f"redis://:redis-secret@127.0.0.1:{port}/0"))
    assert [await arrived(limits, ALICE) for _ in range(4)] == [True, True, True, False]
    await limits.close()
    assert "counted here alone" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis", "memcached://x:redis-secret@y"])
def test_a_redis_that_cannot_be_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="redis_url must begin with") as refused:
        limiter(redis_url=SecretStr(url))
    assert "secret" not in str(refused.value)
