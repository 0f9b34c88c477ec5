"""The hot path: chat completions and their siblings, raw ASGI, the engine's bytes handed on one to one.

Life of a request: method and key, a place, the body (`asgi.read_body`), its rewriting (`rewrite`), its media
(`MediaLoader`), an engine (`Pool.ask`), then either one tidied JSON answer or a stream through a `Pump`. The engine's
first event is awaited before the status line goes out, so that a failed engine is a 5xx and not a 200. One watcher a
request cuts the engine off the moment the client leaves, streaming or not.
"""

import asyncio
import logging
import time
from typing import Protocol

import orjson

from server import metrics, rewrite
from server.admission import Admission
from server.asgi import ClientLeft, LeaveWatch, Receive, Scope, Send, read_body
from server.auth import Auth
from server.engines.pool import Pool
from server.engines.wire import Answer
from server.errors import GatewayError, InternalError, MethodNotAllowed, UnsupportedContentType
from server.media.view import Clip, View
from server.middleware import LEFT, Exchange, check_length, send_error
from server.protocol import engine_error, first_event_error, tidy
from server.pump import Pump
from server.rewrite import MediaPart, Prepared
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

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would otherwise collect the stream
]


class Loader(Protocol):
    """What the hot path needs of `MediaLoader`."""

    async def load_image(self, source: str, *, param: str, max_pixels: int | None = None) -> View:
        """See `MediaLoader.load_image`."""

    async def load_clip(self, source: str | list[str], *, param: str) -> Clip:
        """See `MediaLoader.load_clip`."""


class Chat:
    """Serves `FORMS`."""

    def __init__(self, settings: Settings, pool: Pool, media: Loader, auth: Auth, admission: Admission) -> None:
        self._settings = settings
        self._pool = pool
        self._media = media
        self._auth = auth
        self._admission = admission

    def serves(self, path: str) -> bool:
        """See `HotPath.serves`."""
        return path in FORMS

    async def serve(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        """See `HotPath.serve`."""
        exchange.route = exchange.path
        try:
            await self._serve(receive, send, exchange)
        except GatewayError as failure:
            await send_error(send, exchange, failure)
        except ClientLeft:
            exchange.status = LEFT
        except Exception:
            log.exception("request %s failed", exchange.id.decode())
            if exchange.status:
                raise  # the answer has begun; uvicorn closes the connection
            await send_error(send, exchange, InternalError("the server made a mistake; its log has the request id"))

    async def _serve(self, receive: Receive, send: Send, exchange: Exchange) -> None:
        settings = self._settings
        if exchange.method != "POST":
            raise MethodNotAllowed(f"{exchange.path} takes POST, not {exchange.method}", headers={"allow": "POST"})
        exchange.caller = self._auth.caller(exchange.headers)
        check_length(exchange.headers, settings.max_body_bytes)
        content_type = exchange.headers.get(b"content-type", b"application/json")
        if b"json" not in content_type:
            raise UnsupportedContentType(
                f"content-type is {content_type.decode('latin-1')[:100]}; it must be application/json",
                param="content-type",
            )
        self._admission.enter()
        try:
            raw = await read_body(receive, settings.max_body_bytes, settings.body_timeout_s)
            task = asyncio.current_task()
            assert task is not None
            watch = LeaveWatch(receive, task.cancel)
            try:
                await self._answer(raw, send, exchange, watch)
            except asyncio.CancelledError:
                if watch.left:
                    task.uncancel()
                    raise ClientLeft from None
                raise
            finally:
                watch.close()
        finally:
            self._admission.leave()

    async def _answer(self, raw: bytes, send: Send, exchange: Exchange, watch: LeaveWatch) -> None:
        form = FORMS[exchange.path]
        prepared = rewrite.prepare(rewrite.read_body(raw, self._settings), raw, form, self._settings)
        model = self._resolve_model(prepared)
        notes = _notes(prepared)
        if prepared.media:
            notes.append((b"x-model-input-size", await self._load_media(prepared.media)))
        payload = orjson.dumps(prepared.body) if prepared.changed else raw
        headers = [("content-type", "application/json"), ("x-request-id", exchange.id.decode())]
        if b"traceparent" in exchange.headers:
            headers.append(("traceparent", exchange.headers[b"traceparent"].decode("latin-1")))
        answer = await self._pool.ask("POST", exchange.path, payload, headers, model)
        try:
            if answer.status != 200:
                raise engine_error(answer.status, answer.body())
            if answer.is_stream:
                await _stream(answer, send, exchange, watch, notes)
            else:
                body = orjson.dumps(tidy(orjson.loads(answer.body()))) if form.tidy else answer.body()
                await _send_json(body, send, exchange, watch, notes)
        finally:
            answer.close()

    def _resolve_model(self, prepared: Prepared) -> str | None:
        name = prepared.body.get("model")
        if name is None:
            return None
        model = self._pool.resolve(name)
        if model != name:
            prepared.body["model"] = model
            prepared.changed = True
        return model

    async def _load_media(self, parts: list[MediaPart]) -> bytes:
        """Load and put every part; the sizes that the model is shown, for the caller to scale coordinates by."""
        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._load(part)) for part in parts]
        shown = [task.result() for task in tasks]
        for part, view in zip(parts, shown, strict=True):
            part.put(view.url)
            metrics.VISUAL_TOKENS.inc(view.visual_tokens)
        metrics.MEDIA_S.observe(time.perf_counter() - started_s)
        return ",".join(f"{view.shown_wh[0]}x{view.shown_wh[1]}" for view in shown).encode()

    async def _load(self, part: MediaPart) -> View | Clip:
        if part.kind == "video":
            return await self._media.load_clip(part.source, param=part.param)
        assert isinstance(part.source, str)
        return await self._media.load_image(part.source, param=part.param, max_pixels=part.max_pixels)


def _notes(prepared: Prepared) -> list[tuple[bytes, bytes]]:
    """Headers that say what was done to the request."""
    notes: list[tuple[bytes, bytes]] = []
    if prepared.stripped:
        metrics.STRIPPED.inc(len(prepared.stripped))
        notes.append((b"x-stripped-fields", ",".join(sorted(prepared.stripped)).encode()))
    if prepared.neutralised:
        notes.append((b"x-neutralised-tokens", b"%d" % prepared.neutralised))
    return notes


async def _send_json(
    body: bytes, send: Send, exchange: Exchange, watch: LeaveWatch, notes: list[tuple[bytes, bytes]]
) -> None:
    watch.close()
    exchange.status = 200
    exchange.first_byte_s = time.perf_counter()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", exchange.id),
        *notes,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(
    answer: Answer, send: Send, exchange: Exchange, watch: LeaveWatch, notes: list[tuple[bytes, bytes]]
) -> None:
    failure = first_event_error(answer.body())
    if failure is not None:
        raise failure
    exchange.status = 200
    exchange.first_byte_s = time.perf_counter()
    headers = [*STREAM_HEADERS, (b"x-request-id", exchange.id), *notes]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    pump = Pump(answer, send, watch)
    answer.pipe(pump)
    await pump.done
