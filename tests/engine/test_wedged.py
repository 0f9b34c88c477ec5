"""The engine stands still under load, whole or its core alone, and has no sibling: who comes then is told at once, who
was there waits, and all is as before when it goes on. `benchmarks/failover/wedge.py` is the long form, with two.
"""

import asyncio
import os
import signal
from pathlib import Path

import httpx2
import pytest

from benchmarks.failover.wedge import KINDS, processes
from server.engines.launcher import EngineProcess
from server.engines.unix import is_healthy
from tests.conftest import running_gateway, until
from tests.engine.test_killed import ask

pytestmark = pytest.mark.engine
EJECTED_S = 10
CALLERS = 4


@pytest.mark.parametrize("kind", KINDS)
async def test_an_engine_that_stands_still_is_left_within_ten_seconds_and_is_back_when_it_goes_on(
    engine_process: EngineProcess, engine_socket: Path, kind: str
) -> None:
    async with (
        running_gateway([engine_process.url], engine_poll_s=1) as url,  # as in production
        httpx2.AsyncClient(base_url=url, timeout=60) as client,
    ):
        assert (await ask(client, stream=False, tokens=2)).whole

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        async def is_left() -> bool:
            return not await is_ready()

        callers = [asyncio.create_task(ask(client, stream=index % 2 == 0, tokens=600)) for index in range(CALLERS)]
        await asyncio.sleep(1)  # all of them are with the engine, the streams in full flow
        stopped = processes(engine_process, kind)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            await until(is_left, timeout_s=EJECTED_S)
            assert not any(caller.done() for caller in callers)
            assert await is_healthy(engine_socket, timeout_s=1) == (kind == "core alone")
            async with asyncio.timeout(5):
                late = await ask(client, stream=False, tokens=2)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert (late.status, late.well_formed) == (503, True), late
        await until(is_ready, timeout_s=EJECTED_S)
        endings = [await caller for caller in callers]
        assert all(ending.whole for ending in endings), endings
        assert (await ask(client, stream=True, tokens=4)).whole
    assert engine_process.state == "ready"
