"""Two gateways behind a real nginx and a real HAProxy are restarted one after the other under load: nobody notices.

The balancers run with the files of deploy/balancers.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from benchmarks.failover.callers import Callers, Load
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import MODEL, Mock
from benchmarks.overhead.processes import free_ports
from server.app import create_server
from server.settings import Settings
from tests.conftest import until
from tests.deploy.balancing import BALANCERS, edited, program_of
from tests.deploy.conftest import ROOT

TOKENS = 30
STEPS = Behaviour(own_words=True, interval_ms=10, json_ms=300)


class Gateway:
    """One that can be restarted on its port."""

    def __init__(self, engine: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._engine = engine
        self._settings = Settings(
            port=port, access_log=False, log_level="error", media_workers=1, batch_store="off", engine_poll_s=0.2
        )

    async def start(self) -> None:
        self._server = create_server(self._settings, [self._engine])
        self._task = asyncio.create_task(self._server.serve())
        await until(lambda: self._server.started, timeout_s=20)

    async def stop(self) -> None:
        """What SIGTERM does, to the end."""
        self._server.handle_exit(signal.SIGTERM, None)
        await self._task


@asynccontextmanager
async def balancer(name: str, gateways: list[Gateway], folder: Path) -> AsyncIterator[str]:
    """Its URL; skips where it is not installed."""
    kind = BALANCERS[name]
    if not Path(program_of(kind)).exists():
        pytest.skip(f"{kind.program} is not installed (Debian: apt-get install {kind.program})")
    port = free_ports(1)[0]
    file = folder / kind.file
    text = edited((ROOT / "deploy/balancers" / kind.file).read_text(), port, [each.url for each in gateways])
    # The next gateway is restarted when the balancer asks the last one again: sooner here than in earnest.
    file.write_text(kind.also(text.replace("fail_timeout=5s", "fail_timeout=1s"), folder))
    process = await asyncio.create_subprocess_exec(program_of(kind), *kind.words, file)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_gateways_are_restarted_one_by_one_and_no_request_fails(name: str, tmp_path: Path, mock: Mock) -> None:
    mock.behaviour = STEPS
    engine = await mock.listen()
    gateways = [Gateway(engine, port) for port in free_ports(2)]
    async with AsyncExitStack() as stack:
        for gateway in gateways:
            await gateway.start()
            stack.push_async_callback(gateway.stop)
        url = await stack.enter_async_context(balancer(name, gateways, tmp_path))
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=20))

        async def is_up() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(is_up, timeout_s=20)
        callers = Callers(url, Load(MODEL, tokens=TOKENS))
        await callers.start()
        for gateway in gateways:
            await asyncio.sleep(2)  # longer than nginx leaves alone one that refused it
            await gateway.stop()
            await gateway.start()
        await asyncio.sleep(1)
        tally = await callers.stop()
    asked = sum(map(tally.count, ("json", "stream", "last-word")))
    assert sum(tally.of(kind, "whole") for kind in tally.ended) == asked, tally.failures
    assert asked > 50
