"""Two servers of two workers each share a Redis: a key's limits hold over all four, a minute's and those of what it has
at once; a Redis that goes away gives a key no more than is written, and a server that is killed takes nothing along.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress

import httpx2
import pytest

from server.callers.keys import hashed
from server.callers.leases import LEASE_S
from tests.conftest import ASK, until
from tests.redis_server import RedisServer, redis_server
from tests.workers.conftest import Started, header, one_each, serving

CHAT = "/v1/chat/completions"
LIMIT = 6
REQUESTS = [f"requests-{number}" for number in range(3)]
"""Keys, one for each test that uses its minute up."""
KEYS = "".join(
    f'[[key]]\nname = "{name}"\nhash = "{hashed(name)}"\n{limit}\n'
    for name, limit in [
        *((name, f"requests_per_minute = {LIMIT}") for name in REQUESTS),
        ("tokens", "tokens_per_minute = 60"),
        ("few", "concurrent = 4"),
        ("many", "requests_per_minute = 100_000"),
    ]
)
SERVERS = 2
SLOW = {**ASK, "stream": True, "max_tokens": 30_000, "mock": {"interval_ms": 20}}
Clients = list[httpx2.AsyncClient]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def servers(engine_url: str, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Started]]:
    with ExitStack() as stack:
        started = []
        for _ in range(SERVERS):
            folder = tmp_path_factory.mktemp("server")
            (folder / "keys.toml").write_text(KEYS)
            settings = {"engine_url": engine_url, "keys_file": folder / "keys.toml"}
            started.append(stack.enter_context(serving(folder, redis_url=redis.url, **settings)))
        yield started


@pytest.fixture
async def clients(servers: list[Started]) -> AsyncIterator[Clients]:
    """One for each worker of each server, once all of them count in Redis: on a busy machine one may have given it up
    for a while, or still do so since a test before.
    """
    async with AsyncExitStack() as stack:
        clients = [client for server in servers for client in await one_each(server.url, stack)]

        async def count_together() -> bool:
            answers = [await asked(client, "many") for client in clients]
            left = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
            return left == [left[0] - number for number in range(len(clients))]

        await until(count_together)
        yield clients


async def asked(client: httpx2.AsyncClient, name: str) -> httpx2.Response:
    answer = await client.post(CHAT, json=ASK, headers=header(name))
    assert answer.status_code in {200, 429}, answer.text
    return answer


@asynccontextmanager
async def streaming(client: httpx2.AsyncClient, name: str) -> AsyncIterator[None]:
    """While an answer comes, which would go on for ten minutes."""
    async with client.stream("POST", CHAT, json=SLOW, headers=header(name)) as stream:
        assert stream.status_code == 200
        yield


async def granted(clients: Clients, name: str, each: int) -> int:
    """How many requests are answered of `each` on every worker, all workers at once."""

    async def of_one(client: httpx2.AsyncClient) -> int:
        return sum([(await asked(client, name)).status_code == 200 for _ in range(each)])

    return sum(await asyncio.gather(*map(of_one, clients)))


async def test_requests_a_minute_hold_over_the_workers_of_all_servers(clients: Clients) -> None:
    assert len(clients) == 2 * SERVERS
    answers = [await asked(client, REQUESTS[0]) for _ in range(3) for client in clients]
    assert [answer.status_code for answer in answers] == [200] * LIMIT + [429] * (12 - LIMIT)
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:LIMIT]] == list("543210")
    assert {answer.json()["error"]["code"] for answer in answers[LIMIT:]} == {"rate_limit_exceeded"}


async def test_tokens_a_minute_hold_over_the_workers_of_all_servers(clients: Clients) -> None:
    first = await asked(clients[0], "tokens")
    assert (first.status_code, first.headers["x-ratelimit-remaining-tokens"]) == (200, "35")  # 25 are estimated of 60
    found: Counter[int] = Counter()

    async def is_settled() -> bool:  # each turns out to be 20: two are answered, 20 are left, a third would be 25
        answers = [await asked(client, "tokens") for client in clients[1:]]
        found.update(answer.status_code for answer in answers)
        return {answer.headers["x-ratelimit-remaining-tokens"] for answer in answers} == {"20"}

    await until(is_settled)
    assert found[200] == 1
    assert {(await asked(client, "tokens")).status_code for client in clients} == {429}


async def test_a_redis_that_is_back_with_what_it_had_has_lost_nothing(clients: Clients, redis: RedisServer) -> None:
    assert await granted(clients, REQUESTS[1], 3) == LIMIT
    redis.kill()
    redis.start()
    assert await granted(clients, REQUESTS[1], 2) == 0


async def test_a_redis_that_is_lost_costs_the_limit_once_a_server_and_once_more_when_it_is_back_empty(
    clients: Clients, redis: RedisServer, servers: list[Started]
) -> None:
    assert await granted(clients, REQUESTS[2], 3) == LIMIT
    redis.kill()
    assert await granted(clients, REQUESTS[2], 2 * LIMIT) == LIMIT * SERVERS  # its workers count together
    redis.forget()
    redis.start()
    found = 0

    async def is_used_again() -> bool:  # each worker leaves it alone for some seconds after its last failure
        nonlocal found
        found += await granted(clients, REQUESTS[2], 1)
        return found >= LIMIT

    await until(is_used_again)
    assert found + await granted(clients, REQUESTS[2], 2) == LIMIT
    for server in servers:
        said = server.log.read_text()
        assert "limits are counted here alone for" in said
        assert "redis-secret" not in said


async def test_requests_at_once_hold_over_all_servers_and_one_that_is_killed_gives_back_what_it_had(
    clients: Clients, servers: list[Started]
) -> None:
    """The last one here: a server does not live on."""
    async with AsyncExitStack() as stack:
        askers = [await stack.enter_async_context(httpx2.AsyncClient(base_url=one.url, timeout=30)) for one in servers]
        lost = await stack.enter_async_context(AsyncExitStack())
        for client in clients[:2]:
            await lost.enter_async_context(streaming(client, "few"))
        async with streaming(clients[2], "few"):
            async with streaming(clients[3], "few"):
                for asker in askers:
                    refused = await asked(asker, "few")
                    assert refused.status_code == 429
                    assert "has 4 requests under way; it may have 4" in refused.json()["error"]["message"]

            async def is_let_in() -> bool:
                return (await asked(askers[1], "few")).status_code == 200

            await until(is_let_in)
            await lost.enter_async_context(streaming(askers[0], "few"))
            assert not await is_let_in()
            servers[0].process.kill()
            began_s = time.monotonic()
            with suppress(httpx2.HTTPError):
                await lost.aclose()
            assert not await is_let_in()
            await until(is_let_in)
            assert time.monotonic() - began_s < LEASE_S + 3
