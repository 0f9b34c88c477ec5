"""What tests share: a mock engine, a gateway before it on a real socket, and clients that speak to it."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from benchmarks.overhead.mock import MODEL, Mock
from server.app import create_server
from server.settings import Settings
from tests import time_limit

ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
"""The smallest chat request."""

Running = Callable[..., AbstractAsyncContextManager[str]]
"""running(engine_urls, **settings) -> base URL of a gateway."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of production."""
    return {"uvloop": time_limit.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first, the engine's tests and the soak, which mostly waits: the others run beside them."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/engine/", "tests/test_soak.py")))


class ByFolder(LoadScopeScheduling):
    """Processes that share the tests (`scripts/test`) take a folder each: it starts its engine, its browser, its Redis
    once, and no two vLLMs compete for the cores.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "/".join(nodeid.partition("::")[0].split("/")[:2])

    def remove_node(self, node: WorkerController) -> str | None:
        """The test that a process died of has failed; the base class would give it to the next process, and that one's
        end to the next.
        """
        for tests in self.assigned_work[node].values():
            for nodeid, done in tests.items():
                if not done:
                    tests[nodeid] = True
                    super().remove_node(node)
                    return nodeid
        return super().remove_node(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Called by pytest-xdist."""
    return ByFolder(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, object, object]:
    """A failing test is one, and not the end of the run: CPython 3.11 cannot parse the source that it shows while its
    collector closes coroutines (python/cpython#106905).
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


class FailuresAtOnce:
    """A line for each failure when it happens: a run that is ended from outside has no summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called where the terminal is: by pytest-xdist in the process that shares out the tests."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = str(crash.message if crash else report.longrepr).splitlines()
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when}): {why[0] if why else ''}")


def pytest_configure(config: pytest.Config) -> None:
    """Called once a process."""
    config.pluginmanager.register(FailuresAtOnce(config))
    config.pluginmanager.register(time_limit.TimeLimit())


async def until(condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 30) -> None:
    """Wait for a condition; a test that never meets it fails here."""
    async with asyncio.timeout(timeout_s):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running_gateway(engine_urls: list[str], **changes: Any) -> AsyncIterator[str]:
    """A gateway on a free port, stopped at the end."""
    quiet = {
        "engine_poll_s": 0.05,
        "media_workers": 1,
        "batch_store": "off",
        "access_log": False,
        "log_level": "warning",
    }
    server = create_server(Settings(port=0, **{**quiet, **changes}), engine_urls)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        if task.done():
            task.result()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


@pytest.fixture
async def mock() -> AsyncIterator[Mock]:
    """A mock engine; `mock.behaviour` says how it meets the next requests."""
    mock = Mock()
    yield mock
    await mock.close()


@pytest.fixture
def running() -> Running:
    """Starts gateways: for tests that need several, or settings of their own."""
    return running_gateway


@pytest.fixture
async def gateway(mock: Mock) -> AsyncIterator[str]:
    """The base URL of a gateway before `mock`."""
    async with running_gateway([await mock.listen()]) as url:
        yield url


@pytest.fixture
async def client(gateway: str) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of `gateway`."""
    async with httpx2.AsyncClient(base_url=gateway, timeout=10) as client:
        yield client
