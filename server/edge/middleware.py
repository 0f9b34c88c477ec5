"""The edge of the app: gives each request an id, sends the hot paths past the framework, limits bodies, and tells who
watches (`seeing`). Pure ASGI, because Starlette's BaseHTTPMiddleware hides a client's leaving and costs 57 us a chunk.
"""

import asyncio
import contextlib
import itertools
import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol, cast

import orjson

from server.edge.asgi import AsgiLink
from server.edge.body import body_too_large, check_length
from server.edge.departure import Departure
from server.edge.http import Link
from server.errors import BodyTooLarge, GatewayError
from server.exchange import Exchange

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENT_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")  # of a caller's own x-request-id; anything else is replaced
REST_BYTES = 65536
REST_S = 1.0


class HotPath(Protocol):
    """Serves some paths without the framework."""

    def serves(self, path: str) -> bool:
        """Whether `path` is one of its own."""

    async def serve(self, link: Link, exchange: Exchange) -> None:
        """Answer; never raises GatewayError."""

    def at_once(self, link: Link, exchange: Exchange, finish: Callable[[Exchange], None]) -> bool:
        """Answer without a task, now or in a call from an engine's connection, and call `finish`.

        False if it has to be `serve` that answers: then nothing is done.
        """


class Observer(Protocol):
    """Sees every request begin and end."""

    needs_task: bool
    """Whether what it notes of a request is kept in its task's context."""

    def begin(self, exchange: Exchange) -> None:
        """Its head is here."""

    def finish(self, exchange: Exchange) -> None:
        """Its answer is out, or its client gone."""


class Edge:
    """The outermost ASGI app."""

    def __init__(
        self,
        api: ASGIApp,
        hot: HotPath,
        *,
        max_body_bytes: int,
        observer: Observer,
        departure: Departure,
        uploads: Mapping[str, int] | None = None,
    ) -> None:
        """`uploads` are paths that take more bytes than `max_body_bytes`, and how many."""
        self._departure = departure
        self._api = api
        self._hot = hot
        self._max_body_bytes = max_body_bytes
        self._uploads = uploads or {}
        self._observer = observer
        self._id_prefix = os.urandom(6).hex().encode()
        self._ids = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        exchange: Exchange = scope.get("exchange") or self._begun(scope)
        # Kept there, it would be a reference cycle: 10 us of collection a request.
        open_link = scope.pop("open_link", None)
        try:
            if not self._hot.serves(exchange.path):
                await self._serve_api(scope, receive, send, exchange)
            elif open_link is not None:
                await self._hot.serve(open_link(), exchange)
            else:  # another server's connection
                async with AsgiLink(receive, send) as link:
                    await self._hot.serve(cast(Link, link), exchange)
        finally:
            self._observer.finish(exchange)

    def at_once(self, scope: Scope) -> bool:
        """Serve a request whose body is here without a task; False if it takes one."""
        if self._observer.needs_task or not self._hot.serves(scope["path"]):
            return False
        link = scope["open_link"]()
        if self._hot.at_once(link, self._begun(scope), self._observer.finish):
            del scope["open_link"]
            return True
        return False

    def _begun(self, scope: Scope) -> Exchange:
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")
        if not request_id or not CLIENT_ID.fullmatch(request_id):
            request_id = b"%b-%x" % (self._id_prefix, next(self._ids))
        exchange = scope["exchange"] = Exchange(request_id, scope["method"], scope["path"], headers)
        self._observer.begin(exchange)
        return exchange

    async def _serve_api(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        most_bytes = self._uploads.get(exchange.path, self._max_body_bytes)
        try:
            check_length(exchange.headers, most_bytes)
        except BodyTooLarge as failure:
            await send_error(send, exchange, failure)
            return
        received = 0
        whole = False

        async def limited() -> Message:
            nonlocal received, whole
            message = await receive()
            received += len(message.get("body", b""))
            if received > most_bytes:
                raise body_too_large(received, most_bytes)
            whole = not message.get("more_body", False)
            return message

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not whole and _body_follows(exchange.headers):
                    await _read_rest(receive)
                exchange.begin(message["status"])
                message["headers"] = [*message.get("headers", []), (b"x-request-id", exchange.id)]
                if exchange.quota is not None and message["status"] != 429:  # an error has them already
                    message["headers"] += [
                        (name.encode(), text.encode()) for name, text in exchange.quota.headers().items()
                    ]
            await send(message)

        try:
            await self._api(scope, limited, noted)
        except GatewayError as failure:  # of `limited`, where the framework did not answer it
            if not exchange.status:
                await send_error(send, exchange, failure)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._departure.over or task is None:
                raise
            task.uncancel()
            if not exchange.status:
                await send_error(send, exchange, self._departure.failure())


def _body_follows(headers: dict[bytes, bytes]) -> bool:
    """Whether a client sends a body unasked."""
    announced = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    return announced and b"expect" not in headers


async def _read_rest(receive: Receive) -> None:
    """Read what is still to come of a body that nobody wants, if it is short.

    A client that sends its body after its head, as many do, would otherwise find the connection closed when it asks
    next: an answer that overtakes the body ends it (`LimitedProtocol`).
    """
    left = REST_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_S):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message["body"])


async def send_error(send: Send, exchange: Exchange, failure: GatewayError) -> None:
    """Answer with OpenAI's error object, where the framework is not reached."""
    body = orjson.dumps(failure.body())
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", exchange.id),
    ]
    exchange.code = failure.code
    exchange.begin(failure.status)
    await send({"type": "http.response.start", "status": failure.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
