"""One HTTP/1.1 exchange with every moment noted: a client library would cost more than the servers that are measured.

Bytes are kept with the time they came and read when the exchange is over, so that reading one answer does not delay the
clock of another. Connections are kept alive and reused, the last used first.
"""

import asyncio
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools


@dataclass(slots=True)
class Exchange:
    """What happened, in seconds of `time.perf_counter`; 0 for what never did."""

    began_s: float = 0.0
    connected_s: float = 0.0
    sent_s: float = 0.0
    """The request's last byte has left the process."""
    head_s: float = 0.0
    """The answer's head is here."""
    ended_s: float = 0.0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    error: str = ""
    """Why it failed below HTTP; "" if it did not."""
    is_reused: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)


class Connection(asyncio.Protocol):
    """One connection, for one exchange after the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_usable = True
        self._exchange: Exchange | None = None
        self._done: asyncio.Future[None] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._header: list[tuple[bytes, bytes]] = []

    def ask(self, request: bytes, exchange: Exchange) -> asyncio.Future[None]:
        """Write a request; the future is done when the answer is whole, or the connection lost."""
        assert self.transport is not None
        self._exchange, self._header = exchange, []
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        if self.transport.get_write_buffer_size() == 0:
            exchange.sent_s = time.perf_counter()
        return self._done

    # -- asyncio ------------------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.transport.set_write_buffer_limits(0)

    def resume_writing(self) -> None:
        """The buffer is empty: with limits of 0 that is when the last byte has left."""
        if self._exchange is not None:
            self._exchange.sent_s = time.perf_counter()

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.is_usable = False  # an answer to nothing
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._finish(f"not HTTP: {exc}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        self._finish(f"connection lost: {exc or 'closed by the server'}")

    # -- httptools ----------------------------------------------------------------------------------------------------
    def on_header(self, name: bytes, value: bytes) -> None:
        self._header.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._exchange is not None
        assert self._parser is not None
        self._exchange.head_s = time.perf_counter()
        self._exchange.status = self._parser.get_status_code()
        self._exchange.headers = {name.decode().lower(): value.decode("latin-1") for name, value in self._header}

    def on_body(self, body: bytes) -> None:
        assert self._exchange is not None
        self._exchange.pieces.append((time.perf_counter(), body))

    def on_message_complete(self) -> None:
        assert self._parser is not None
        self.is_usable = self.is_usable and self._parser.should_keep_alive()
        self._finish("")

    def _finish(self, error: str) -> None:
        if self._done is None or self._done.done():
            return
        assert self._exchange is not None
        self._exchange.error = error
        self._exchange.ended_s = time.perf_counter()
        self._parser = None
        self._done.set_result(None)


class Client:
    """Asks one server. Not for several event loops."""

    def __init__(self, url: str, *, api_key: str = "", timeout_s: float = 600) -> None:
        """`url`: the server's base, with or without `/v1` (paths are added to what stands before it); `unix:/path`."""
        self._socket = url.removeprefix("unix:") if url.startswith("unix:") else ""
        if self._socket:
            url = "http://localhost"
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no http or https URL")
        self.host, self.port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self.prefix = parts.path.rstrip("/").removesuffix("/v1")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._authorization = f"authorization: Bearer {api_key}\r\n" if api_key else ""
        self._timeout_s = timeout_s
        self._idle: deque[Connection] = deque()

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request's bytes; made before the clock runs."""
        head = (
            f"{method} {self.prefix}{path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\naccept: */*\r\n"
            f"{self._authorization}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def send(self, request: bytes) -> Exchange:
        """One exchange. Never raises for what the server or the network does: see `Exchange.error`."""
        exchange = Exchange(began_s=time.perf_counter())
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._connection(exchange)
                exchange.connected_s = time.perf_counter()
                await connection.ask(request, exchange)
        except TimeoutError:
            exchange.error = f"no answer within {self._timeout_s:g} s"
        except OSError as exc:
            exchange.error = f"no connection: {exc}"
        finally:
            exchange.ended_s = exchange.ended_s or time.perf_counter()
            self._give_back(connection, exchange)
        return exchange

    async def get(self, path: str) -> Exchange:
        return await self.send(self.request("GET", path))

    def close(self) -> None:
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()
        self._idle.clear()

    async def _connection(self, exchange: Exchange) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                exchange.is_reused = True
                return connection
        loop = asyncio.get_running_loop()
        if self._socket:
            _, connection = await loop.create_unix_connection(Connection, self._socket)
        else:
            _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=self._tls)
        return connection

    def _give_back(self, connection: Connection | None, exchange: Exchange) -> None:
        if connection is None:
            return
        if connection.is_usable and not exchange.error:
            self._idle.append(connection)
        elif connection.transport is not None:
            connection.transport.abort()
