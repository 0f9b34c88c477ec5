"""Hands a stream of events from an engine to a client, without a task or a queue between them.

Each piece goes out in the same call that brought it in; a client that reads slower than the engine writes stops the
engine's connection instead of filling memory. Only whole events go out, so that a failure half-way through one can
still be told in a well-formed last event.
"""

import asyncio

from server.engines.wire import Answer
from server.errors import GatewayError, RequestTimeout
from server.http import Link
from server.protocol import error_event

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")


def whole_events(data: bytes) -> int:
    """How many bytes of `data` are whole events.

    >>> whole_events(b"data: 1\\n\\ndata: 2")
    9
    """
    return max((data.rfind(end) + len(end) for end in EVENT_ENDS if end in data), default=0)


class Pump:
    """A `Sink` that writes to a client. `done` is set when the last byte is handed over."""

    __slots__ = ("_answer", "_link", "_partial", "done")

    def __init__(self, answer: Answer, link: Link) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._link = link
        self._partial = b""
        link.on_pause = answer.pause
        link.on_resume = answer.resume

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
        self._link.write(data)

    def end(self, failure: GatewayError | None) -> None:
        """See `Sink.end`."""
        if failure is None:
            self._link.end(self._partial)
        elif isinstance(failure, RequestTimeout):
            self._link.cut()  # the client reads nothing, so there is no way to tell it
        else:
            self._link.end(error_event(failure))
        if not self.done.done():
            self.done.set_result(None)
