"""uvicorn's HTTP protocol with what it lacks: limits on a request's head in bytes and seconds, and errors as JSON."""

import asyncio

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from server.errors import CallerError, GatewayError, HeadersTooLarge, RequestTimeout
from server.settings import Settings


class MalformedRequest(CallerError):
    """The bytes are not HTTP."""

    code = "malformed_request"


def protocol_class(settings: Settings) -> type[HttpToolsProtocol]:
    """A protocol with the limits of `settings`."""

    class LimitedProtocol(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.head_bytes = 0
            self.in_head = True
            self.head_timer = self.loop.call_later(settings.body_timeout_s, self._head_took_too_long)

        def data_received(self, data: bytes) -> None:
            if self.in_head:
                self.head_bytes += len(data)
                over = self.head_bytes > settings.max_header_bytes
            else:
                over = False
            super().data_received(data)
            if over and self.in_head and not self.transport.is_closing():
                self.refuse(
                    HeadersTooLarge(
                        f"the request's head is over {settings.max_header_bytes} bytes (max_header_bytes)",
                        param="headers",
                    )
                )

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.in_head = True

        def on_headers_complete(self) -> None:
            self.in_head = False
            self.head_bytes = 0
            self.head_timer.cancel()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self.head_timer.cancel()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self.refuse(MalformedRequest("the request is not valid HTTP/1.1"))

        def _head_took_too_long(self) -> None:
            if not self.transport.is_closing():
                self.refuse(RequestTimeout(f"the request's head took longer than {settings.body_timeout_s:g} s"))

        def refuse(self, failure: GatewayError) -> None:
            """Answer without the app, and close: what follows on the connection cannot be told apart."""
            body = orjson.dumps(failure.body())
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[failure.status] + head + body)
            self.transport.close()

    return LimitedProtocol
