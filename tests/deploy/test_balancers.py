"""nginx, HAProxy and Envoy with the configurations in deploy/balancers, before two gateways and a mock engine."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.__main__ import RED_DISC
from server.app import create_server
from server.settings import Settings
from tests.conftest import ASK, Running, until
from tests.deploy.balancing import BALANCERS, edited, program_of
from tests.deploy.conftest import ROOT

FOLDER = ROOT / "deploy/balancers"
PHOTO_BYTES = 22_600_000
"""30 MB as base64."""


async def started(engine: str) -> tuple[str, Callable[[], Awaitable[None]]]:
    """A gateway that can be told to stop as SIGTERM tells it: its URL, and how."""
    settings = Settings(port=0, access_log=False, log_level="warning", media_workers=1, batch_store="off")
    server = create_server(settings, [engine])
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)

    async def stop() -> None:
        server.should_exit = True
        await serving

    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", stop


@dataclass
class Front:
    """A balancer that runs, what it balances, and how to take the first gateway away."""

    url: str
    mock: Mock
    stop_first: Callable[[], Awaitable[None]]


@pytest.fixture(params=BALANCERS)
async def front(
    request: pytest.FixtureRequest, running: Running, mock: Mock, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[Front]:
    balancer = BALANCERS[request.param]
    program = program_of(balancer)
    if not Path(program).exists():
        pytest.skip(f"{balancer.program} is not installed")
    engine = await mock.listen()
    async with AsyncExitStack() as stack, running([engine]) as second_url:
        first_url, stop_first = await started(engine)
        stack.push_async_callback(stop_first)
        text = edited((FOLDER / balancer.file).read_text(), unused_tcp_port, [first_url, second_url])
        file = tmp_path / balancer.file
        file.write_text(balancer.also(text, tmp_path))
        process = await asyncio.create_subprocess_exec(program, *balancer.words, file)
        url = f"http://127.0.0.1:{unused_tcp_port}"

        async def is_up() -> bool:
            assert process.returncode is None, f"{balancer.program} ended"
            await asyncio.sleep(0.1)
            async with httpx2.AsyncClient() as client:
                try:
                    return (await client.get(f"{url}/readyz")).status_code == 200
                except httpx2.TransportError:
                    return False

        try:
            await until(is_up, timeout_s=20)
            yield Front(url, mock, stop_first)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


@pytest.fixture
async def client(front: Front) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=front.url, timeout=30) as client:
        yield client


async def test_an_event_arrives_while_the_answer_is_not_complete(front: Front, client: httpx2.AsyncClient) -> None:
    front.mock.behaviour = Behaviour(fault="stall", after=1)
    async with client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        async with asyncio.timeout(10):
            while '"content":"' not in (line := await anext(lines)) or '"content":""' in line:
                pass
        assert front.mock.running, "the engine has not said its last word"


async def test_a_picture_of_thirty_megabytes_passes(front: Front, client: httpx2.AsyncClient) -> None:
    picture = base64.b64decode(RED_DISC.partition(",")[2])
    padded = base64.b64encode(picture + bytes(PHOTO_BYTES - len(picture))).decode()
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{padded}"}}]
    asked = {**ASK, "messages": [{"role": "user", "content": content}]}
    answer = await client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-model-input-size"] == "112x112"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_callers_leaving_reaches_the_engine(front: Front, stream: bool) -> None:
    front.mock.behaviour = Behaviour(fault="stall", after=1)
    async with httpx2.AsyncClient(base_url=front.url) as leaving:
        asking = asyncio.create_task(leaving.post("/v1/chat/completions", json={**ASK, "stream": stream}, timeout=30))
        await until(lambda: len(front.mock.running) == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: len(front.mock.aborts) == 1 and not front.mock.running)


async def test_a_refusal_of_the_gateway_arrives_in_its_own_words(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json={**ASK, "n": 99})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "limit_exceeded")
    assert answer.headers["x-request-id"]


async def test_a_gateway_that_goes_takes_no_request_along(front: Front, client: httpx2.AsyncClient) -> None:
    stopping = asyncio.ensure_future(front.stop_first())
    for _ in range(60):
        answer = await client.post("/v1/chat/completions", json=ASK)
        assert answer.status_code == 200, answer.text
    await stopping


@pytest.mark.parametrize("kind", ["nginx", "envoy"])
def test_metrics_are_not_shown_to_the_world(kind: str) -> None:
    text = (FOLDER / BALANCERS[kind].file).read_text()
    assert "/metrics" in text
