"""A gateway as it runs in production: a child process of its own, so that its open files and memory are its own."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.overhead.mock import MODEL
from server.callers.keys import hashed

ROOT = Path(__file__).parents[2]
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
"""The smallest chat request."""
SLACK_FILES = 4
"""Open files that come and go by themselves: two connections to the engine, two of clients that are being closed."""
SLACK_BYTES = 96 * 1024 * 1024
"""Memory that the gateway may keep after large bodies: the allocator's, not a leak's."""


def eventually(condition: Callable[[], bool], timeout_s: float = 5) -> bool:
    """Whether the condition is met before the time is over."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Gateway:
    """A running `python -m server`."""

    def __init__(self, child: subprocess.Popen[bytes], port: int, log: Path, engine_url: str, key: str) -> None:
        self.child = child
        self.port = port
        self.log = log
        self.engine_url = engine_url
        self.hello_headers = {"authorization": f"Bearer {key}"} if key else {}
        self.files_before = self.workers_before = self.memory_before_bytes = 0

    # -- asking -------------------------------------------------------------------------------------------------------
    def connect(self) -> socket.socket:
        """A connection for bytes that no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, raw: bytes, method: str = "GET") -> Answer:
        """The answer to these bytes; `method` says whether an answer's body is to be expected."""
        with self.connect() as connection:
            connection.sendall(raw)
            return read_answer(connection, method)

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """One request over a connection of its own, the body and its length included as they are."""
        lines = {"host": "gateway", "content-length": str(len(body)), "connection": "close", **(headers or {})}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return self.send(head.encode("latin-1") + b"\r\n" + body, method)

    def post(self, body: Any, path: str = CHAT, **headers: str) -> Answer:
        """`body` as JSON, or as it is if it is bytes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, raw, {"content-type": "application/json", **headers})

    # -- looking ------------------------------------------------------------------------------------------------------
    def open_files(self) -> int:
        """Of the gateway's own process."""
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def workers(self) -> int:
        """Decode processes, those included that are dead and not reaped."""
        return len(Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split())

    def seen_by_engine(self) -> Any:
        """The body of the last request that reached the engine."""
        with urllib.request.urlopen(f"{self.engine_url}/mock/requests") as answer:
            return json.loads(json.load(answer)[-1]["body"])

    def memory_bytes(self) -> int:
        """Resident."""
        return int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def is_unharmed(self) -> bool:
        """Whether it answers a good request, with no more files open, processes running or memory taken than before."""
        return (
            self.post(HELLO, **self.hello_headers).status == 200
            and self.open_files() <= self.files_before + SLACK_FILES
            and self.workers() == self.workers_before
            and self.memory_bytes() <= self.memory_before_bytes + SLACK_BYTES
        )

    def remember(self) -> None:
        """Take note of what is open while all is well."""
        assert self.post(HELLO, **self.hello_headers).status == 200
        self.files_before, self.workers_before = self.open_files(), self.workers()
        self.memory_before_bytes = self.memory_bytes()

    def state(self) -> str:
        """What `is_unharmed` looks at, and the end of the log, for a message."""
        return (
            f"open files {self.open_files()} (before: {self.files_before}), workers {self.workers()} "
            f"(before: {self.workers_before}), memory {self.memory_bytes()} (before: {self.memory_before_bytes})\n"
            + self.log.read_text()[-2000:]
        )


def read_answer(connection: socket.socket, method: str) -> Answer:
    """The next answer on a connection. Raises http.client.HTTPException or OSError where there is none."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    try:
        body = response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
    finally:
        response.close()


@contextmanager
def running(folder: Path, *flags: str, key: str = "") -> Iterator[Gateway]:
    """A gateway before a mock engine, both children of ours; `flags` are the gateway's, `key` is what it asks for."""
    with ExitStack() as children:
        engine = _started(children, [sys.executable, "-m", "benchmarks.overhead.mock"], folder / "engine.log")
        found = eventually(lambda: "listening on" in (folder / "engine.log").read_text(), 20)
        assert found, f"the mock engine does not start: {engine.poll()}"
        url = (folder / "engine.log").read_text().split("listening on ")[1].split()[0]
        port = _free_port()
        command = [sys.executable, "-m", "server", "--port", str(port), "--engine-url", url, *flags]
        if key:
            command += ["--api-key", hashed(key)]
        gateway = Gateway(_started(children, command, folder / "gateway.log"), port, folder / "gateway.log", url, key)
        assert eventually(lambda: _is_ready(gateway), 20), gateway.log.read_text()
        gateway.remember()
        yield gateway


def _started(children: ExitStack, command: list[str], log: Path) -> subprocess.Popen[bytes]:
    output = children.enter_context(log.open("wb"))
    child = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    children.callback(_stop, child)
    return child


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        raise


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _is_ready(gateway: Gateway) -> bool:
    if gateway.child.poll() is not None:
        return True  # what follows fails at once, and with its log
    try:
        return gateway.ask("GET", "/readyz").status == 200
    except OSError:
        return False
