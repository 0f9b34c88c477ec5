"""uvicorn's HTTP protocol, with what it lacks.

- A limit on a request's head in bytes and in seconds, and malformed requests answered with OpenAI's error object.
- `Link`: the hot path's own way to the client. ASGI's messages cost it 20 us a request (a write for the head and one
  for the body, a coroutine for each, a task to watch for the client's leaving) and 4 us a chunk; here the engine's
  bytes go to the socket in the turn of the loop that brought them (`Outbox`), and the socket itself says when the
  client leaves or reads slowly.

This is the one file that knows uvicorn's insides (`HttpToolsProtocol`, `RequestResponseCycle`, 0.54); every other path
is plain ASGI. `tests/edge/test_link.py` fails if an upgrade changes them.
"""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.edge.body import Body, ClientLeft, body_too_large
from server.errors import GatewayError, HeadersTooLarge, MalformedRequest, RequestTimeout
from server.settings import Settings

UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=:)", re.IGNORECASE)
UPGRADE_WITHIN_BYTES = 4096
"""The parser takes the body of a request with this header for another protocol's bytes and drops it. Java's HttpClient
offers HTTP/2 so with every first request; the offer is passed over, as RFC 9110 7.8 allows, by renaming it."""
LINGER_S = 2
"""How long a client that still sends is listened to after its answer."""


class Work(Protocol):
    """What serves a request: a task, or what does without."""

    def cancel(self, msg: Any = None) -> object:
        """End it."""


class Link:
    """The connection that one request came on, as that request's way back: others may wait on it for their turn."""

    __slots__ = ("_chunked", "_cycle", "_protocol", "_waiting", "incoming", "on_leave", "on_pause", "on_resume")

    def __init__(self, protocol: "LimitedProtocol", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._chunked = cycle.scope["http_version"] == "1.1"
        self._waiting = b""
        protocol.link = self
        self.incoming: Body | None = None
        """The body, while it is waited for."""
        self.on_leave: Callable[[], object] | None = None
        self.on_pause: Callable[[], object] | None = None
        """Called when the client reads more slowly than we write: 64 KiB wait to be sent."""
        self.on_resume: Callable[[], object] | None = None
        """Called when they are sent."""

    @property
    def left(self) -> bool:
        """Whether the client is gone."""
        return self._cycle.disconnected or self._protocol.transport.is_closing()

    @property
    def paused(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return bool(self._protocol.flow.write_paused)

    def watch(self, on_leave: Callable[[], object]) -> None:
        """Call `on_leave` once when the client leaves before the answer is complete; now, if it has left already."""
        self.on_leave = on_leave
        if self.left:
            on_leave()

    async def body(self, limit_bytes: int, timeout_s: float) -> bytearray:
        """The request's whole body; raises what `Body` raises."""
        cycle = self._cycle
        body, cycle.body = cycle.body, bytearray()
        if cycle.more_body:
            await self._rest(body, limit_bytes, timeout_s)
        elif len(body) > limit_bytes:
            raise body_too_large(len(body), limit_bytes)
        cycle.message_event.clear()
        if not self._protocol.pipeline:  # uvicorn stops reading at 64 KiB; deaf, we would not hear the client leave
            self._protocol.flow.resume_reading()
        return body

    async def _rest(self, begun: bytearray, limit_bytes: int, timeout_s: float) -> None:
        """Adds what is yet to come."""
        cycle, protocol = self._cycle, self._protocol
        if cycle.disconnected:
            raise ClientLeft
        if cycle.waiting_for_100_continue and not protocol.transport.is_closing():
            protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        self.incoming = Body(begun, limit_bytes=limit_bytes, timeout_s=timeout_s)
        protocol.flow.resume_reading()
        try:
            await self.incoming.whole()
        finally:
            self.incoming = None

    def whole_body(self) -> bytearray | None:
        """The request's body if all of it is here."""
        return None if self._cycle.more_body else self._cycle.body

    def began(self, work: Work) -> None:
        """Whoever stops the server waits for this, and cancels it in the end."""
        self._protocol.tasks.add(cast("asyncio.Task[None]", work))

    def ended(self, work: Work) -> None:
        """No longer."""
        self._protocol.tasks.discard(cast("asyncio.Task[None]", work))

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole answer. `head` are header lines without the length, each with its end of line.

        One that comes before the end of the request's body ends the connection: what follows is not worth reading.
        """
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_started = True
        if cycle.more_body:
            cycle.keep_alive = False
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        self._protocol.transport.write(
            b"%b%bcontent-length: %d\r\n%b\r\n%b"
            % (STATUS_LINE[status], head, len(body), closing, b"" if cycle.scope["method"] == "HEAD" else body)
        )
        self._complete()

    def start(self, head: bytes) -> None:
        """Begin a streamed answer with status 200."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_started = True
        if not self._chunked:
            cycle.keep_alive = False  # to HTTP/1.0 the end of the connection is the end of the body
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        self._protocol.transport.write(b"%b%b%b%b\r\n" % (STATUS_LINE[200], head, framing, closing))

    def write(self, data: bytes) -> None:
        """The next piece of a streamed answer; never empty. Goes out at the end of the loop's turn."""
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._waiting:
            self._waiting += data
        else:
            self._waiting = data
            self._protocol.outbox.add(self)

    def flush(self) -> None:
        """Write what waits for the end of the loop's turn."""
        waiting, self._waiting = self._waiting, b""
        if waiting and not self._cycle.disconnected:
            self._protocol.transport.write(waiting)

    def end(self, data: bytes = b"") -> None:
        """The last piece of a streamed answer."""
        if self._chunked:
            self._waiting += b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        else:
            self._waiting += data
        self.flush()
        if not self._cycle.disconnected:
            self._complete()

    def cut(self) -> None:
        """Close the connection in the middle of an answer, so that the client cannot take it for whole."""
        self.flush()
        self.forget()
        self._protocol.transport.close()

    def forget(self) -> None:
        """Call nobody back any more."""
        self.on_leave = self.on_pause = self.on_resume = None
        if self._protocol.link is self:
            self._protocol.link = None

    def over(self) -> None:
        """The last call, of what serves a request without a task."""
        self.forget()
        self._cycle.on_response = _nothing  # else it and its protocol know each other, which is for the collector

    def lose(self) -> None:
        """The connection is gone."""
        self._cycle.disconnected = not self._cycle.response_complete
        if self.incoming is not None:
            self.incoming.lose()
        if self.on_leave is not None:
            self.on_leave()

    def _complete(self) -> None:
        cycle = self._cycle
        self.forget()
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive and not cycle.more_body:
            self._protocol.transport.close()
        cycle.on_response()


def _nothing() -> None:
    pass


class Outbox:
    """Connections with something to write at the end of the loop's turn.

    An engine's step brings a piece for each of its streams at once. Read one after the other and then written one
    after the other, they cost up to a third less than in turns: the kernel's and our own code stay in the
    processor's cache, and a balancer or client on the same machine is woken once and not for each piece.
    """

    __slots__ = ("_links",)

    def __init__(self) -> None:
        self._links: list[Link] = []

    def add(self, link: Link) -> None:
        """Flush it when all that came is read."""
        if not self._links:
            asyncio.get_running_loop().call_soon(self._flush)
        self._links.append(link)

    def _flush(self) -> None:
        links, self._links = self._links, []
        for link in links:
            link.flush()


class LimitedProtocol(HttpToolsProtocol):
    """One client's connection. `limits` and `outbox` are set by `protocol_class`."""

    app: Any
    """`server.edge.middleware.Edge`."""
    limits: Settings
    outbox: Outbox
    leaving: ClassVar[bool] = False
    """Set on the class when the server is stopping: each connection closes after the answer under way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.link: Link | None = None
        self.failure: GatewayError | None = None
        self.deaf = False
        self.in_head = False
        self.piece_bytes = 0
        self.first_piece_bytes = 0
        """Of the piece in which the head began; other things may be in it."""
        self.head_bytes = 0
        """Of the head in the pieces after that one."""
        self.timer: asyncio.TimerHandle | None = None
        self._start_timer(self.limits.body_timeout_s, self._head_took_too_long)

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        if data.find(b"pgrade:", 0, UPGRADE_WITHIN_BYTES) > 0 and self._is_idle():
            head, end, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"x-offered-upgrade", head) + end + rest
        self.piece_bytes = len(data)
        if self.in_head:
            self.head_bytes += len(data)
        super().data_received(data)
        if not self.in_head:
            return
        if self.head_bytes > self.limits.max_header_bytes:
            self.refuse(self._headers_too_large())
        elif self.timer is None:
            self._start_timer(self.limits.body_timeout_s, self._head_took_too_long)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_head = True
        self.first_piece_bytes = self.piece_bytes
        self.head_bytes = 0

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._stop_timer()
        if self.first_piece_bytes + self.head_bytes > self.limits.max_header_bytes:  # a cheap bound on the sum
            length = len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
            if length > self.limits.max_header_bytes:
                self.failure = self._headers_too_large()
                raise self.failure  # ends the parser; comes back in send_400_response
        super().on_headers_complete()
        if self.leaving:
            self.leave()
        cast("dict[str, Any]", self.scope)["open_link"] = partial(Link, self, self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin a request in the loop's next turn, as its task would: by then what came with its head is read, most
        often all of it, and one connection's request comes behind the other's while our code is in the processor's
        cache (begun where they are read, requests cost 10 us more).
        """
        self.loop.call_soon(self._begin, cycle)

    def _begin(self, cycle: RequestResponseCycle) -> None:
        if cycle.more_body or cycle.disconnected or not self.app.at_once(cycle.scope):
            super()._start_asgi_task(cycle, self.app)

    def on_body(self, body: bytes) -> None:
        if self.link is None or self.link.incoming is None:
            super().on_body(body)
        else:
            self.link.incoming.add(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.link is not None and self.link.incoming is not None:
            self.link.incoming.end()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        cycle: RequestResponseCycle = self.cycle
        if cycle.response_complete and cycle.more_body:
            self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        link, self.link = self.link, None
        if link is not None:
            link.lose()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.link is not None and self.link.on_pause is not None:
            self.link.on_pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.link is not None and self.link.on_resume is not None:
            self.link.on_resume()

    def send_400_response(self, msg: str) -> None:
        self.refuse(self.failure or MalformedRequest("the request is not valid HTTP/1.1"))

    def leave(self) -> None:
        """Close after the answer under way; one that is idle stays, for a request may be on its way."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def refuse(self, failure: GatewayError) -> None:
        """Answer without the app, and close: what follows on the connection cannot be told apart.

        An answer that is under way goes out whole before that; then there is nothing to say any more.
        """
        cycle = cast("RequestResponseCycle | None", self.cycle)
        self.deaf = True
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if self.pipeline or cycle.response_started or not cycle.more_body:
                return
            cycle.disconnected = True  # its body is broken, and it may be waiting for more of it
            cycle.message_event.set()
            if self.link is not None and self.link.incoming is not None:
                self.link.incoming.lose()
        body = orjson.dumps(failure.body())
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[failure.status] + head + body)
        self._linger()

    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _headers_too_large(self) -> HeadersTooLarge:
        limit = self.limits.max_header_bytes
        return HeadersTooLarge(f"the request's head is over {limit} bytes (max_header_bytes)", param="headers")

    def _head_took_too_long(self) -> None:
        if self.in_head:
            self.refuse(RequestTimeout(f"the request's head took longer than {self.limits.body_timeout_s:g} s"))
        else:  # nothing was asked
            self.transport.close()

    def _linger(self) -> None:
        """Close, but read on for a moment: a close with bytes unread resets the connection, and the answer is lost."""
        self.deaf = True
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._stop_timer()
        self._start_timer(LINGER_S, self.transport.close)

    def _start_timer(self, after_s: float, call: Callable[[], None]) -> None:
        self.timer = self.loop.call_later(after_s, call)

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def protocol_class(settings: Settings) -> type[LimitedProtocol]:
    """A protocol with the limits of `settings`."""
    return type("Protocol", (LimitedProtocol,), {"limits": settings, "outbox": Outbox()})
