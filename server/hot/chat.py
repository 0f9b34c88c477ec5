"""The hot path: chat completions and their siblings, raw ASGI, the engine's bytes handed on one to one.

Life of a request: method and key, the body (`Link.body`), its rewriting (`rewrite`), a place (`admission`), its media
(`MediaLoader`), an engine (`Pool.ask`), then either one tidied JSON answer or a stream (`Unbroken`). A request that
waits for nothing but its whole answer takes the same steps without a task (`AtOnce`). The engine's first event is
awaited before the status line goes out, so that a failed engine is a 5xx and not a 200. One watcher a request cuts the
engine off the moment the client leaves, streaming or not.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import orjson

from server.callers.admission import Visit
from server.callers.auth import check_model
from server.callers.gate import Gate
from server.callers.keys import Caller
from server.callers.weighing import parts_tokens
from server.edge.body import ClientLeft, check_length
from server.edge.departure import Departure
from server.edge.http import Link
from server.engines.answer import Answer
from server.engines.pool import Errand, Pool
from server.engines.work import PLAIN, Work
from server.errors import GatewayError, InternalError, MethodNotAllowed, MissingField, UnsupportedContentType
from server.exchange import LEFT, Exchange
from server.hot import rewrite
from server.hot.at_once import AtOnce
from server.hot.counting import Tally, usage_in
from server.hot.rewrite import MediaPart, Prepared, Source
from server.hot.unbroken import Unbroken
from server.media.view import Clip, View
from server.protocol import engine_error, error_event, first_event_error
from server.seeing import metrics, stages
from server.settings import Settings

log = logging.getLogger(__name__)

FORMS: dict[str, rewrite.Form] = {
    "/v1/chat/completions": rewrite.CHAT,
    "/v1/completions": rewrite.COMPLETION,
    "/v1/responses": rewrite.RESPONSE,
    "/tokenize": rewrite.TOKENIZE,
    "/detokenize": rewrite.DETOKENIZE,
}
"""Path -> how its body is read. The same path is asked of the engine."""

SCOPES = {path: path.removeprefix("/v1/").partition("/")[0] for path in FORMS} | dict.fromkeys(
    ("/tokenize", "/detokenize"), "tokenize"
)
"""Path -> the task that a key must be for."""

JSON_HEAD = b"content-type: application/json\r\nx-request-id: %b\r\n%b"
STREAM_HEAD = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-accel-buffering: no\r\n"  # nginx would otherwise collect the stream
    b"x-request-id: %b\r\n%b"
)


class Loader(Protocol):
    """What the hot path needs of `MediaLoader`."""

    async def load_image(
        self, source: Source, *, param: str, max_pixels: int | None = None, by_file: bool = False
    ) -> View:
        """See `MediaLoader.load_image`."""

    async def load_clip(self, source: Source | list[Source], *, param: str) -> Clip:
        """See `MediaLoader.load_clip`."""


class Chat:
    """Serves `FORMS`."""

    def __init__(self, settings: Settings, pool: Pool, media: Loader, gate: Gate, departure: Departure) -> None:
        self._settings = settings
        self.pool = pool
        self._media = media
        self.gate = gate
        self.departure = departure

    def serves(self, path: str) -> bool:
        """See `HotPath.serves`."""
        return path in FORMS

    def at_once(self, link: Link, exchange: Exchange, finish: Callable[[Exchange], None]) -> bool:
        """See `HotPath.at_once`."""
        exchange.route = exchange.path
        return AtOnce(self, link, exchange, finish).begin()

    async def serve(self, link: Link, exchange: Exchange) -> None:
        """See `HotPath.serve`."""
        exchange.route = exchange.path
        try:
            await self._serve(link, exchange)
        except Exception as failure:
            self.fail(link, exchange, failure)
        finally:
            link.forget()

    def fail(self, link: Link, exchange: Exchange, failure: Exception) -> None:
        """Tell the client what went wrong, as far as that can still be told."""
        if isinstance(failure, ClientLeft):
            exchange.status = LEFT
            return
        if not isinstance(failure, GatewayError):
            log.error("request %s failed", exchange.id.decode(), exc_info=failure)
            if exchange.status:
                link.cut()
                return
            failure = InternalError("the server made a mistake; its log has the request id")
        if exchange.status:
            link.end(error_event(failure))
        else:
            _refuse(link, exchange, failure)

    def caller(self, exchange: Exchange) -> Caller:
        """Who asks, if the request's head is in order. Raises what is wrong with it."""
        if exchange.method != "POST":
            raise MethodNotAllowed(f"{exchange.path} takes POST, not {exchange.method}", headers={"allow": "POST"})
        caller = self.gate.caller(exchange, SCOPES[exchange.path])
        check_length(exchange.headers, self._settings.max_body_bytes)
        content_type = exchange.headers.get(b"content-type", b"application/json")
        if b"json" not in content_type.lower():
            raise UnsupportedContentType(
                f"content-type is {content_type.decode('latin-1')[:100]}; it must be application/json",
                param="content-type",
            )
        return caller

    async def _serve(self, link: Link, exchange: Exchange) -> None:
        settings = self._settings
        caller = self.caller(exchange)
        visit = self.gate.at_once(exchange, caller) or await self.gate.arrive(exchange, caller)
        handed: list[View] = []
        try:
            raw = await link.body(settings.max_body_bytes, settings.body_timeout_s)
            visit.settle(len(raw))
            await self.watched(link, self._answer(raw, link, exchange, visit, handed))
        finally:
            visit.leave()
            for view in handed:
                view.release()

    async def watched(self, link: Link, work: Coroutine[Any, Any, None]) -> None:
        """Do it, unless the client leaves, or the server: raises ClientLeft, Leaving."""
        task = asyncio.current_task()
        assert task is not None
        link.watch(task.cancel)
        try:
            await work
        except asyncio.CancelledError:
            if link.left:
                task.uncancel()
                raise ClientLeft from None
            if self.departure.over:
                task.uncancel()
                raise self.departure.failure() from None
            raise

    def prepared(self, raw: bytearray, exchange: Exchange, caller: Caller) -> tuple[Prepared, str | None]:
        """What the body asks for, and of which model."""
        prepared = rewrite.rewritten(raw, FORMS[exchange.path], self._settings)
        model = self._resolve_model(prepared, caller)
        exchange.model = model or ""
        return prepared, model

    def notes(self, exchange: Exchange, prepared: Prepared) -> bytes:
        """Header lines that say what was done to a request; counts it."""
        return _notes(exchange.path, prepared)

    async def _answer(self, raw: bytearray, link: Link, exchange: Exchange, visit: Visit, handed: list[View]) -> None:
        """`handed` gets what engines were handed by file, to be taken back."""
        caller = visit.caller
        prepared, model = self.prepared(raw, exchange, caller)
        notes = self.notes(exchange, prepared)
        visual_tokens = parts_tokens(prepared.media, self._settings) if prepared.media else 0
        if not self.gate.admits(exchange, visit, visual_tokens):
            await self.gate.admit(exchange, visit, visual_tokens)
        if exchange.quota is not None:
            notes += _header_lines(exchange.quota.headers())
        work = PLAIN
        if prepared.media:
            sizes, work = await self._load_media(exchange.path, prepared.media, handed)
            notes += b"x-model-input-size: %b\r\n" % sizes
            exchange.visual_tokens = work.visual_tokens
        asks_usage = bool(caller.cache_salt) and _ask_usage(prepared, FORMS[exchange.path])
        payload = self.payload(exchange, prepared, raw, caller, asks_usage=asks_usage)
        errand = Errand("POST", exchange.path, payload, self.headers(exchange), model, work)
        asked_s = time.perf_counter()
        answer = await self.pool.ask_for(errand)
        try:
            await self.deliver(answer, errand, prepared, link, exchange, notes, hide_usage=asks_usage)
        finally:
            answer.close()
            stages.add("engine", asked_s, time.perf_counter())

    def payload(
        self, exchange: Exchange, prepared: Prepared, raw: bytearray, caller: Caller, *, asks_usage: bool
    ) -> bytes:
        """The body for the engine."""
        salt = caller.cache_salt if FORMS[exchange.path].is_cached else ""
        return _payload(prepared, raw, salt, asks_usage=asks_usage)

    def headers(self, exchange: Exchange) -> bytes:
        """Header lines for the engine."""
        return b"content-type: application/json\r\nx-request-id: %b\r\n" % exchange.id + exchange.trace_head()

    async def deliver(
        self,
        answer: Answer,
        errand: Errand,
        prepared: Prepared,
        link: Link,
        exchange: Exchange,
        notes: bytes,
        *,
        hide_usage: bool = False,
    ) -> None:
        """Hand on what an engine answers, streamed or whole."""
        if answer.status == 200 and answer.is_stream:
            tally = exchange.tally = Tally(hide_usage=hide_usage)
            unbroken = Unbroken(self.pool, errand, prepared.body, link, tally, self._settings.engine_wait_s)
            await _stream(answer, unbroken, link, exchange, notes, *FORMS[exchange.path].text_fields[:1])
        else:
            self.tell(answer, prepared, link, exchange, notes)

    def tell(self, answer: Answer, prepared: Prepared, link: Link, exchange: Exchange, notes: bytes) -> None:
        """Hand on a whole answer. Raises the error that it is."""
        form, body = FORMS[exchange.path], answer.body()
        if answer.status != 200:
            raise engine_error(answer.status, body, *form.text_fields[:1])
        if form.tidy is not None:
            body = form.tidy(body, prepared.body)
        exchange.count(*(usage_in(body) or (0, 0)))
        exchange.begin(200)
        link.answer(200, JSON_HEAD % (exchange.id, notes), body)

    def _resolve_model(self, prepared: Prepared, caller: Caller) -> str | None:
        name = prepared.body.get("model")
        if name is None:
            if caller.models is not None:
                raise MissingField("model is missing; the key is not for all models", param="model")
            return None
        model = self.pool.resolve(name)
        if caller.models is not None:
            check_model(caller, name, model)
        if model != name:
            prepared.body["model"] = model
            prepared.changed = True
        return model

    async def _load_media(self, path: str, parts: list[MediaPart], handed: list[View]) -> tuple[bytes, Work]:
        """Load and put every part; the sizes that the model is shown, for the caller to scale coordinates by."""
        started_s = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._load(part, handed)) for part in parts]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the first one cut the others off
        shown = [task.result() for task in tasks]
        for part, view in zip(parts, shown, strict=True):
            part.put(view.url)
            metrics.VISUAL_TOKENS.add((path,), view.visual_tokens)
        metrics.MEDIA_S.observe(path, time.perf_counter() - started_s)
        return ",".join(f"{view.shown_wh[0]}x{view.shown_wh[1]}" for view in shown).encode(), Work.of(shown)

    async def _load(self, part: MediaPart, handed: list[View]) -> View | Clip:
        if part.kind == "video":
            return await self._media.load_clip(part.source, param=part.param)
        assert not isinstance(part.source, list)
        view = await self._media.load_image(part.source, param=part.param, max_pixels=part.max_pixels, by_file=True)
        handed.append(view)
        return view


def _ask_usage(prepared: Prepared, form: rewrite.Form) -> bool:
    """Whether to ask for the usage of a stream whose client did not: a key's tokens are counted."""
    if not prepared.stream or not form.is_counted:
        return False
    options = prepared.body.get("stream_options") or {}
    return options.get("include_usage") is not True


def _payload(prepared: Prepared, raw: bytearray, salt: str, *, asks_usage: bool) -> bytes:
    """The body for the engine, with the caller's `cache_salt`. What is added to one that is as it came is written into
    its bytes: that spares a whole request its encoding.

    >>> _payload(Prepared({"n": 1}, stream=True), bytearray(b' {"n":1}'), "s", asks_usage=True)
    b'{"cache_salt":"s","stream_options":{"include_usage":true},"n":1}'
    """
    body = prepared.body
    if prepared.changed or (asks_usage and "stream_options" in body):
        if salt:
            body["cache_salt"] = salt
        if asks_usage:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return orjson.dumps(body)
    if not salt:
        return bytes(raw)
    usage = b'"stream_options":{"include_usage":true},' if asks_usage else b""
    return b'{"cache_salt":"%b",%b%b' % (salt.encode(), usage, bytes(raw[raw.index(b"{") + 1 :]))


def _header_lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")


def _notes(path: str, prepared: Prepared) -> bytes:
    """Header lines that say what was done to the request."""
    notes = b""
    if prepared.stripped:
        metrics.STRIPPED.add((path,), len(prepared.stripped))
        notes += b"x-stripped-fields: %b\r\n" % ",".join(sorted(prepared.stripped)).encode()
    if prepared.neutralised:
        notes += b"x-neutralised-tokens: %d\r\n" % prepared.neutralised
    return notes


async def _stream(
    answer: Answer, unbroken: Unbroken, link: Link, exchange: Exchange, notes: bytes, prompt: str = "messages"
) -> None:
    failure = first_event_error(answer.body(), prompt)
    if failure is not None:
        raise failure
    exchange.begin(200)
    link.start(STREAM_HEAD % (exchange.id, notes))
    await unbroken.run(answer)


def _refuse(link: Link, exchange: Exchange, failure: GatewayError) -> None:
    exchange.code = failure.code
    exchange.begin(failure.status)
    limits = exchange.quota.headers() if exchange.quota is not None else {}
    head = JSON_HEAD % (exchange.id, _header_lines({**limits, **failure.headers}))
    link.answer(failure.status, head, orjson.dumps(failure.body()))


def openapi_paths() -> dict[str, Any]:
    """The paths of `FORMS` as OpenAPI has them: the fields that must be there; the others are OpenAI's and vLLM's.

    >>> sorted(openapi_paths())[:2]
    ['/detokenize', '/tokenize']
    """
    return {
        path: {
            "post": {
                "tags": ["openai"],
                "summary": path.removeprefix("/v1").strip("/").replace("/", " "),
                "operationId": path.removeprefix("/v1").strip("/").replace("/", "_"),
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": list(form.required),
                                "properties": {name: {} for name in (*form.required, *form.checks)},
                                "additionalProperties": True,
                            }
                        }
                    },
                },
                "responses": {
                    "200": {"description": "The answer; server-sent events where `stream` is true."},
                    "default": {"description": "OpenAI's error object."},
                },
            }
        }
        for path, form in FORMS.items()
    }
