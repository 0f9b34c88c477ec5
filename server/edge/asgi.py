"""The hot path's way to a client whose connection another server holds, by ASGI's messages (`server.on_ray`)."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Self

from server.edge.body import Body, ClientLeft

Message = MutableMapping[str, Any]
PAUSE_BYTES = 65536
"""So much may wait to be sent before the engine is told to wait, as with a connection of our own."""


class AsgiLink:
    """Stands where `http.Link` stands: what is written here goes out by a task of its own, in its order.

    `async with` waits until all is sent.
    """

    def __init__(self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        self._receive = receive
        self._send = send
        self._unsent: asyncio.Queue[Message | None] = asyncio.Queue()
        self._unsent_bytes = 0
        self._watcher: asyncio.Task[None] | None = None
        self._is_cut = False
        self.left = False
        self.on_leave: Callable[[], object] | None = None
        self.on_pause: Callable[[], object] | None = None
        self.on_resume: Callable[[], object] | None = None

    async def __aenter__(self) -> Self:
        self._sender = asyncio.create_task(self._send_on(), name="send")
        return self

    async def __aexit__(self, *failure: object) -> None:
        """Raises ConnectionAbortedError after a `cut`, which makes the server break the connection off."""
        self.forget()
        self._unsent.put_nowait(None)
        try:
            await self._sender
        finally:
            self._sender.cancel()
            if self._watcher is not None:
                self._watcher.cancel()
        if self._is_cut:
            raise ConnectionAbortedError("the answer broke off")

    @property
    def paused(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return self._unsent_bytes > PAUSE_BYTES

    def watch(self, on_leave: Callable[[], object]) -> None:
        """See `http.Link.watch`. The body must have been read."""
        self.on_leave = on_leave
        if self.left:
            on_leave()
        elif self._watcher is None:
            self._watcher = asyncio.create_task(self._until_left(), name="watch")

    async def body(self, limit_bytes: int, timeout_s: float) -> bytearray:
        """See `http.Link.body`."""
        read = bytearray()
        body = Body(read, limit_bytes=limit_bytes, timeout_s=timeout_s)
        reader = asyncio.create_task(self._read_into(body), name="body")
        try:
            await body.whole()
        except ClientLeft:
            self.left = True
            raise
        finally:
            reader.cancel()
        return read

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """See `http.Link.answer`."""
        length = b"%d" % len(body)
        self._put_start(status, [*header_lines(head), (b"content-length", length)])
        self._put_piece(body, more_body=False)

    def start(self, head: bytes) -> None:
        """See `http.Link.start`."""
        self._put_start(200, header_lines(head))

    def write(self, data: bytes) -> None:
        """See `http.Link.write`."""
        self._put_piece(data, more_body=True)
        if self.paused and self.on_pause is not None:
            self.on_pause()

    def end(self, data: bytes = b"") -> None:
        """See `http.Link.end`."""
        self._put_piece(data, more_body=False)

    def cut(self) -> None:
        """See `http.Link.cut`."""
        self._is_cut = True

    def forget(self) -> None:
        """Call nobody back any more."""
        self.on_leave = self.on_pause = self.on_resume = None

    def _put_start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._unsent.put_nowait({"type": "http.response.start", "status": status, "headers": headers})

    def _put_piece(self, data: bytes, *, more_body: bool) -> None:
        self._unsent_bytes += len(data)
        self._unsent.put_nowait({"type": "http.response.body", "body": bytes(data), "more_body": more_body})

    async def _send_on(self) -> None:
        while (message := await self._unsent.get()) is not None:
            if not self.left:
                await self._send(message)
            was_paused = self.paused
            self._unsent_bytes -= len(message.get("body", b""))
            if was_paused and not self.paused and self.on_resume is not None:
                self.on_resume()

    async def _read_into(self, body: Body) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                body.lose()
                return
            body.add(message.get("body", b""))
            if not message.get("more_body", False):
                body.end()
                return

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self.on_leave is not None:
            self.on_leave()


def header_lines(head: bytes) -> list[tuple[bytes, bytes]]:
    r"""Lines of a head as names, in lower case, and values.

    >>> header_lines(b"X-Request-Id: a:1\r\ncontent-type: text/plain\r\n")
    [(b'x-request-id', b'a:1'), (b'content-type', b'text/plain')]
    """
    lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
    return [(name.lower(), value.strip()) for name, _, value in lines]
