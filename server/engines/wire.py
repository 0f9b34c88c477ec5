"""HTTP/1.1 to one engine, over TCP or a Unix socket: the part of the hot path where the time goes.

Why not a library: on one core FastAPI with httpx costs 2,550 us a request, aiohttp 90, this 30 (`benchmarks/overhead`).
It does what the hot path needs and no more: a bounded LIFO pool, one request a connection at a time, bytes handed on
as they come, a connection never used again unless its answer was read to the end. No TLS, no redirects, no proxies:
engines stand on loopback, on a Unix socket or in the operator's own network.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from server.errors import EngineFailed, EngineTimeout, EngineUnavailable, GatewayError, Overloaded, RequestTimeout

JOIN_BYTES = 65536  # above it, copying the body behind the head costs more than a second write
STALE_S = 0.25
"""A kept connection that ends sooner after a request was sent had been closed before; later, the engine died at it."""


class Sink(Protocol):
    """Takes an answer's body as it arrives."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, never empty."""

    def end(self, failure: GatewayError | None) -> None:
        """The body is complete, or broke off with `failure`. Called once, last."""


class StaleConnection(Exception):
    """A kept connection was closed by the engine before it answered; the same request may go out on a new one."""


class Answer:
    """One answer of an engine: its head, then its body.

    `close()` must be called once the answer is no longer needed; before the body's end it cuts the connection, which
    is how the engine learns that nobody waits any more.
    """

    __slots__ = (
        "_connection",
        "_sink",
        "_waiter",
        "complete",
        "failure",
        "headers",
        "is_stream",
        "may_move",
        "on_close",
        "origin",
        "pieces",
        "refused",
        "status",
    )

    def __init__(self, connection: "Connection", waiter: "asyncio.Future[None]") -> None:
        self._connection = connection
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = waiter
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self.complete = False
        self.failure: GatewayError | None = None
        self.origin = ""
        """URL of the engine, as the pool knows it."""
        self.refused: GatewayError | None = None
        """What went wrong on the engine, as the answer itself says."""
        self.on_close: Callable[[], None] | None = None
        self.is_stream = False
        """Whether the body is a stream of server-sent events."""
        self.may_move = False
        """Whether another engine can go on with the stream, so that nobody need wait for this one."""

    @property
    def waiting(self) -> bool:
        """Whether nothing of it was handed on yet."""
        return self._waiter is not None

    def body(self) -> bytes:
        """What has arrived of the body."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def pipe(self, sink: Sink) -> None:
        """Hand the body to `sink` from here on, beginning with what has arrived."""
        self._sink = sink
        pieces, self.pieces = self.pieces, []
        if pieces:
            sink.feed(b"".join(pieces))
        if self.complete or self.failure:
            sink.end(self.failure)

    def pause(self) -> None:
        """Stop reading from the engine: the client is slower than it."""
        self._connection.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._connection.resume_reading()

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else cut it."""
        self._connection.finish(self)
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()

    # -- called by the connection -------------------------------------------------------------------------------------
    def _head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status
        self.headers = headers
        self.is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")

    def _data(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.feed(data)
            return
        self.pieces.append(data)
        if self.is_stream:  # the first event is here; a plain body is awaited whole
            self._wake()

    def _end(self) -> None:
        self.complete = True
        if self._sink is not None:
            self._sink.end(None)
        else:
            self._wake()

    def _fail(self, failure: GatewayError) -> None:
        if self.complete or self.failure:
            return
        self.failure = failure
        if self._sink is not None:
            self._sink.end(failure)
        else:
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Connection(asyncio.Protocol):
    """One connection to the engine; at most one answer is under way on it."""

    def __init__(self, pool: "Wire") -> None:
        self.pool = pool
        self.parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.answer: Answer | None = None
        self.headers: dict[bytes, bytes] = {}
        self.touched_s = 0.0
        self.used = False
        self.paused = False
        self.message_complete = True

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.touched_s = self.pool.heard_s = self.pool.loop.time()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._broken(EngineFailed("the engine's answer is not HTTP"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.pool.forget(self)
        if self.answer is not None and not self.answer.complete:
            self.answer._fail(EngineFailed("the engine closed the connection before its answer was complete"))

    # -- httptools ----------------------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self.headers = {}
        self.message_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self.answer is not None:
            self.answer._head(self.parser.get_status_code(), self.headers)

    def on_body(self, body: bytes) -> None:
        if self.answer is not None:
            self.answer._data(body)

    def on_message_complete(self) -> None:
        answer = self.answer
        if answer is None or answer.status < 200:  # 100 Continue and its like precede the answer
            return
        self.message_complete = True
        if not self.parser.should_keep_alive():
            self.used = False
            self.close()
        answer._end()

    # -- used by Answer and Wire --------------------------------------------------------------------------------------
    def send(self, answer: Answer, head: bytes, body: bytes) -> None:
        assert self.transport is not None
        self.answer = answer
        self.message_complete = False
        self.touched_s = self.pool.loop.time()
        if len(body) > JOIN_BYTES:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)

    def pause_reading(self) -> None:
        if not self.paused and self.transport is not None and not self.transport.is_closing():
            self.paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.paused and self.transport is not None:
            self.paused = False
            if not self.transport.is_closing():
                self.touched_s = self.pool.loop.time()
                self.transport.resume_reading()

    def finish(self, answer: Answer) -> None:
        if self.answer is not answer:
            return
        self.answer = None
        if self.message_complete and not self.closing:
            self.resume_reading()
            self.used = True
            self.pool.release(self)
        else:
            self.close()
            self.pool.forget(self)

    @property
    def closing(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()  # close() would first flush a large body that nobody wants any more

    def _broken(self, failure: GatewayError) -> None:
        self.close()
        if self.answer is not None:
            self.answer._fail(failure)


class Wire:
    """A bounded pool of connections to one engine at `http://host:port` or `unix:/path`.

    Raises InvalidValue's plain cousin ValueError for any other URL: it is the operator's setting, not a caller's.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        limit: int = 512,
        timeout_s: float = 120,
        connect_timeout_s: float = 5,
    ) -> None:
        self.url = url
        self.host, self.port, self.path = parse_url(url)
        self.limit = limit
        self.timeout_s = timeout_s
        self.connect_timeout_s = connect_timeout_s
        key = f"authorization: Bearer {api_key}\r\n" if api_key else ""
        host = self.host if self.port in (0, 80) else f"{self.host}:{self.port}"
        self._common_head = f" HTTP/1.1\r\nhost: {host}\r\n{key}".encode()
        self.loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._sweeper = self.loop.call_later(1, self._sweep)
        self._closed = False
        self.heard_s = 0.0
        """When the engine last sent anything, by the loop's clock."""

    async def request(self, method: str, path: str, body: bytes, headers: bytes) -> Answer:
        """Send a request; the answer's head is here when this returns, with its first event or its whole body.

        `headers` are whole lines, each with its end of line.

        Raises EngineUnavailable, EngineFailed, EngineTimeout or Overloaded. Cancelling cuts the connection.
        """
        head = b"%b %b%b%bcontent-length: %d\r\n\r\n" % (
            method.encode(),
            path.encode(),
            self._common_head,
            headers,
            len(body),
        )
        try:
            return await self._exchange(await self._connection(), head, body)
        except StaleConnection:
            try:
                connection = await self._connect()
            except EngineUnavailable as exc:
                raise EngineFailed("the engine went away when it had the request") from exc
            return await self._exchange(connection, head, body)

    async def _exchange(self, connection: Connection, head: bytes, body: bytes) -> Answer:
        waiter = self.loop.create_future()
        answer = Answer(connection, waiter)
        connection.send(answer, head, body)
        try:
            await waiter
        except asyncio.CancelledError:
            answer.close()
            raise
        if answer.failure is not None:
            answer.close()
            soon = self.loop.time() - connection.touched_s < STALE_S
            if soon and connection.used and answer.status == 0 and isinstance(answer.failure, EngineFailed):
                raise StaleConnection from None
            raise answer.failure
        return answer

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()  # the one used last is the least likely to have gone stale
            if not connection.closing:
                return connection
        while len(self._all) + self._opening >= self.limit:
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter, self.connect_timeout_s)
            except TimeoutError:
                raise Overloaded(
                    f"all {self.limit} connections to the engine are taken; the limit is set by engine_connections",
                    headers={"retry-after": "1"},
                ) from None
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            if self._idle:
                return self._idle.pop()
        return await self._connect()

    async def _connect(self) -> Connection:
        self._opening += 1
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                if self.path:
                    _, connection = await self.loop.create_unix_connection(lambda: Connection(self), self.path)
                else:
                    _, connection = await self.loop.create_connection(lambda: Connection(self), self.host, self.port)
        except TimeoutError:
            raise EngineUnavailable(
                f"the engine took no connection within {self.connect_timeout_s:g} s", headers={"retry-after": "2"}
            ) from None
        except OSError as exc:
            raise EngineUnavailable(
                f"the engine cannot be reached: {exc.strerror or type(exc).__name__}", headers={"retry-after": "2"}
            ) from exc
        finally:
            self._opening -= 1
        self._all.add(connection)
        return connection

    @property
    def busy(self) -> int:
        """Requests under way."""
        return sum(connection.answer is not None for connection in self._all)

    def silence_s(self) -> float:
        """How long a request has waited for its next byte, at most; those whose clients read slowly left out."""
        touched = (each.touched_s for each in self._all if not each.message_complete and not each.paused)
        return max(0.0, self.loop.time() - min(touched, default=self.loop.time()))

    def give_up(self, why: str) -> None:
        """Break off what another engine can do instead: what waits for its first byte, and streams that may move."""
        for connection in list(self._all):
            answer = connection.answer
            if answer is not None and (answer.waiting or answer.may_move):
                connection.used = False  # it is not stale: the same engine must not be asked again
                connection._broken(EngineFailed(why))

    def release(self, connection: Connection) -> None:
        """Take a connection back."""
        if self._closed:
            connection.close()
            return
        self._idle.append(connection)
        self._admit()

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        self._admit()

    def _admit(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _sweep(self) -> None:
        oldest_s = self.loop.time() - self.timeout_s
        for connection in list(self._all):
            if connection.answer is None or connection.touched_s > oldest_s:
                continue
            if connection.paused:
                connection._broken(RequestTimeout(f"the client read nothing for {self.timeout_s:g} s"))
            else:
                connection._broken(EngineTimeout(f"the engine sent nothing for {self.timeout_s:g} s"))
        self._sweeper = self.loop.call_later(1, self._sweep)

    def close(self) -> None:
        """Cut every connection."""
        self._closed = True
        self._sweeper.cancel()
        for connection in list(self._all):
            connection.close()


def parse_url(url: str) -> tuple[str, int, str]:
    """(host, port, path of a Unix socket or "").

    >>> parse_url("http://10.0.0.7:8100"), parse_url("unix:/run/engine.sock")
    (('10.0.0.7', 8100, ''), ('engine', 0, '/run/engine.sock'))
    """
    if url.startswith("unix:"):
        return "engine", 0, url.removeprefix("unix:").removeprefix("//")
    if not url.startswith("http://"):
        raise ValueError(f"engine_url {url!r} is neither http://host:port nor unix:/path")
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"engine_url {url!r} has no port; write http://host:port")
    return host.strip("[]"), int(port), ""
