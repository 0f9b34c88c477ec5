"""Small pieces of ASGI that the hot path needs: a watcher for the client's leaving, and a body reader with a deadline.

Both drive a coroutine by hand (`step`) instead of giving it a task: a task and its wake-up cost about as much as
parsing the whole request. Relies on what uvicorn does: `receive` and `send` wait on nothing but asyncio futures.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, cast

from server.errors import BodyTooLarge, RequestTimeout

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientLeft(Exception):
    """The client closed its connection; there is nobody to answer."""


def step(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Future[Any] | None":
    """Run `coroutine` until it waits; the future it waits for. Raises StopIteration with its result when it is done."""
    waiting = coroutine.send(None)
    if waiting is not None:
        waiting._asyncio_future_blocking = False  # as asyncio.Task does: the future was handed over
    return cast("asyncio.Future[Any] | None", waiting)


class LeaveWatch:
    """Calls `on_leave` once, when the client closes its connection before `close()`."""

    __slots__ = ("_coroutine", "_on_leave", "_receive", "closed", "left")

    def __init__(self, receive: Receive, on_leave: Callable[[], object]) -> None:
        self._receive = receive
        self._on_leave = on_leave
        self.closed = False
        self.left = False
        self._coroutine = cast("Coroutine[Any, Any, Message]", receive())
        self._step()

    def _step(self, _: object = None) -> None:
        if self.closed:
            return
        try:
            waiting = step(self._coroutine)
        except StopIteration as stop:
            if stop.value["type"] == "http.disconnect":
                self.left = True
                self.closed = True
                self._on_leave()
            else:  # bytes behind the body's end: not ours to read
                self._coroutine = cast("Coroutine[Any, Any, Message]", self._receive())
                self._step()
            return
        if waiting is None:
            asyncio.get_running_loop().call_soon(self._step)
        else:
            waiting.add_done_callback(self._step)

    def close(self) -> None:
        """Stop watching."""
        if not self.closed:
            self.closed = True
            self._coroutine.close()


async def read_body(receive: Receive, limit_bytes: int, timeout_s: float) -> bytes:
    """The whole request body.

    Raises BodyTooLarge as soon as it is longer than `limit_bytes`, RequestTimeout when the next piece takes longer
    than `timeout_s`, ClientLeft when the client is gone.
    """
    pieces: list[bytes] = []
    length = 0
    while True:
        message = await _next_piece(receive, timeout_s)
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        length += len(piece)
        if length > limit_bytes:
            raise BodyTooLarge("body", value=length, limit=limit_bytes, unit="bytes", what="the request's body")
        if not message.get("more_body"):
            return b"".join([*pieces, piece]) if pieces else piece
        pieces.append(piece)


async def _next_piece(receive: Receive, timeout_s: float) -> Message:
    coroutine = cast("Coroutine[Any, Any, Message]", receive())
    try:
        waiting = step(coroutine)
    except StopIteration as stop:  # the usual case: the body came with the head
        return cast(Message, stop.value)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if waiting is not None:
                    await waiting
                else:
                    await asyncio.sleep(0)
                waiting = step(coroutine)
    except StopIteration as stop:
        return cast(Message, stop.value)
    except TimeoutError:
        raise RequestTimeout(f"the next piece of the request's body took longer than {timeout_s:g} s") from None
    finally:
        coroutine.close()
