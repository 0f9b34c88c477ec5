"""A Redis of the tests' own, which can be killed and started again, with what it knew or without."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.overhead.processes import free_ports

PASSWORD = "redis-secret"
START_S = 30


class RedisServer:
    """On a port of the loopback that stays the same."""

    def __init__(self, program: str, folder: Path) -> None:
        (self._port,) = free_ports(1)
        self._folder = folder
        self._command = [program, "--port", str(self._port), "--dir", str(folder), "--requirepass", PASSWORD]
        # It writes before it answers. No fsync: Redis is killed, not the machine, and a busy disk takes its time.
        self._command += ["--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Until it answers, with what it had when it was killed."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, "Redis did not start"
            assert time.monotonic() < deadline_s, "Redis does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """It has no time to write anything; does nothing where it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """While it does not run: what it had written down is lost."""
        assert self._process is None
        for path in self._folder.iterdir():
            shutil.rmtree(path)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {PASSWORD}\r\nPING\r\n".encode())
                said = b""
                while said.count(b"\n") < 2 and (data := connection.recv(100)):
                    said += data
        except OSError:
            return False
        return said == b"+OK\r\n+PONG\r\n"


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """One that runs. Skips the test where there is no Redis."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server (Debian: apt-get install redis-server)")
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
