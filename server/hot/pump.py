"""Hands a stream of events from an engine to a client, without a task or a queue between them.

Each piece goes out in the turn of the loop that brought it in; a client that reads slower than the engine writes stops
the engine's connection instead of filling memory. Only whole events go out, so that a failure half-way through one can
still be told in a well-formed last event, or another engine go on from there.
"""

import asyncio

from server.edge.http import Link
from server.engines.answer import Answer
from server.errors import GatewayError, ServerError
from server.hot.counting import Tally
from server.hot.resume import Said
from server.protocol import first_event_error

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
ERROR = b'data: {"error"'
"""Begins the event by which vLLM says, within a stream, that its core is gone."""


def whole_events(data: bytes) -> int:
    """How many bytes of `data` are whole events.

    >>> whole_events(b"data: 1\\n\\ndata: 2")
    9
    """
    return max((data.rfind(end) + len(end) for end in EVENT_ENDS if end in data), default=0)


def error_at(data: bytes) -> int:
    """Where in whole events vLLM's own error begins; -1 if there is none.

    >>> error_at(b'data: {"id":1}\\n\\ndata: {"error":{}}\\n\\n'), error_at(b'data: {"id":1}\\n\\n')
    (16, -1)
    """
    if data.startswith(ERROR):
        return 0
    at = data.find(b"\n\n" + ERROR)
    return at + 2 if at >= 0 else -1


class Pump:
    """A `Sink` that writes to a client. `done` is set when the engine has no more to say.

    Then the stream is ended, or `failure` says what cut it, and the client waits for more.
    """

    __slots__ = ("_answer", "_link", "_partial", "_plain", "_said", "_tally", "done", "failure")

    def __init__(self, answer: Answer, link: Link, said: Said | None, tally: Tally) -> None:
        """`said` notes what goes out, where another engine may have to go on from it."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: GatewayError | None = None
        self._answer = answer
        self._link = link
        self._said = said
        self._plain = said
        """Knows events of text, as nearly all are, by how they begin and end: those need no look."""
        self._tally = tally
        self._partial = b""
        link.on_pause = answer.pause
        link.on_resume = answer.resume
        if link.paused:
            answer.pause()

    def feed(self, data: bytes) -> None:
        """See `Sink.feed`."""
        if self._plain is not None and not self._partial and self._plain.takes(data):
            self._tally.events += 1
            self._link.write(data)
            return
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if not data.endswith(EVENT_ENDS):
            cut = whole_events(data)
            data, self._partial = data[:cut], data[cut:]
        if data:
            self._look_at(data)

    def _look_at(self, data: bytes) -> None:
        if self.failure is not None:
            return
        if self._said is not None:
            at = error_at(data)
            if at >= 0:
                failure = first_event_error(data[at:])
                if isinstance(failure, ServerError):
                    data = data[:at]
                    self.end(failure)
            data = self.translate(data)
            self._said.add(data)
        data = self._tally.feed(data)
        if data:
            self._link.write(data)

    def translate(self, data: bytes) -> bytes:
        """Whole events as the client is to see them."""
        return data

    def end(self, failure: GatewayError | None) -> None:
        """See `Sink.end`."""
        if self.done.done():
            return
        self.failure = failure
        self._plain = None
        if failure is None:
            self._link.end(self._tally.feed(self._partial))
        self.done.set_result(None)
