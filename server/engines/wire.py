"""HTTP/1.1 to one engine, over TCP or a Unix socket: the part of the hot path where the time goes.

Why not a library: on one core FastAPI with httpx costs 2,550 us a request, aiohttp 90, this 30 (`benchmarks/overhead`).
It does what the hot path needs and no more: a bounded LIFO pool, one request a connection at a time, bytes handed on
as they come, a connection never used again unless its answer was read to the end. No TLS, no redirects, no proxies:
engines stand on loopback, on a Unix socket or in the operator's own network.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from server.engines.answer import Answer, Connection
from server.errors import EngineFailed, EngineTimeout, EngineUnavailable, Overloaded, RequestTimeout


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
        """See `Home.heard_s`."""

    async def request(self, method: str, path: str, body: bytes, headers: bytes) -> Answer:
        """Send a request; the answer's head is here when this returns, with its first event or its whole body.

        `headers` are whole lines, each with its end of line.

        Raises EngineUnavailable, EngineFailed, EngineTimeout or Overloaded. Cancelling cuts the connection.
        """
        head = self._head(method, path, headers, len(body))
        connection = self._kept() or await self._awaited()
        while True:
            waiter = self.loop.create_future()
            answer = Answer(connection, partial(_done, waiter))
            connection.send(answer, head, body)
            try:
                await waiter
            except asyncio.CancelledError:
                answer.close()
                raise
            if answer.failure is None:
                return answer
            answer.close()
            if not answer.is_stale:
                raise answer.failure
            try:
                connection = await self._connect()
            except EngineUnavailable as exc:
                raise EngineFailed("the engine went away when it had the request") from exc

    def request_at_once(
        self, method: str, path: str, body: bytes, headers: bytes, on_ready: Callable[[], None]
    ) -> Answer | None:
        """The same on a connection that is kept; None if there is none. `on_ready` is as `Answer` has it."""
        connection = self._kept()
        if connection is None:
            return None
        answer = Answer(connection, on_ready)
        connection.send(answer, self._head(method, path, headers, len(body)), body)
        return answer

    def _head(self, method: str, path: str, headers: bytes, length: int) -> bytes:
        return b"%b %b%b%bcontent-length: %d\r\n\r\n" % (
            method.encode(),
            path.encode(),
            self._common_head,
            headers,
            length,
        )

    def _kept(self) -> Connection | None:
        """A connection that is open and has nothing to do."""
        while self._idle:
            connection = self._idle.pop()  # the one used last is the least likely to have gone stale
            if not connection.closing:
                return connection
        return None

    async def _awaited(self) -> Connection:
        """A new connection, or one that another request gives back."""
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
        if self._closed:
            connection.close()
            raise EngineUnavailable("the gateway is leaving")
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
        """See `Home.release`."""
        if self._closed:
            connection.close()
            return
        self._idle.append(connection)
        self._admit()

    def forget(self, connection: Connection) -> None:
        """See `Home.forget`."""
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


def _done(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


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
