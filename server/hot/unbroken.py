"""A stream that survives its engine: what it broke off at, another one goes on from, and the client sees one answer.

The first engine's bytes go out untouched (`Pump`). A second one's events are given the first one's id, time and name,
and its usage counts what was already said as said, not as prompt (`Splice`).
"""

from functools import partial
from typing import Any

import orjson

from server.edge.http import Link
from server.engines.answer import Answer
from server.engines.pool import Errand, Pool
from server.errors import GatewayError, RequestTimeout
from server.hot.counting import Tally
from server.hot.pump import Pump
from server.hot.resume import (
    COMPLETION,
    MOST_CUTS,
    MOST_STILL,
    Said,
    continued,
    count_tokens,
    most_tokens,
    not_resumed,
    patiently,
    whole,
    why_not,
)
from server.protocol import engine_error, error_event
from server.seeing import metrics

DONE = b"data: [DONE]\n\n"


class Splice(Pump):
    """Goes on with a stream that another engine began."""

    __slots__ = ("_begun", "_envelope", "_finished", "_tokens")

    def __init__(self, answer: Answer, link: Link, said: Said, tally: Tally, tokens: int) -> None:
        """`tokens`: of what is said. A stream that has its finish_reason only lacks its usage."""
        super().__init__(answer, link, said, tally)
        self._plain = None
        self._tokens = tokens
        self._envelope = said.envelope
        self._begun = bool(said.envelope)
        self._finished = said.finish_reason

    def translate(self, data: bytes) -> bytes:
        """See `Pump.translate`."""
        return b"".join(event + b"\n\n" for event in map(self._event, data.split(b"\n\n")) if event)

    def _event(self, event: bytes) -> bytes:
        if not event.startswith(b"data: {"):
            return event
        chunk: dict[str, Any] = orjson.loads(event[6:])
        chunk |= self._envelope
        if chunk.get("usage"):
            if self._finished:  # the one token that was asked for to learn it is not the client's
                chunk["usage"]["completion_tokens"] = int(self._finished == "stop")
            chunk["usage"] = whole(chunk["usage"], self._tokens)
        if chunk.get("choices") and (self._finished or not self._is_news(chunk["choices"][0])):
            return b""
        return b"data: " + orjson.dumps(chunk)

    def _is_news(self, choice: dict[str, Any]) -> bool:
        """Whether the client has not been told: who speaks, it knows."""
        delta = choice.get("delta")
        if not self._begun or delta is None or delta.pop("role", None) is None:
            return True
        return bool(delta.get("content") or choice.get("finish_reason"))


class Unbroken:
    """One stream, for as long as there is an engine to go on with it."""

    def __init__(
        self, pool: Pool, asked: Errand, body: dict[str, Any], link: Link, tally: Tally, wait_s: float
    ) -> None:
        """`body` is `asked.body`, parsed; `tally` counts what goes out.

        `wait_s`: how long to wait for an engine that is ready.
        """
        self._pool = pool
        self._asked = asked
        self._link = link
        self._tally = tally
        self._wait_s = wait_s
        self._why_not = why_not(asked.path, body)
        self._wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._said = None if self._why_not else Said()
        self._last = ""

    async def run(self, answer: Answer) -> None:
        """Hand `answer` to the client, and what follows it should it break off. Closes it."""
        answer.may_move = self._said is not None
        self._last = answer.origin
        pump = Pump(answer, self._link, self._said, self._tally)
        failure = await self._piped(answer, pump)
        if failure is None:
            return
        if not isinstance(failure, RequestTimeout):
            if self._said is None:
                failure = not_resumed(failure, self._why_not)
            else:
                failure = await self._go_on(failure, self._said)
            metrics.CUT.add(("resumed" if failure is None else "ended",))
        if isinstance(failure, RequestTimeout):
            self._link.cut()  # the client reads nothing, so there is no way to tell it
        elif failure is not None:
            self._link.end(error_event(failure))

    async def _piped(self, answer: Answer, pump: Pump) -> GatewayError | None:
        """What cut the answer; None if it came to its end."""
        try:
            answer.pipe(pump)
            await pump.done
        finally:
            answer.close()
        return pump.failure

    async def _go_on(self, failure: GatewayError, said: Said) -> GatewayError | None:
        """Until the answer is whole: None then, else why it is not."""
        still, length = 0, 0
        for _ in range(MOST_CUTS):
            said.read()
            still = 0 if len(said.text) > length else still + 1
            length = len(said.text)
            if said.problem:
                return not_resumed(failure, said.problem)
            if still >= MOST_STILL:
                return not_resumed(failure, f"{MOST_STILL} broke off at it without a word")
            try:
                next_failure = await patiently(self._wait_s, partial(self._taken_up, said))
            except GatewayError as exc:
                return not_resumed(failure, exc.message)
            if next_failure is None or isinstance(next_failure, RequestTimeout):
                return next_failure
            failure = next_failure
        return not_resumed(failure, f"{MOST_CUTS} broke off at it")

    async def _taken_up(self, said: Said) -> GatewayError | None:
        """One engine more: None if it came to the end, else what cut it. Raises GatewayError if none can be asked."""
        asked = self._asked
        tokens = await count_tokens(self._pool, asked.model, said.text, said.chunks, self._last)
        most = most_tokens(asked.body)
        if said.finish_reason is None and most is not None and tokens >= most:
            self._finish(said, "length")
        if said.finish_reason is not None and not self._wants_usage:
            self._link.end(DONE)
            return None
        payload = continued(asked.body, said.text, tokens)
        if said.finish_reason is not None:
            payload = orjson.dumps({**orjson.loads(payload), "max_tokens": 1, "max_completion_tokens": None})
        answer = await self._pool.ask(
            "POST", asked.path, payload, asked.headers, asked.model, asked.work, last=self._last
        )
        self._last = answer.origin
        if answer.status != 200 or not answer.is_stream:
            failure = engine_error(answer.status, answer.body())
            answer.close()
            raise failure
        answer.may_move = True
        return await self._piped(answer, Splice(answer, self._link, said, self._tally, tokens))

    def _finish(self, said: Said, reason: str) -> None:
        """All of it was said but the word that it is over."""
        nothing: dict[str, Any] = {"text": ""} if self._asked.path == COMPLETION else {"delta": {}}
        choice = {"index": 0, **nothing, "logprobs": None, "finish_reason": reason}
        event = b"data: " + orjson.dumps({**said.envelope, "choices": [choice]}) + b"\n\n"
        said.add(event)
        said.read()
        self._link.write(self._tally.feed(event))
