"""A key's requests at once over gateways that share a Redis: who gets a lease, how long it lives, and without Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from benchmarks.overhead.mock import Mock
from server.callers.admission import Admission, Visit
from server.callers.auth import Auth
from server.callers.gate import Gate
from server.callers.keys import Caller, hashed
from server.callers.leases import Leases
from server.callers.limits import Limiter
from server.callers.store import Store, open_store
from server.errors import RateLimited
from server.exchange import Exchange
from server.settings import Settings
from tests.conftest import ASK, Running, until
from tests.redis_server import RedisServer, redis_server

LEASE_S = 1.5
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Gateway:
    """The door of one."""

    def __init__(self, redis: RedisServer, lease_s: float) -> None:
        settings = Settings(redis_url=SecretStr(redis.url))
        store = open_store(settings)
        assert store is not None
        self.store: Store = store
        self.leases = Leases(settings, store, lease_s)
        self.gate = Gate(settings, Auth(()), Limiter(settings, store), Admission(settings), self.leases)

    async def arrive(self, caller: Caller) -> Visit:
        return await self.gate.arrive(Exchange(b"1", "POST", CHAT, {}), caller)

    async def lets_in(self, caller: Caller) -> bool:
        """Whether one more may be here; it leaves at once."""
        try:
            (await self.arrive(caller)).leave()
        except RateLimited:
            return False
        return True

    async def vanish(self) -> None:
        """As by `kill -9`: nothing is given back."""
        if self.leases._keeper is not None:
            self.leases._keeper.cancel()
        await self.store.close()


New = Callable[..., Gateway]


@pytest.fixture
async def new(server: RedisServer) -> AsyncIterator[New]:
    """Opens gateways, which are closed at the end."""
    gateways: list[Gateway] = []

    def opened(lease_s: float = LEASE_S) -> Gateway:
        gateways.append(Gateway(server, lease_s))
        return gateways[-1]

    yield opened
    for gateway in gateways:
        await gateway.leases.close()
        await gateway.store.close()


@pytest.fixture
def gateways(new: New) -> list[Gateway]:
    return [new(), new()]


def key(name: str, concurrent: int = 2) -> Caller:
    """Each test has one of its own."""
    return Caller(name, concurrent=concurrent)


async def test_gateways_share_what_a_key_may_have_at_once(gateways: list[Gateway]) -> None:
    one, other = gateways
    few = key("shared")
    visits = [await one.arrive(few), await other.arrive(few)]
    for gateway in gateways:
        with pytest.raises(RateLimited, match="the key 'shared' has 2 requests under way; it may have 2") as refused:
            await gateway.arrive(few)
        assert refused.value.headers == {"retry-after": "1"}
        assert refused.value.details == {"limit": 2, "value": 2}
    assert await other.lets_in(key("another"))
    visits[0].leave()
    await until(lambda: other.lets_in(few))
    visits[1].leave()


async def test_the_next_request_may_follow_the_last_answer_at_once(gateways: list[Gateway]) -> None:
    one, _ = gateways
    few = key("loop", 1)
    before = await questions(one)
    for _ in range(100):
        (await one.arrive(few)).leave()  # what is given back goes along with what is taken
    assert await questions(one) <= before + 2 * 100 + 10  # it renews, too
    for gateway in gateways * 20:
        (await gateway.arrive(few)).leave()  # and here it may be overtaken, so it is looked for once more


async def test_one_request_costs_one_question(gateways: list[Gateway]) -> None:
    one, _ = gateways
    few = key("cost")
    (await one.arrive(few)).leave()  # it connects, and sends its scripts
    await until(lambda: not one.leases._leaving)
    before = await questions(one)
    visit = await one.arrive(few)
    assert await questions(one) == before + 1
    visit.leave()


async def questions(gateway: Gateway) -> int:
    stats: dict[str, Any] = await gateway.store._client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("evalsha", "eval", "script|load"))


async def test_what_a_lost_gateway_had_is_free_when_its_leases_are_over(gateways: list[Gateway]) -> None:
    lost, staying = gateways
    few = key("lost")
    for _ in range(2):
        await lost.arrive(few)
    await lost.vanish()
    assert not await staying.lets_in(few)
    began_s = time.monotonic()
    await until(lambda: staying.lets_in(few))
    assert time.monotonic() - began_s < LEASE_S + 1


async def test_a_long_request_keeps_its_lease_and_leaves_nothing_behind(gateways: list[Gateway]) -> None:
    one, other = gateways
    few = key("long")
    visits = [await one.arrive(few) for _ in range(2)]
    until_s = time.monotonic() + 1.5 * LEASE_S
    while time.monotonic() < until_s:
        assert not await other.lets_in(few)
        await asyncio.sleep(0.05)
    for visit in visits:
        visit.leave()
    await until(lambda: other.lets_in(few))
    await one.leases.close()
    await other.leases.close()
    assert await one.store._client.exists("qvl-concurrent/long") == 0


async def test_who_leaves_while_he_asks_gives_back_what_he_then_gets(new: New) -> None:
    one, other = new(lease_s=60), new()
    few = key("left", 1)
    before = asyncio.all_tasks()
    asking = asyncio.create_task(one.arrive(few))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.gather(*(asyncio.all_tasks() - before))  # it has its answer
    await until(lambda: other.lets_in(few))
    await until(lambda: one.lets_in(few))


async def test_without_redis_each_has_the_limit_and_all_is_counted_again_when_it_is_back_empty(
    gateways: list[Gateway], server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.callers.store.AGAIN_S", 0.2)
    one, other = gateways
    few = key("away", 3)
    visits = [await one.arrive(few)]
    server.kill()
    visits += [await one.arrive(few), await one.arrive(few), await other.arrive(few)]
    with pytest.raises(RateLimited):
        await one.arrive(few)
    assert "limits are counted here alone" in caplog.text
    server.forget()
    server.start()

    async def is_counted() -> bool:
        return int(await one.store._client.zcard("qvl-concurrent/away")) == len(visits)

    await until(is_counted)
    await until(lambda: time.monotonic() >= other.store._from_s)
    assert not await other.lets_in(few)
    for visit in visits[:2]:
        visit.leave()
    await until(lambda: other.lets_in(few))
    for visit in visits[2:]:
        visit.leave()


async def test_what_ends_while_redis_is_away_is_given_back_later(
    new: New, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.callers.store.AGAIN_S", 0.1)
    one, other = new(lease_s=3), new()
    few = key("later", 1)
    one.leases._lease_ms = 60_000  # it would not end by itself
    visit = await one.arrive(few)
    server.kill()
    visit.leave()
    await until(lambda: one.store._from_s > 0)
    server.start()
    await until(lambda: other.lets_in(few))


# -- over HTTP -------------------------------------------------------------------------------------------------------

KEYS = f"""
[[key]]
name = "streams"
hash = "{hashed("sk-streams")}"
concurrent = 2
"""
SLOW = {**ASK, "stream": True, "max_tokens": 10_000, "mock": {"interval_ms": 20}}


async def test_a_stream_that_is_left_gives_back_its_lease_at_once(
    running: Running, mock: Mock, server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "keys.toml").write_text(KEYS)
    engine = await mock.listen()
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            settings = {"keys_file": str(tmp_path / "keys.toml"), "redis_url": SecretStr(server.url)}
            url = await stack.enter_async_context(running([engine], **settings))
            client = httpx2.AsyncClient(base_url=url, timeout=20, headers={"authorization": "Bearer sk-streams"})
            clients.append(await stack.enter_async_context(client))
        one, other = clients
        async with one.stream("POST", CHAT, json=SLOW) as first, other.stream("POST", CHAT, json=SLOW) as second:
            assert (first.status_code, second.status_code) == (200, 200)
            refused = await one.post(CHAT, json=ASK)
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "rate_limit_exceeded"
            await second.aclose()
            began_s = time.monotonic()

            async def is_let_in() -> bool:
                return (await one.post(CHAT, json=ASK)).status_code == 200

            await until(is_let_in)
            assert time.monotonic() - began_s < 2
