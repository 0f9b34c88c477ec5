"""One streamed answer of the mock engine, and the ticker that moves all streams together."""

import asyncio
import time
from collections.abc import Callable, Iterator

import orjson

from benchmarks.overhead.answers import LAST_CHUNK, ChunkWriter, Question, event, failure, pieces
from benchmarks.overhead.behaviour import Behaviour

DEFAULT_TOKENS = 16


def token_count(question: Question, behaviour: Behaviour) -> int:
    """Tokens of the answer, without those that are already said."""
    if question.max_tokens is not None and not behaviour.chunks:
        return question.max_tokens  # whoever goes on with an answer asks for the rest
    return max(1, (behaviour.chunks or DEFAULT_TOKENS) - len(question.said.split()))


def word(question: Question, behaviour: Behaviour) -> str:
    return question.tag if behaviour.own_words and question.tag else "token"


def finish_reason(question: Question, tokens: int) -> str:
    return "length" if question.max_tokens is not None and tokens >= question.max_tokens else "stop"


def contents(question: Question, behaviour: Behaviour, count: int) -> Iterator[bytes]:
    """What each content chunk says, escaped for the inside of a JSON string."""
    if behaviour.stamp:
        for _ in range(count):
            yield b"%016x" % time.monotonic_ns()
    elif behaviour.answer:
        for piece in pieces(behaviour.answer.removeprefix(question.said), count):
            yield orjson.dumps(piece)[1:-1]
    else:
        said, name = len(question.said.split()), orjson.dumps(word(question, behaviour))[1:-1]
        for i in range(said, said + count):
            yield b" %b%d" % (name, i) if i else b"%b0" % name


class Ticker:
    """Steps all streams of one interval at the same moments, as an engine steps its whole batch."""

    def __init__(self, interval_s: float, on_step: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._on_step = on_step
        self._streams: dict[Stream, None] = {}
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def join(self, stream: "Stream") -> None:
        self._streams[stream] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._due_s = loop.time() + self._interval_s
            self._timer = loop.call_at(self._due_s, self._tick)

    def leave(self, stream: "Stream") -> None:
        self._streams.pop(stream, None)

    def _tick(self) -> None:
        self._timer = None
        if not self._streams:
            return
        self._on_step()
        for stream in tuple(self._streams):
            stream.step()
        self._due_s += self._interval_s  # from the moment that was due, so that a late tick does not slow the pace
        self._timer = asyncio.get_running_loop().call_at(self._due_s, self._tick)


class Stream:
    """Writes one chunk a step, until it ends, its fault strikes or its client leaves."""

    __slots__ = (
        "_behaviour",
        "_contents",
        "_count",
        "_on_end",
        "_question",
        "_ticker",
        "_transport",
        "_writer",
        "sent",
        "stalled",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        question: Question,
        behaviour: Behaviour,
        answer_id: str,
        ticker: Ticker | None,
        on_end: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._question = question
        self._behaviour = behaviour
        self._ticker = ticker
        self._on_end = on_end
        self._count = token_count(question, behaviour)
        self._contents = contents(question, behaviour, self._count)
        self._writer = ChunkWriter(question, answer_id)
        self.sent = 0
        self.stalled = False

    def open(self) -> None:
        """The role chunk, then the ticker's pace; without one, everything at once."""
        if self._behaviour.fault in ("", "no_end") or self._behaviour.after:
            self._transport.write(self._writer.role())
        if self._ticker is not None:
            self._ticker.join(self)
            return
        while self.step():
            pass

    def step(self) -> bool:
        """One chunk, or the end, or the fault; True while there is more to come."""
        behaviour = self._behaviour
        if behaviour.fault and self.sent == behaviour.after and behaviour.fault != "no_end":
            self._strike(behaviour.fault)
            return False
        content = next(self._contents, None)
        if content is not None:
            self._transport.write(self._writer.content(content))
            self.sent += 1
            if self.sent < self._count or (behaviour.fault and self.sent == behaviour.after):
                return True
        self.leave()
        reason = finish_reason(self._question, self.sent)
        end = self._writer.end(reason, self.sent, self._question.include_usage)
        if behaviour.fault == "no_end":
            self._transport.write(next(end))
            self._transport.close()
        else:
            self._transport.write(b"".join(end))
        self._on_end()
        return False

    def leave(self) -> None:
        if self._ticker is not None:
            self._ticker.leave(self)

    def _strike(self, fault: str) -> None:
        self.leave()
        if fault == "stall":
            self.stalled = True
            return
        if fault == "error_event":
            error = failure(500, "Internal server error", "InternalServerError")
            self._transport.write(event(error) + b"e\r\ndata: [DONE]\n\n\r\n" + LAST_CHUNK)
        else:
            self._transport.close()
        self._on_end()
