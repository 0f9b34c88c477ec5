"""One connection to an engine, and the answer that is under way on it: its head, then its body as it comes."""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from server.errors import EngineFailed, GatewayError

JOIN_BYTES = 65536  # above it, copying the body behind the head costs more than a second write
STALE_S = 0.25
"""A kept connection that ends sooner after a request was sent had been closed before; later, the engine died at it."""


class Sink(Protocol):
    """Takes an answer's body as it arrives."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, never empty."""

    def end(self, failure: GatewayError | None) -> None:
        """The body is complete, or broke off with `failure`. Called once, last."""


class Home(Protocol):
    """Where connections belong."""

    loop: asyncio.AbstractEventLoop
    heard_s: float
    """When the engine last sent anything, by the loop's clock."""

    def release(self, connection: "Connection") -> None:
        """Take a connection back that can be used again."""

    def forget(self, connection: "Connection") -> None:
        """A connection is gone."""


class Answer:
    """One answer of an engine: its head, then its body.

    `close()` must be called once the answer is no longer needed; before the body's end it cuts the connection, which
    is how the engine learns that nobody waits any more.
    """

    __slots__ = (
        "_connection",
        "_on_ready",
        "_sink",
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

    def __init__(self, connection: "Connection", on_ready: Callable[[], None]) -> None:
        """`on_ready` is called once, when the first event of a stream is here, all of another answer, or `failure`."""
        self._connection = connection
        self._sink: Sink | None = None
        self._on_ready: Callable[[], None] | None = on_ready
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
        return self._on_ready is not None

    @property
    def is_stale(self) -> bool:
        """Whether the engine closed a kept connection before it had the request, which may then go out on a new one."""
        connection = self._connection
        soon = connection.home.loop.time() - connection.touched_s < STALE_S
        return soon and connection.used and self.status == 0 and isinstance(self.failure, EngineFailed)

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
        self._on_ready = None
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
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()


class Connection(asyncio.Protocol):
    """One connection to the engine; at most one answer is under way on it."""

    def __init__(self, home: Home) -> None:
        self.home = home
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
        self.touched_s = self.home.heard_s = self.home.loop.time()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._broken(EngineFailed("the engine's answer is not HTTP"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.home.forget(self)
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
        self.touched_s = self.home.loop.time()
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
                self.touched_s = self.home.loop.time()
                self.transport.resume_reading()

    def finish(self, answer: Answer) -> None:
        if self.answer is not answer:
            return
        self.answer = None
        if self.message_complete and not self.closing:
            self.resume_reading()
            self.used = True
            self.home.release(self)
        else:
            self.close()
            self.home.forget(self)

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
