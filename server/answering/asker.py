"""One question of a task to an engine: the chat request it becomes, and its answer in pieces as it is written.

The answer is always streamed, also for callers who wait for the whole: an answer that goes round is cut off at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from server.callers.auth import check_model
from server.callers.keys import ANYONE, Caller
from server.engines.answer import Answer
from server.engines.pool import Pool
from server.engines.work import Work
from server.errors import EngineFailed, EngineTimeout, GatewayError
from server.hot.control_tokens import ANY_CONTROL, Breaker
from server.hot.resume import CHAT, MOST_CUTS, MOST_STILL, continued, count_tokens, patiently, whole
from server.protocol import engine_error
from server.seeing import metrics
from server.settings import Settings
from server.tasks.confidence import Token
from server.tasks.task import Ask, TaskRequest

DEFAULT_MAX_TOKENS = 4096
"""Longest answer where neither the caller nor the task says."""
LEAST_MAX_TOKENS = 256
_TEMPLATE_TOKENS = 64


@dataclass(slots=True)
class Piece:
    """The next piece of an answer."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None


@dataclass(slots=True)
class Written:
    """What of an answer is there, and how often an engine broke off at it."""

    under_grammar: bool
    last: str
    """URL of the engine that wrote last, or broke off at another answer to the same request."""
    texts: list[str] = field(default_factory=list)
    cuts: int = 0
    _length: int = 0

    def cut(self, failure: GatewayError) -> None:
        """The engine broke off. Raises the failure if no other one can go on."""
        self.cuts += 1
        is_still, self._length = len(self.texts) == self._length, len(self.texts)
        if self.under_grammar or self.cuts >= MOST_CUTS or (is_still and self.cuts >= MOST_STILL):
            metrics.CUT.add(("ended",))
            raise failure
        metrics.CUT.add(("resumed",))


class Models(Protocol):
    """Who knows what is served."""

    def models(self) -> list[dict[str, Any]]:
        """The cards of all served models, the first of them the one that is asked when none is named."""

    def resolve(self, name: str) -> str:
        """The served model that a name stands for. Raises ModelNotFound, EngineUnavailable."""


class Asking:
    """What a question becomes, whoever is asked it."""

    def __init__(self, served: Models, settings: Settings, caller: Caller = ANYONE) -> None:
        self._served, self._settings, self._caller = served, settings, caller

    def model(self, name: str | None) -> str:
        """The served model for a request's `model`; without one the first that the caller may ask.

        Raises ModelNotFound, EngineUnavailable, PermissionDenied.
        """
        if name is None:
            cards = self._served.models()
            names = [str(card["id"]) for card in cards]
            name = next((each for each in names if self._caller.models is None or each in self._caller.models), None)
            name = name or (names[0] if names else "")
        model = self._served.resolve(name)
        check_model(self._caller, name, model)
        return model

    def body(
        self, ask: Ask, request: TaskRequest, model: str, visual_tokens: int, temperature: float | None = None
    ) -> dict[str, Any]:
        """The chat request."""
        breaker = Breaker(ANY_CONTROL)  # a label must not end the user's turn
        messages = breaker.broken(ask.messages)
        options = breaker.broken(ask.options)
        most = request.max_tokens or self._most_tokens(messages, options.pop("max_tokens", None), model, visual_tokens)
        body = {
            "model": model,
            "messages": messages,
            "temperature": request.temperature if temperature is None else temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            **options,
        }
        if self._caller.cache_salt:
            body["cache_salt"] = self._caller.cache_salt
        if most is not None:
            body["max_tokens"] = most
        if request.seed is not None:
            body["seed"] = request.seed
        return body

    def _most_tokens(
        self, messages: list[dict[str, Any]], wanted: int | None, model: str, visual_tokens: int
    ) -> int | None:
        """What the task wants, as far as the model's context leaves room; None lets the engine give what is left."""
        wanted = min(wanted or DEFAULT_MAX_TOKENS, self._settings.max_tokens_limit)
        card = next((card for card in self._served.models() if card["id"] == model), {})
        longest = card.get("max_model_len")
        if not isinstance(longest, int):
            return wanted
        room = longest - visual_tokens - _words_tokens(messages) - _TEMPLATE_TOKENS
        return min(wanted, room) if room >= LEAST_MAX_TOKENS else None


class Asker(Asking):
    """Asks the engines on behalf of one request."""

    def __init__(
        self, pool: Pool, settings: Settings, request_id: bytes, caller: Caller = ANYONE, trace_head: bytes = b""
    ) -> None:
        """`trace_head`: header lines that tell an engine which trace the request is part of."""
        super().__init__(pool, settings, caller)
        self._pool = pool
        self._lost = ""
        """URL of the engine that broke off last."""
        self._headers = b"content-type: application/json\r\nx-request-id: %b\r\n%b" % (request_id, trace_head)

    async def pieces(
        self, ask: Ask, request: TaskRequest, model: str, *, work: Work, temperature: float | None = None
    ) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece. Closing the iterator aborts the generation.

        When the engine breaks off, another one goes on where it stopped, unless a grammar is in force. Raises what the
        engines raise: EngineUnavailable, EngineFailed, EngineTimeout, Overloaded, InvalidValue.
        """
        body = self.body(ask, request, model, work.visual_tokens, temperature)
        payload, written = orjson.dumps(body), Written("response_format" in body, self._lost)
        while True:
            try:
                async with contextlib.aclosing(self._written(payload, model, work, written)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except (EngineFailed, EngineTimeout) as failure:
                self._lost = written.last
                written.cut(failure)

    async def _written(self, payload: bytes, model: str, work: Work, written: "Written") -> AsyncGenerator[Piece, None]:
        """What one engine writes, beginning where the last one broke off."""
        text = "".join(written.texts)

        async def ask() -> tuple[int, Answer]:
            tokens = await count_tokens(self._pool, model, text, len(written.texts), written.last)
            asked = continued(payload, text, tokens) if text else payload
            return tokens, await self._pool.ask("POST", CHAT, asked, self._headers, model, work, last=written.last)

        tokens, answer = await patiently(self._settings.engine_wait_s if written.cuts else 0, ask)
        written.last, answer.may_move = answer.origin, not written.under_grammar
        try:
            if answer.status != 200:
                raise engine_error(answer.status, answer.body())
            events = Events()
            answer.pipe(events)
            async for event in events:
                piece = _piece(event)
                if piece.usage is not None:
                    piece.usage = whole(piece.usage, tokens)
                if piece.text:
                    written.texts.append(piece.text)
                yield piece
        finally:
            answer.close()


class Events:
    """A Sink for an engine's server-sent events; iterate over it to get their JSON."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any] | GatewayError | None] = asyncio.Queue()
        self._rest = b""
        self._done = False

    def feed(self, data: bytes) -> None:
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            for line in event.split(b"\n"):
                if line.startswith(b"data:"):
                    self._event(line[5:].strip())

    def end(self, failure: GatewayError | None) -> None:
        if failure is None and not self._done:
            failure = EngineFailed("the engine's answer broke off")
        self._queue.put_nowait(None if self._done else failure)

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        with contextlib.suppress(orjson.JSONDecodeError):
            event = orjson.loads(data)
            if isinstance(event, dict):
                self._queue.put_nowait(_failure(event) if "error" in event or event.get("object") == "error" else event)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while (event := await self._queue.get()) is not None:
            if isinstance(event, GatewayError):
                raise event
            yield event


def _failure(event: dict[str, Any]) -> GatewayError:
    error = event.get("error", event)
    code = error.get("code") if isinstance(error, dict) else None
    return engine_error(code if isinstance(code, int) else 500, orjson.dumps(event))


def _piece(event: dict[str, Any]) -> Piece:
    piece = Piece(usage=event.get("usage"))
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        piece.text = delta.get("content") or ""
        piece.finish_reason = choice.get("finish_reason")
        logprobs = (choice.get("logprobs") or {}).get("content") or []
        tokens = [Token(str(each.get("token", "")), float(each["logprob"])) for each in logprobs]
        piece.tokens = fitting(piece.text, tokens)
    return piece


def fitting(text: str, tokens: list[Token]) -> list[Token]:
    """A piece's tokens; one for all where their texts do not add up to the piece's.

    >>> fitting("ab", [Token("a", -1), Token("b", -3)]), fitting("é", [Token("?", -1), Token("?", -3)])
    ([Token(text='a', logprob=-1), Token(text='b', logprob=-3)], [Token(text='é', logprob=-2.0)])
    """
    if not tokens or "".join(token.text for token in tokens) == text:
        return tokens
    return [Token(text, sum(token.logprob for token in tokens) / len(tokens))]


def _words_tokens(messages: list[dict[str, Any]]) -> int:
    """A generous guess at the tokens of all text in messages: half its bytes."""
    size = 0
    for message in messages:
        content = message["content"]
        parts = [{"text": content}] if isinstance(content, str) else content
        size += sum(len(part.get("text", "").encode()) for part in parts)
    return size // 2
