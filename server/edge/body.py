"""A request's body while it comes in.

uvicorn's own way costs a wake-up and three copies of each piece; a photo's seven megabytes come in a hundred of them.
"""

import asyncio

from server.errors import BodyTooLarge, GatewayError, RequestTimeout


class ClientLeft(Exception):
    """The client closed its connection; there is nobody to answer."""


class Body:
    """Adds pieces to `begun` until `end`.

    `whole` raises BodyTooLarge as soon as there are more than `limit_bytes`, RequestTimeout when the next piece takes
    longer than `timeout_s`, ClientLeft after `lose`.
    """

    def __init__(self, begun: bytearray, *, limit_bytes: int, timeout_s: float) -> None:
        self._buffer = begun
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._touched_s = self._loop.time()
        self._timer = self._loop.call_later(timeout_s, self._look_at_clock)
        self.add(b"")

    async def whole(self) -> None:
        """Returns when all of it is there."""
        try:
            await self._done
        finally:
            self._timer.cancel()
            self._done.cancel()

    def add(self, piece: bytes) -> None:
        """The next piece."""
        if self._done.done():
            return
        self._buffer += piece
        self._touched_s = self._loop.time()
        if len(self._buffer) > self._limit_bytes:
            self._fail(body_too_large(len(self._buffer), self._limit_bytes))

    def end(self) -> None:
        """That was the last one."""
        if not self._done.done():
            self._done.set_result(None)

    def lose(self) -> None:
        """The client is gone."""
        self._fail(ClientLeft())

    def _fail(self, failure: GatewayError | ClientLeft) -> None:
        if not self._done.done():
            self._done.set_exception(failure)

    def _look_at_clock(self) -> None:
        """One timer for the whole body: a new one for each piece would cost more than the piece."""
        rest_s = self._touched_s + self._timeout_s - self._loop.time()
        if rest_s > 0:
            self._timer = self._loop.call_later(rest_s, self._look_at_clock)
            return
        self._fail(RequestTimeout(f"the next piece of the request's body took longer than {self._timeout_s:g} s"))


def body_too_large(value: int, limit: int) -> BodyTooLarge:
    """The one error for a body beyond its limit."""
    return BodyTooLarge("body", value=value, limit=limit, unit="bytes", what="the request's body")


def check_length(headers: dict[bytes, bytes], limit_bytes: int) -> None:
    """Refuse a body by what its head declares, before a byte of it is read."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise body_too_large(int(declared), limit_bytes)
