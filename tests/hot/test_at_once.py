"""Requests that are served without a task meet what all others meet: faults, clients that leave, a server that does.

They come in one piece, which HTTP clients of Python do not send; and the first one of each test is for the connection
to the engine, which those after it find there.
"""

import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.hot.chat import Chat
from tests.conftest import ASK, Running, until
from tests.edge.test_leaving import House, house
from tests.edge.test_link import Wire, code, connected, request

CHAT = "/v1/chat/completions"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many requests took a task from their beginning."""
    count = 0
    serve = Chat.serve

    async def counted(*arguments: Any) -> None:
        nonlocal count
        count += 1
        await serve(*arguments)

    monkeypatch.setattr(Chat, "serve", counted)
    return lambda: count


class Gateway:
    """A gateway that has a connection to each engine, and a client's connection to it."""

    def __init__(self, url: str, wire: Wire) -> None:
        self.url, self.wire = url, wire

    async def ask(self, body: Any = ASK, **request_line: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        self.wire.send(request(body, **request_line))
        status, _, answer = await self.wire.answer()
        return status, answer

    async def metrics(self) -> str:
        async with httpx2.AsyncClient() as client:
            return (await client.get(f"{self.url}/metrics")).text


@asynccontextmanager
async def warm(running: Running, mocks: list[Mock], **settings: Any) -> AsyncIterator[Gateway]:
    async with running([await mock.listen() for mock in mocks], **settings) as url, connected(url) as wire:
        gateway = Gateway(url, wire)
        for _ in mocks:
            assert (await gateway.ask())[0] == 200
        yield gateway


async def closed(*mocks: Mock) -> None:
    for mock in mocks:
        await mock.close()


async def test_a_plain_request_needs_no_task_and_others_do(
    running: Running, mock: Mock, tasks: Callable[[], int]
) -> None:
    async with warm(running, [mock]) as gateway:
        assert tasks() == 1
        assert (await gateway.ask())[0] == 200
        assert (await gateway.ask({"model": ASK["model"], "prompt": "1"}, path="/v1/completions"))[0] == 200
        assert tasks() == 1
        assert (await gateway.ask({**ASK, "stream": True}))[0] == 200
        assert tasks() == 2


async def test_requests_that_come_at_once_are_answered_in_order(running: Running, mock: Mock) -> None:
    async with warm(running, [mock]) as gateway:
        slow = {**ASK, "max_tokens": 2, "mock": {"json_ms": 50}}
        gateway.wire.send(request(slow), request(ASK), request({**ASK, "n": 99}), request(ASK))
        assert [(await gateway.wire.answer())[0] for _ in range(4)] == [200, 200, 400, 200]


async def test_a_request_is_refused_as_it_is_with_a_task(running: Running, mock: Mock) -> None:
    async with warm(running, [mock]) as gateway:
        assert [(await gateway.ask(body))[0] for body in ({**ASK, "n": 99}, {"model": 7}, [1])] == [400] * 3
        assert (await gateway.ask(method="GET"))[0] == 405
        metrics = await gateway.metrics()
    assert 'qvl_requests_total{path="/v1/chat/completions",status="405"}' in metrics
    assert "qvl_requests_in_flight 0.0" in metrics


async def test_an_engine_that_had_closed_its_connection_is_asked_again(
    running: Running, mock: Mock, tasks: Callable[[], int]
) -> None:
    async with warm(running, [mock]) as gateway:
        mock.behave({"fault": "refuse"}, times=1)
        assert (await gateway.ask())[0] == 200
        assert mock.stats()["requests"] == 3
        assert tasks() == 1


@pytest.mark.parametrize("fault", ["status", "die"])
async def test_what_one_engine_fails_another_one_answers(
    running: Running, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    mocks = [Mock(), Mock()]
    async with warm(running, mocks) as gateway:
        mocks[0].behaviour = Behaviour(fault=fault)
        with caplog.at_level(logging.ERROR):
            assert [(await gateway.ask())[0] for _ in range(4)] == [200] * 4
        assert "qvl_requests_in_flight 0.0" in await gateway.metrics()
    assert not caplog.records
    await closed(*mocks)


async def test_a_request_that_two_engines_broke_off_at_is_not_given_to_a_third(running: Running) -> None:
    mocks = [Mock(), Mock(), Mock()]
    async with warm(running, mocks) as gateway:
        before = sum(mock.stats()["requests"] for mock in mocks)
        for mock in mocks:
            mock.behaviour = Behaviour(fault="die")
        assert (await gateway.ask())[0] == 502
        assert sum(mock.stats()["requests"] for mock in mocks) == before + 2
    await closed(*mocks)


@pytest.mark.parametrize(("engines_say", "status"), [(500, 502), (429, 503), (404, 404), (400, 400)])
async def test_the_only_engines_failure_is_told(running: Running, mock: Mock, engines_say: int, status: int) -> None:
    async with warm(running, [mock]) as gateway:
        with_task, mock.behaviour = mock.behaviour, Behaviour(fault="status", status=engines_say)
        found, body = await gateway.ask()
        assert found == status
        assert code(body)
        mock.behaviour = with_task
        assert (await gateway.ask())[0] == 200


async def test_an_engine_that_is_silent_is_a_504(running: Running, mock: Mock) -> None:
    async with warm(running, [mock], engine_timeout_s=1) as gateway:
        mock.behave({"fault": "stall"}, times=1)
        assert (await gateway.ask())[0] == 504


async def test_a_client_that_leaves_frees_the_engine_and_its_place(running: Running, mock: Mock) -> None:
    async with warm(running, [mock], max_in_flight=1, max_queue=0) as gateway, connected(gateway.url) as other:
        mock.behave({"json_ms": 60_000}, times=1)
        other.send(request(ASK))
        await until(lambda: len(mock.running) == 1)
        assert (await gateway.ask())[0] == 503
        other.leave()
        await until(lambda: len(mock.aborts) == 1)
        assert (await gateway.ask())[0] == 200
        assert 'status="499"' in await gateway.metrics()


@pytest.mark.parametrize(("wait_ms", "status"), [(300, 200), (60_000, 503)], ids=["finished", "cut off"])
async def test_a_server_that_leaves_finishes_what_it_can_and_says_so_where_it_cannot(wait_ms: int, status: int) -> None:
    async with house(Behaviour(), leave_delay_s=0, leave_limit_s=1) as server, connected(_url(server)) as wire:
        wire.send(request(ASK))
        assert (await wire.answer())[0] == 200
        server.mock.behaviour = Behaviour(json_ms=wait_ms)
        wire.send(request(ASK))
        await until(lambda: server.mock.stats()["requests"] == 2)
        server.leave()
        found, _, body = await wire.answer()
        await server.left()
    assert found == status
    assert status == 200 or code(body) == "server_leaving"


def _url(server: House) -> str:
    return str(server.client.base_url).rstrip("/")


async def test_connections_that_were_closed_leave_nothing_for_the_garbage_collector(
    running: Running, mock: Mock
) -> None:
    def cycles() -> int:
        return sum(isinstance(item, RequestResponseCycle) for item in gc.get_objects())

    async with warm(running, [mock]) as gateway:
        gc.collect()
        gc.disable()
        before = cycles()
        try:
            for _ in range(20):
                async with connected(gateway.url) as wire:
                    wire.send(request(ASK))
                    assert (await wire.answer())[0] == 200
            await until(lambda: cycles() - before <= 2)
        finally:
            gc.enable()
