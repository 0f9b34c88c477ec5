"""Servers of two workers in processes of their own, before a mock engine in another."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.overhead.processes import free_ports
from server.callers.keys import hashed
from server.engines.guard import family

ROOT = Path(__file__).resolve().parents[2]
START_S = 90
"""Four Python programs start on one core that others use too."""
KEYS = """
[[key]]
name = "operator"
hash = "{operator}"
operator = true

[[key]]
name = "minute"
hash = "{minute}"
requests_per_minute = 6

[[key]]
name = "tokens"
hash = "{tokens}"
tokens_per_minute = 60

[[key]]
name = "few"
hash = "{few}"
concurrent = 2

[[key]]
name = "used"
hash = "{used}"

[[key]]
name = "batches"
hash = "{batches}"
"""
NAMES = ("operator", "minute", "tokens", "few", "used", "batches")


def header(name: str) -> dict[str, str]:
    """What a key's owner sends; a key is its name."""
    return {"authorization": f"Bearer {name}"}


class Started:
    """A server of several workers."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url = url
        self.process = process
        self.log = log

    def processes(self) -> dict[int, str]:
        """Command lines of all that descends from it, by process id."""
        return family(self.process.pid)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [pid for pid, command in self.processes().items() if " server worker " in command]

    def stop(self) -> None:
        """Kill what is left of it."""
        left = self.processes()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        wait_until(lambda: not alive(left))


def alive(processes: dict[int, str]) -> list[int]:
    """Those that still run."""
    found = []
    for pid in processes:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(pid)
    return found


def wait_until(condition: Any, timeout_s: float = 30) -> None:
    """`until` where no loop runs."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.02)


@contextmanager
def spawned(log: Path, *words: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python module in a process of its own, its words in a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """The URL of a mock engine; how it behaves stands in each request's `mock`."""
    log = folder / "engine.log"
    with spawned(log, "benchmarks.overhead.mock") as process:
        said = None
        while said is None:
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
            said = re.search(r"listening on (\S+)", log.read_text())
        yield said[1]


@contextmanager
def serving(folder: Path, *, redis_url: str = "", **settings: Any) -> Iterator[Started]:
    """A server, once all its workers are ready."""
    port = free_ports(1)[0]
    given = {
        "workers": 2,
        "port": port,
        "media_workers": 1,
        "batch_store": folder / "batches",
        "leave_delay_s": 0,
        "engine_poll_s": 0.2,
        **settings,
    }
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    log = folder / "server.log"
    environment = {"QVL_REDIS_URL": redis_url} if redis_url else {}  # it holds a password
    with spawned(log, "server", "--no-access-log", *words, **environment) as process:
        started = Started(f"http://127.0.0.1:{port}", process, log)
        try:

            def is_ready() -> bool:
                assert process.poll() is None, log.read_text()
                return "serving on" in log.read_text()

            wait_until(is_ready, START_S)
            yield started
        finally:
            started.stop()


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engine(tmp_path_factory.mktemp("engine")) as url:
        yield url


@pytest.fixture(scope="module")
def keyed(engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A server with keys and little room, for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "keys.toml").write_text(KEYS.format(**{name: hashed(name) for name in NAMES}))
    with serving(
        folder, engine_url=engine_url, keys_file=folder / "keys.toml", max_in_flight=4, max_queue=1
    ) as started:
        yield started


async def one_each(url: str, stack: AsyncExitStack, count: int = 2) -> list[httpx2.AsyncClient]:
    """Clients with one connection each, every one to a worker of its own."""
    found: dict[str, httpx2.AsyncClient] = {}
    async with asyncio.timeout(START_S):
        while len(found) < count:
            client = await stack.enter_async_context(
                httpx2.AsyncClient(base_url=url, timeout=30, limits=httpx2.Limits(max_connections=1))
            )
            answer = await client.get("/healthz")
            found.setdefault(answer.headers["x-request-id"].partition("-")[0], client)
    return list(found.values())


@pytest.fixture
async def clients(keyed: Started) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """One for each worker."""
    async with AsyncExitStack() as stack:
        yield await one_each(keyed.url, stack)
