"""The app on another ASGI server than its own: the hot path speaks through messages there, and nothing else differs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import uvicorn

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.app import create_app
from server.edge.asgi import PAUSE_BYTES, AsgiLink
from server.engines.pool import Pool
from server.settings import Settings
from tests.conftest import ASK, until
from tests.tasks.common import picture, uri

CHAT = "/v1/chat/completions"
STEPS = Behaviour(own_words=True, interval_ms=5, json_ms=20)


@asynccontextmanager
async def elsewhere(mock: Mock, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the app on uvicorn with a protocol that knows nothing of ours."""
    options = {"engine_poll_s": 0.05, "media_workers": 1, "access_log": False, "log_level": "error", **settings}
    chosen = Settings(port=0, **options)
    app = create_app(chosen, Pool(chosen), [await mock.listen()])
    server = uvicorn.Server(uvicorn.Config(app, port=0, http="h11", lifespan="on", log_level="error"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
            yield client
    finally:
        server.should_exit = True
        await task


async def test_whole_answers_streams_and_tasks_are_the_same_as_on_our_own(mock: Mock) -> None:
    mock.behaviour = STEPS
    async with elsewhere(mock) as client:
        whole = await client.post(CHAT, json={**ASK, "max_tokens": 3})
        assert whole.json()["choices"][0]["message"]["content"] == "token0 token1 token2"
        assert whole.headers["x-request-id"]
        stream = await client.post(CHAT, json={**ASK, "max_tokens": 3, "stream": True})
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        chunks = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
        said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        assert said == "token0 token1 token2"
        assert stream.text.endswith("data: [DONE]\n\n")
        shown = {"type": "image_url", "image_url": {"url": uri(picture())}}
        seen = await client.post(CHAT, json={**ASK, "messages": [{"role": "user", "content": [shown]}]})
        assert seen.headers["x-model-input-size"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b'{"model":', 400, "invalid_json"), (b"{}", 400, None), (b" " * 3000, 413, "request_too_large")],
)
async def test_errors_are_the_same(body: bytes, status: int, code: str | None, mock: Mock) -> None:
    async with elsewhere(mock, max_body_bytes=2000) as client:

        async def pieces() -> AsyncIterator[bytes]:  # without a length, so that the body itself is counted
            for start in range(0, len(body), 1000):
                yield body[start : start + 1000]

        found = await client.post(CHAT, content=pieces(), headers={"content-type": "application/json"})
        error = found.json()["error"]
        assert found.status_code == status
        assert code in (None, error["code"])


async def test_a_client_that_leaves_frees_the_engine(mock: Mock) -> None:
    mock.behaviour = Behaviour(interval_ms=20, json_ms=60_000)
    async with elsewhere(mock) as client:
        async with client.stream("POST", CHAT, json={**ASK, "max_tokens": 5000, "stream": True}) as stream:
            await anext(stream.aiter_bytes())
            assert len(mock.running) == 1
        await until(lambda: not mock.running)
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(CHAT, json=ASK, timeout=0.3)
        await until(lambda: not mock.running)


async def test_an_engine_waits_for_who_reads_slowly_and_a_broken_answer_is_broken_off() -> None:
    may_go, sent, told = asyncio.Event(), list[Any](), list[str]()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        await may_go.wait()
        sent.append(message)

    async def broken() -> None:
        async with AsgiLink(receive, send) as link:
            link.on_pause, link.on_resume = lambda: told.append("pause"), lambda: told.append("resume")
            link.start(b"a: b\r\n")
            link.write(b"." * (PAUSE_BYTES + 1))
            assert (told, link.paused) == (["pause"], True)
            may_go.set()
            await until(lambda: told == ["pause", "resume"])
            link.cut()

    with pytest.raises(ConnectionAbortedError):
        await broken()
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["more_body"]
