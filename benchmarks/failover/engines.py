"""Mock engines as processes that can be killed, stopped and started again where they were."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.overhead.processes import free_ports

START_S = 60


class EngineProcess:
    """One mock engine on a port of its own. The port stays, whoever listens on it."""

    def __init__(self, folder: Path, number: int, *flags: str) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"engine-{number}.log"
        self._command = [sys.executable, "-m", "benchmarks.overhead.mock", "--port", str(self.port)]
        self._command += ["--keep-requests", "0", *flags]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when it listens."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        deadline_s = time.monotonic() + START_S
        while b"listening on" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the mock engine did not start:\n{self._log.read_text()[-1000:]}")
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: gone between two bytes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stand_still(self) -> None:
        """SIGSTOP: its port takes connections, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
