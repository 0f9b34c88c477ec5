"""Hands a stream of events from an engine to a client, without a task or a queue between them.

Each piece goes out in the same call that brought it in; a client that reads slower than the engine writes stops the
engine's connection instead of filling memory. Only whole events go out, so that a failure half-way through one can
still be told in a well-formed last event.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, cast

from server.asgi import ClientLeft, LeaveWatch, Message, Send, step
from server.engines.wire import Answer
from server.errors import GatewayError
from server.protocol import error_event

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")


def whole_events(data: bytes) -> int:
    """How many bytes of `data` are whole events.

    >>> whole_events(b"data: 1\\n\\ndata: 2")
    9
    """
    return max((data.rfind(end) + len(end) for end in EVENT_ENDS if end in data), default=0)


class Pump:
    """A `Sink` that writes to an ASGI `send`. `done` is set when the last byte is handed over."""

    def __init__(self, answer: Answer, send: Send, watch: LeaveWatch) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._send = send
        self._watch = watch
        self._partial = b""
        self._blocked = False
        self._backlog: list[bytes] = []
        self._last: bytes | None = None

    def feed(self, data: bytes) -> None:
        """See `Sink.feed`."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if not data.endswith(EVENT_ENDS):
            cut = whole_events(data)
            data, self._partial = data[:cut], data[cut:]
            if not data:
                return
        if self._blocked:
            self._backlog.append(data)
        else:
            self._write({"type": "http.response.body", "body": data, "more_body": True})

    def end(self, failure: GatewayError | None) -> None:
        """See `Sink.end`."""
        if self._blocked and failure is not None and failure.status == 408:
            self._finish(ClientLeft())  # it reads nothing, so there is no way to tell it
            return
        self._last = self._partial if failure is None else error_event(failure)
        if not self._blocked:
            self._write_last()

    def _write_last(self) -> None:
        self._watch.close()  # uvicorn reports a complete answer as a disconnect
        body = b"".join([*self._backlog, self._last or b""])
        self._backlog = []
        self._last = None
        self._write({"type": "http.response.body", "body": body, "more_body": False})
        if not self._blocked:
            self._finish(None)

    def _write(self, message: Message) -> None:
        coroutine = cast("Coroutine[Any, Any, None]", self._send(message))
        try:
            waiting = step(coroutine)
        except StopIteration:
            return
        self._blocked = True
        self._answer.pause()
        assert waiting is not None
        waiting.add_done_callback(partial(self._go_on, coroutine, message))

    def _go_on(self, coroutine: "Coroutine[Any, Any, None]", message: Message, _: object) -> None:
        try:
            waiting = step(coroutine)
        except StopIteration:
            self._blocked = False
        else:
            assert waiting is not None
            waiting.add_done_callback(partial(self._go_on, coroutine, message))
            return
        if not message["more_body"]:
            self._finish(None)
        elif self._last is not None:
            self._write_last()
        else:
            if self._backlog:
                backlog, self._backlog = self._backlog, []
                self._write({"type": "http.response.body", "body": b"".join(backlog), "more_body": True})
            if not self._blocked:
                self._answer.resume()

    def _finish(self, failure: Exception | None) -> None:
        if self.done.done():
            return
        if failure is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(failure)
