"""Starting the mock and the gateways, each on its core, waiting until they answer, and taking them down."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.overhead import cpu
from benchmarks.overhead.load import Load, Target

START_S = 180
"""Longest wait for a gateway's first answer; LiteLLM takes most of a minute on a busy core."""


class ProcessFailed(Exception):
    """A process ended or stayed silent; the message holds the end of its log."""


class Running:
    """A process of ours on one core, or some, its output in a file."""

    def __init__(
        self,
        name: str,
        command: list[str],
        core: int | Collection[int],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        cores = {core} if isinstance(core, int) else set(core)
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        self.pid = self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def failure(self, what: str = "did not start") -> ProcessFailed:
        tail = self.log.read_text(errors="replace")[-1500:]
        return ProcessFailed(f"{self.name} {what} (exit {self._process.poll()}):\n{tail}")

    def stop(self) -> None:
        """TERM, then KILL to its whole session."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def start_mock(core: int | Collection[int], folder: Path, *flags: str) -> tuple[Running, str]:
    """A mock engine and its base URL."""
    command = [sys.executable, "-m", "benchmarks.overhead.mock", "--keep-requests", "0", *flags]
    mock = Running("mock", command, core, folder / "mock.log")
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s and not mock.ended():
        said = re.search(r"listening on (\S+)", mock.log.read_text())
        if said:
            return mock, said[1]
        time.sleep(0.05)
    raise mock.failure()


async def answers(target: Target, running: Running, body: dict[str, object]) -> None:
    """Wait until a request through `target` succeeds. Raises ProcessFailed."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and not running.ended():
        tally = await Load(target, body, lambda: 0.0).run(1, warm_s=0, measure_s=0.3)
        if tally.requests:
            return
        await asyncio.sleep(0.2)
    raise running.failure()


async def settled(running: Running, limit_s: float = 15) -> None:
    """Wait until the process has nothing left to do from the load before: under 5% of a core."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        before_s = cpu.cpu_s(running.pid)
        await asyncio.sleep(0.2)
        if cpu.cpu_s(running.pid) - before_s < 0.01:
            return
