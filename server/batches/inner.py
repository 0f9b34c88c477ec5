"""Asks the app itself, without a socket: a batch's request goes the way of every other."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from server.edge.asgi import header_lines
from server.errors import InternalError, RateLimited


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_s(self) -> float | None:
        """When it may be asked again; None if it need not be."""
        if self.status not in (RateLimited.status, HTTPStatus.SERVICE_UNAVAILABLE):
            return None
        said = self.headers.get("retry-after", "")
        return float(said) if said.isdigit() else 1.0


class App(Protocol):
    """An ASGI app, as `middleware.Edge` is."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None: ...


class InnerLink:
    """Stands where `http.Link` stands for a connection: the hot path's way back to us."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.left = False
        self.paused = False
        self.on_leave: Any = None
        self.on_pause: Any = None
        self.on_resume: Any = None
        self.reply: Reply | None = None

    def watch(self, on_leave: Callable[[], object]) -> None:
        """Nobody leaves; who asked is cancelled instead."""

    async def body(self, limit_bytes: int, timeout_s: float) -> bytearray:
        """It is all here."""
        return bytearray(self._body)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """The whole answer."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in header_lines(head)}
        self.reply = Reply(status, headers, bytes(body))

    def cut(self) -> None:
        """It broke off; `reply` stays empty."""

    def forget(self) -> None:
        """Nobody is to be called back."""


async def ask(app: App, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    """POST `body` as JSON. Raises InternalError where nothing came back."""
    link = InnerLink(body)
    sent: list[dict[str, Any]] = []
    never = asyncio.Event()
    bodies = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await never.wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    told = {"host": "batch", "content-type": "application/json", "content-length": str(len(body)), **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        "client": None,
        "server": None,
        "state": {},
        "open_link": lambda: link,
    }
    await app(scope, receive, send)
    reply = link.reply or _reply(sent)
    if reply is None:
        raise InternalError("the server made a mistake; its log has the request id")
    return reply


def _reply(sent: list[dict[str, Any]]) -> Reply | None:
    start = next((message for message in sent if message["type"] == "http.response.start"), None)
    if start is None:
        return None
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Reply(start["status"], headers, b"".join(message.get("body", b"") for message in sent))
