"""A server that is told to stop loses nothing that it can finish, and says so where it cannot."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from benchmarks.overhead.processes import free_ports
from server.app import Server, create_server
from server.engines.guard import family
from server.settings import Settings
from tests.conftest import ASK, until
from tests.tasks.common import events, picture, uri

CHAT = "/v1/chat/completions"
TOKENS = 30
STREAM = {**ASK, "max_tokens": TOKENS, "stream": True}
SAID = " ".join(f"token{i}" for i in range(TOKENS))
SLOW = Behaviour(interval_ms=20, json_ms=500)


class House:
    """A server, a client of it, and the engine behind it."""

    def __init__(self, server: Server, task: "asyncio.Task[None]", client: httpx2.AsyncClient, mock: Mock) -> None:
        self.server, self.task, self.client, self.mock = server, task, client, mock

    def leave(self, number: signal.Signals = signal.SIGTERM) -> None:
        """What the signal does."""
        self.server.handle_exit(number, None)

    async def left(self) -> None:
        await asyncio.wait_for(asyncio.shield(self.task), 10)

    async def is_closed(self) -> bool:
        try:
            await self.client.get("/healthz", headers={"connection": "close"})
        except httpx2.ConnectError:
            return True
        return False


@asynccontextmanager
async def house(behaviour: Behaviour = SLOW, **settings: Any) -> AsyncIterator[House]:
    mock = Mock(behaviour=behaviour)
    options = {"engine_poll_s": 0.05, "media_workers": 1, "access_log": False, "log_level": "error", **settings}
    server = create_server(Settings(port=0, **options), [await mock.listen()])
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
        yield House(server, task, client, mock)
        server.should_exit = server.force_exit = True
        await task
    await mock.close()


async def kept_connection(here: House) -> httpx2.AsyncClient:
    """A client that holds one idle connection."""
    client = httpx2.AsyncClient(base_url=here.client.base_url, timeout=20)
    (await client.get("/healthz")).raise_for_status()
    return client


def text_of(stream: str) -> str:
    chunks = [json.loads(event[6:]) for event in stream.split("\n\n") if event.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))


async def test_readiness_is_off_at_once_and_what_comes_then_is_served_on_its_last_connection() -> None:
    async with house(leave_delay_s=5) as here:
        assert (await here.client.get("/readyz")).status_code == 200
        kept = here.client
        here.leave()

        async def is_off() -> bool:
            answer = await kept.get("/readyz")
            return answer.status_code == 503 and answer.json()["error"]["code"] == "server_leaving"

        await until(is_off)
        for path in ("/healthz", "/readyz"):
            assert (await kept.get(path)).headers["connection"] == "close"
        answer = await kept.post(CHAT, json=ASK)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"


async def test_what_runs_is_finished_and_nobody_new_is_let_in() -> None:
    async with house(leave_delay_s=0.05) as here:
        running = [
            asyncio.create_task(here.client.post(CHAT, json=body)) for body in (STREAM, {**ASK, "max_tokens": 5})
        ]
        await until(lambda: len(here.mock.running) == 2)
        here.leave()
        await until(here.is_closed)
        assert len(here.mock.running) > 0
        stream, whole = await asyncio.gather(*running)
        assert text_of(stream.text) == SAID
        assert whole.json()["choices"][0]["message"]["content"] == SAID[: SAID.index(" token5")]
        await here.left()


async def test_kept_connections_are_served_once_more_each_while_somebody_uses_them() -> None:
    async with house(Behaviour(), leave_delay_s=0.5) as here:
        clients = [await kept_connection(here) for _ in range(4)]
        here.leave()
        await until(here.is_closed)
        for client in clients[:3]:
            await asyncio.sleep(0.3)
            found = await client.post(CHAT, json=ASK)
            assert (found.status_code, found.headers["connection"]) == (200, "close")
        assert not here.task.done(), "the fourth could still be used"
        await here.left()
        for client in clients:
            await client.aclose()


async def test_what_takes_longer_than_the_limit_is_told_so() -> None:
    async with house(Behaviour(interval_ms=20, json_ms=60_000), leave_delay_s=0, leave_limit_s=0.2) as here:
        endless = [{**STREAM, "max_tokens": 10_000}, ASK]
        running = [asyncio.create_task(here.client.post(CHAT, json=body)) for body in endless]
        await until(lambda: len(here.mock.running) == 2)
        here.leave()
        stream, whole = await asyncio.gather(*running)
        *_, last, done = stream.text.strip().split("\n\n")
        assert json.loads(last[6:])["error"]["code"] == "server_leaving"
        assert done == "data: [DONE]"
        assert whole.status_code == 503
        assert whole.json()["error"]["code"] == "server_leaving"
        assert int(whole.headers["retry-after"]) > 0
        await until(lambda: len(here.mock.aborts) == 2)
        await here.left()


async def test_a_task_that_takes_longer_keeps_the_items_that_it_told() -> None:
    objects = [{"bbox_2d": [at, 10, at + 20, 50], "label": "cat"} for at in range(0, 200, 40)]
    says = Behaviour(answer=json.dumps(objects), chunks=200, interval_ms=20)
    async with house(says, leave_delay_s=0, leave_limit_s=0.1) as here:
        body = {"image": uri(picture()), "labels": ["cat"]}
        whole = asyncio.create_task(here.client.post("/v1/detect", json=body))
        await until(lambda: len(here.mock.running) == 1)
        async with here.client.stream("POST", "/v1/detect", json={**body, "stream": True}) as stream:
            pieces = stream.aiter_text()
            text = await anext(pieces)
            here.leave()
            text += "".join([piece async for piece in pieces])
        told = events(text)
        assert told[0][0] == "item"
        assert told[-2][1]["error"]["code"] == "server_leaving"
        assert told[-1][1] == "[DONE]"
        assert (await whole).json()["error"]["code"] == "server_leaving"
        await here.left()


async def test_a_person_at_a_terminal_does_not_wait_for_load_balancers() -> None:
    async with house(leave_delay_s=60) as here:
        here.leave(signal.SIGINT)
        await here.left()


async def test_a_second_word_ends_it_at_once() -> None:
    async with house(leave_limit_s=60, leave_delay_s=60) as here:
        running = asyncio.create_task(here.client.post(CHAT, json={**STREAM, "max_tokens": 10_000}))
        await until(lambda: len(here.mock.running) == 1)
        here.leave()
        await asyncio.sleep(0.2)
        here.leave(signal.SIGINT)
        await here.left()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_program_finishes_its_streams_and_ends_well() -> None:
    mock = Mock(behaviour=Behaviour(interval_ms=30))
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "server", "--engine-url", await mock.listen(), "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, "--leave-delay-s", "0.1", "--no-access-log", "--log-level", "error", stderr=asyncio.subprocess.DEVNULL
    )
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        async def is_ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx2.ConnectError:
                return False

        await until(is_ready, timeout_s=60)
        async with client.stream("POST", CHAT, json=STREAM) as stream:
            pieces = stream.aiter_text()
            text = await anext(pieces)
            process.send_signal(signal.SIGTERM)
            text += "".join([piece async for piece in pieces])
    assert text_of(text) == SAID
    assert await asyncio.wait_for(process.wait(), 20) == 0
    await mock.close()


async def test_told_twice_it_leaves_at_once_and_leaves_nothing_behind() -> None:
    before = set(family(os.getpid()))
    async with house(leave_delay_s=30) as here:
        waiting = asyncio.create_task(here.client.post("/v1/chat/completions", json={**ASK, "max_tokens": 5000}))
        await until(lambda: bool(here.mock.running))
        decoders = set(family(os.getpid())) - before
        assert decoders
        here.leave()
        here.leave(signal.SIGINT)
        await here.left()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: not here.mock.running)
        assert not decoders & set(family(os.getpid()))
