"""HTTP/1.1 for the mock: one connection, one request at a time, nothing that a benchmark would have to wait for."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import httptools

from benchmarks.overhead.answers import failure, http


class Request(NamedTuple):
    """A request as it came; `url` with its query, header names in lower case."""

    method: str
    url: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Work(Protocol):
    """An answer that is not finished."""

    def abandon(self) -> None:
        """The client left before the end."""


Serve = Callable[["Connection", Request], None]


class Connection(asyncio.Protocol):
    """Reads requests and hands each to `serve`, which writes to `transport` when it likes.

    Does not take pipelined requests (no gateway sends them) and does not hold back a fast writer: what the other
    side does not read is kept in memory, so that a slow gateway shows as late chunks and not as a slower engine.
    """

    __slots__ = ("_body", "_connections", "_headers", "_parser", "_serve", "_url", "transport", "work")

    transport: asyncio.Transport

    def __init__(self, serve: Serve, connections: set["Connection"]) -> None:
        self._serve = serve
        self._connections = connections
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self.work: Work | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self.work is not None:
            self.work.abandon()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            self.transport.abort()
            raise  # a mistake of the mock, not of its client
        except httptools.HttpParserError as exc:
            self.transport.write(http(400, failure(400, f"Invalid HTTP request: {exc}", "BadRequestError")))
            self.transport.close()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._serve(self, Request(self._parser.get_method().decode(), self._url, self._headers, body))
