"""A server and its engine, started here for a measurement: how to reach both, and the processor time of each."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.overhead.cpu import cpu_s, tree

ROOT = Path(__file__).resolve().parents[2]
START_S = 1800
SOCKET = re.compile(rb"--uds\0([^\0]+)")


@dataclass(frozen=True)
class Started:
    """A gateway with an engine of its own."""

    url: str
    engine_url: str
    """`unix:/path`: the same engine without the gateway."""
    pid: int
    engine_pid: int
    """Of the process that all of the engine's descend from."""

    def engine_flags(self) -> list[str]:
        """What the engine was started with."""
        return engine_flags(Path(f"/proc/{self.engine_pid}/cmdline").read_bytes())

    def spent_s(self) -> dict[str, float]:
        """Processor seconds so far, of the gateway with its decode processes and of the engine."""
        engine_s = cpu_s(self.engine_pid)
        return {"gateway": cpu_s(self.pid) - engine_s, "engine": engine_s}


@contextlib.contextmanager
def started(arguments: Sequence[str], log: Path) -> Iterator[Started]:
    """`python -m server` with these flags, ready; taken down at the end. Raises RuntimeError if it does not start."""
    port = _free_port()
    command = [sys.executable, "-m", "server", "--port", str(port), "--no-access-log", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait(process, f"http://127.0.0.1:{port}/readyz", log)
        engine_pid, path = _engine(process.pid)
        yield Started(f"http://127.0.0.1:{port}", f"unix:{path}", process.pid, engine_pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def engine_flags(command: bytes) -> list[str]:
    """Of a command line as /proc has it: what stands behind vLLM's module; of a path its last part.

    >>> engine_flags(b"guard\\0--grace\\0009\\0python\\0-m\\0vllm.entrypoints\\0--model\\0/a/7B\\0--uds\\0/tmp/s\\0")
    ['--model', '7B', '--uds', 's']
    """
    words = command.decode(errors="replace").rstrip("\0").split("\0")
    first = next((at + 1 for at, word in enumerate(words) if word.startswith("vllm.")), 1)
    return [Path(word).name if word.startswith("/") else word for word in words[first:]]


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _engine(pid: int) -> tuple[int, str]:
    """(process, socket) of the engine below a gateway: the first process that was given `--uds`."""
    for child in tree(pid):
        with contextlib.suppress(OSError):
            found = SOCKET.search(Path(f"/proc/{child}/cmdline").read_bytes())
            if found:
                return child, found[1].decode()
    raise RuntimeError("the server has no engine of its own")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
