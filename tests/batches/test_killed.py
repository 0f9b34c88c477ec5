"""A gateway that is killed in the middle of a batch loses no answer and gives none twice."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.__main__ import RED_DISC
from tests.batches.conftest import Caller, line
from tests.conftest import until


@asynccontextmanager
async def gateway(engine_url: str, store: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway in a process of its own, killed at the end."""
    settings = {"engine-url": engine_url, "batch-store": store, "port": str(port), "media-workers": "1"}
    words = [f"--{name}={value}" for name, value in settings.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server", *words, "--no-access-log", "--log-level=warning"
    )

    async def is_ready() -> bool:
        assert process.returncode is None, "the gateway ended"
        await asyncio.sleep(0.05)
        async with httpx2.AsyncClient() as client:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
            except httpx2.TransportError:
                return False

    try:
        await until(is_ready, timeout_s=30)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def mixed(count: int) -> list[dict[str, Any]]:
    """Requests of text, of pictures, and some that are refused."""
    picture: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": RED_DISC}}]}]
    kinds: list[dict[str, Any]] = [{}, {"messages": picture}, {"max_tokens": 7}, {"temperature": 0}, {"n": 99}]
    return [line(f"q{number}", **kinds[number % len(kinds)]) for number in range(count)]


async def test_after_a_kill_in_the_middle_five_hundred_requests_have_five_hundred_answers(
    mock: Mock, store: str, unused_tcp_port: int
) -> None:
    mock.behaviour = Behaviour(json_ms=20)
    engine_url = await mock.listen()
    async with Caller(f"http://127.0.0.1:{unused_tcp_port}") as caller:
        async with gateway(engine_url, store, unused_tcp_port) as process:
            batch = await caller.batch(mixed(500))

            async def is_in_the_middle() -> bool:
                counts = (await caller.client.batches.retrieve(batch.id)).request_counts
                await asyncio.sleep(0.02)
                return counts is not None and counts.completed > 150

            await until(is_in_the_middle, timeout_s=60)
            process.kill()
            await process.wait()
        async with gateway(engine_url, store, unused_tcp_port):
            batch = await caller.ended(batch, timeout_s=90)
            good = await caller.answers(batch.output_file_id)
            bad = await caller.answers(batch.error_file_id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 500, "completed": 400, "failed": 100}
    assert Counter(each["custom_id"] for each in good + bad) == Counter(f"q{number}" for number in range(500))
    assert [each["custom_id"] for each in bad] == [f"q{number}" for number in range(500) if number % 5 == 4]
    assert 400 <= mock.stats()["requests"] <= 400 + 16  # only what was under way was asked again


async def test_a_gateway_that_is_stopped_puts_back_what_it_was_working_on(
    mock: Mock, store: str, unused_tcp_port: int
) -> None:
    engine_url = await mock.listen()
    async with Caller(f"http://127.0.0.1:{unused_tcp_port}") as caller:
        async with gateway(engine_url, store, unused_tcp_port) as process:
            mock.behaviour = Behaviour(fault="stall")
            batch = await caller.batch([line(f"q{number}") for number in range(20)])
            await until(lambda: len(mock.running) == 16)
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)
        mock.behaviour = Behaviour()
        async with gateway(engine_url, store, unused_tcp_port):
            batch = await caller.ended(batch)
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 20
