"""Load on one gateway: closed-loop JSON requests, and streams that are opened again as soon as they end.

Written on bare uvloop protocols: a client library would cost more than the gateways that are measured.
"""

import asyncio
import gc
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import orjson

STAMP = re.compile(rb'"content":\s?"([0-9a-f]{16})"')
"""The mock's `stamp`, also where a gateway wrote the JSON anew."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send: all gateways take the same path and key."""

    host: str
    port: int
    api_key: str = ""
    path: str = "/v1/chat/completions"

    def request(self, body: dict[str, Any]) -> bytes:
        """The bytes of a request, as a keep-alive client sends it."""
        payload = orjson.dumps(body)
        authorization = f"authorization: Bearer {self.api_key}\r\n" if self.api_key else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\naccept: */*\r\n"
            f"content-type: application/json\r\n{authorization}content-length: {len(payload)}\r\n\r\n"
        )
        return head.encode() + payload


@dataclass(slots=True)
class Tally:
    """What one load saw inside its window; times in seconds."""

    duration_s: float = 0.0
    cpu_s: float = 0.0
    """Spent by the gateway's processes in the window."""
    requests: int = 0
    chunks: int = 0
    errors: int = 0
    latencies_s: list[float] = field(default_factory=list)
    """Of whole requests, streams included."""
    first_byte_s: list[float] = field(default_factory=list)
    """From sending to the first byte of the body."""
    chunk_delay_s: list[float] = field(default_factory=list)
    """From the mock's writing of a chunk to our reading of it."""


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all do not exceed; nan if there are none.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


class Load:
    """A running load: its connections, and the tally that is open while the window is."""

    def __init__(self, target: Target, body: dict[str, Any], cpu_s: Callable[[], float], chunks: int = 0) -> None:
        """`chunks`: stamped chunks that each answer must hold, 0 for an answer that is not streamed."""
        self.target = target
        self.request = target.request(body)
        self.chunks = chunks
        self.tally = Tally()
        self.measuring = False
        self.stopping = False
        self._cpu_s = cpu_s
        self._clients: list[Client] = []

    async def run(self, connections: int, warm_s: float, measure_s: float, stagger_s: float = 0) -> Tally:
        """Open `connections`, spread over `stagger_s`; after `warm_s` count for `measure_s`."""
        loop = asyncio.get_running_loop()
        for i in range(connections):
            client = Client(self)
            self._clients.append(client)
            loop.call_later(i * stagger_s / connections, client.connect)
        await asyncio.sleep(stagger_s + warm_s)
        gc.collect()
        gc.disable()  # our own pauses would look like the gateway's
        self.tally = Tally()
        cpu_s, start_s = self._cpu_s(), time.monotonic()
        self.measuring = True
        await asyncio.sleep(measure_s)
        self.measuring = False
        self.tally.duration_s = time.monotonic() - start_s
        self.tally.cpu_s = self._cpu_s() - cpu_s
        gc.enable()
        self.stopping = True
        for client in self._clients:
            client.close()
        await asyncio.sleep(0.05)
        return self.tally


class Client(asyncio.Protocol):
    """One keep-alive connection that sends the next request when the last one is answered."""

    __slots__ = ("_chunks", "_first_s", "_load", "_parser", "_rest", "_sent_s", "_transport")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser: Any = None
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._chunks = 0
        self._sent_s = self._first_s = 0.0

    def connect(self) -> None:
        if self._load.stopping:
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._open(loop))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            await loop.create_connection(lambda: self, self._load.target.host, self._load.target.port)
        except OSError:
            self._failed()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._load.stopping:
            if self._sent_s:
                self._failed()
            else:
                self.connect()

    def _failed(self) -> None:
        self._load.tally.errors += 1
        asyncio.get_running_loop().call_later(0.05, self.connect)

    def _send(self) -> None:
        self._rest = b""
        self._chunks = 0
        self._first_s = 0.0
        self._sent_s = time.monotonic()
        assert self._transport is not None
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if not self._first_s:
            self._first_s = time.monotonic()
        if self._load.chunks:
            self._read_stamps(body, time.monotonic_ns())

    def _read_stamps(self, body: bytes, now_ns: int) -> None:
        if self._rest:
            body = self._rest + body
        end = body.rfind(b"\n\n") + 2
        if end == 1:
            self._rest = body
            return
        self._rest = body[end:]
        stamps = STAMP.findall(body, 0, end)
        self._chunks += len(stamps)
        if self._load.measuring:
            tally = self._load.tally
            tally.chunks += len(stamps)
            for stamp in stamps:
                tally.chunk_delay_s.append((now_ns - int(stamp, 16)) / 1e9)

    def on_message_complete(self) -> None:
        now_s = time.monotonic()
        tally = self._load.tally
        if self._parser.get_status_code() != 200 or self._chunks != self._load.chunks:
            tally.errors += 1
        elif self._load.measuring:
            tally.requests += 1
            tally.latencies_s.append(now_s - self._sent_s)
            tally.first_byte_s.append(self._first_s - self._sent_s)
        keep_alive = self._parser.should_keep_alive()
        self._sent_s = 0.0
        if self._load.stopping or self._transport is None:
            return
        if keep_alive:
            self._send()
        else:
            self._transport.close()


_tasks: set[asyncio.Task[None]] = set()
