"""uvicorn's HTTP protocol, with what it lacks.

- A limit on a request's head in bytes and in seconds, and malformed requests answered with OpenAI's error object.
- `Link`: the hot path's own way to the client. ASGI's messages cost it 20 us a request (a write for the head and one
  for the body, a coroutine for each, a task to watch for the client's leaving) and 4 us a chunk; here the engine's
  bytes go to the socket in the call that brought them, and the socket itself says when the client leaves or reads
  slowly.

This is the one file that knows uvicorn's insides (`HttpToolsProtocol`, `RequestResponseCycle`, 0.54); every other path
is plain ASGI. `tests/test_link.py` fails if an upgrade changes them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.errors import BodyTooLarge, CallerError, GatewayError, HeadersTooLarge, RequestTimeout
from server.settings import Settings


class ClientLeft(Exception):
    """The client closed its connection; there is nobody to answer."""


class MalformedRequest(CallerError):
    """The bytes are not HTTP."""

    code = "malformed_request"


class Link:
    """The connection that one request came on."""

    __slots__ = ("_chunked", "_cycle", "_protocol", "on_leave", "on_pause", "on_resume")

    def __init__(self, protocol: "LimitedProtocol", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._chunked = cycle.scope["http_version"] == "1.1"
        self.on_leave: Callable[[], object] | None = None
        """Called once when the client closes the connection before the answer is complete."""
        self.on_pause: Callable[[], object] | None = None
        """Called when the client reads more slowly than we write: 64 KiB wait to be sent."""
        self.on_resume: Callable[[], object] | None = None
        """Called when they are sent."""

    @property
    def left(self) -> bool:
        """Whether the client is gone."""
        return self._cycle.disconnected

    async def body(self, limit_bytes: int, timeout_s: float) -> bytes:
        """The request's whole body.

        Raises BodyTooLarge as soon as it is longer than `limit_bytes`, RequestTimeout when its next piece takes longer
        than `timeout_s`, ClientLeft when the client is gone.
        """
        cycle = self._cycle
        if not cycle.more_body:  # it came with the head: the usual case
            body = bytes(cycle.body)
            cycle.body = bytearray()
            cycle.message_event.clear()
            if len(body) > limit_bytes:
                raise body_too_large(len(body), limit_bytes)
            return body
        pieces: list[bytes] = []
        length = 0
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    message = cast("dict[str, Any]", await cycle.receive())
            except TimeoutError:
                raise RequestTimeout(f"the next piece of the request's body took longer than {timeout_s:g} s") from None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            pieces.append(message["body"])
            length += len(pieces[-1])
            if length > limit_bytes:
                raise body_too_large(length, limit_bytes)
            if not message["more_body"]:
                return b"".join(pieces)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole answer. `head` are header lines without the length, each with its end of line."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_started = True
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        self._protocol.transport.write(
            b"%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], head, len(body), closing, body)
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
        """The next piece of a streamed answer; never empty."""
        if not self._cycle.disconnected:
            self._protocol.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, data: bytes = b"") -> None:
        """The last piece of a streamed answer."""
        if self._cycle.disconnected:
            return
        if data:
            self.write(data)
        if self._chunked:
            self._protocol.transport.write(b"0\r\n\r\n")
        self._complete()

    def cut(self) -> None:
        """Close the connection in the middle of an answer, so that the client cannot take it for whole."""
        self.forget()
        self._protocol.transport.close()

    def forget(self) -> None:
        """Call nobody back any more."""
        self.on_leave = self.on_pause = self.on_resume = None
        if self._protocol.link is self:
            self._protocol.link = None

    def _complete(self) -> None:
        cycle = self._cycle
        self.forget()
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._protocol.transport.close()
        cycle.on_response()


class LimitedProtocol(HttpToolsProtocol):
    """One client's connection. `limits` is set by `protocol_class`."""

    limits: Settings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.link: Link | None = None
        self.head_bytes = 0
        self.in_head = True
        self.head_timer = self.loop.call_later(self.limits.body_timeout_s, self._head_took_too_long)

    def open_link(self) -> Link:
        """The way back to the client for the request that is being started."""
        self.link = Link(self, self.cycle)
        return self.link

    def data_received(self, data: bytes) -> None:
        if self.in_head:
            self.head_bytes += len(data)
        super().data_received(data)
        if self.in_head and self.head_bytes > self.limits.max_header_bytes and not self.transport.is_closing():
            limit = self.limits.max_header_bytes
            self.refuse(
                HeadersTooLarge(f"the request's head is over {limit} bytes (max_header_bytes)", param="headers")
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_head = True

    def on_headers_complete(self) -> None:
        self.in_head = False
        self.head_bytes = 0
        self.head_timer.cancel()
        cast("dict[str, Any]", self.scope)["open_link"] = self.open_link
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self.head_timer.cancel()
        super().connection_lost(exc)
        link, self.link = self.link, None
        if link is not None and link.on_leave is not None:
            link.on_leave()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.link is not None and self.link.on_pause is not None:
            self.link.on_pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.link is not None and self.link.on_resume is not None:
            self.link.on_resume()

    def send_400_response(self, msg: str) -> None:
        self.refuse(MalformedRequest("the request is not valid HTTP/1.1"))

    def _head_took_too_long(self) -> None:
        if not self.transport.is_closing():
            self.refuse(RequestTimeout(f"the request's head took longer than {self.limits.body_timeout_s:g} s"))

    def refuse(self, failure: GatewayError) -> None:
        """Answer without the app, and close: what follows on the connection cannot be told apart."""
        body = orjson.dumps(failure.body())
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[failure.status] + head + body)
        self.transport.close()


def protocol_class(settings: Settings) -> type[LimitedProtocol]:
    """A protocol with the limits of `settings`."""
    return type("Protocol", (LimitedProtocol,), {"limits": settings})


def body_too_large(value: int, limit: int) -> BodyTooLarge:
    """The one error for a body beyond its limit."""
    return BodyTooLarge("body", value=value, limit=limit, unit="bytes", what="the request's body")


def check_length(headers: dict[bytes, bytes], limit_bytes: int) -> None:
    """Refuse a body by what its head declares, before a byte of it is read."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise body_too_large(int(declared), limit_bytes)
