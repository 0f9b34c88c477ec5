"""Every way a call can fail.

QwenVLError
├── ConnectionFailedError     no answer: refused, reset, name unknown
│   └── TimedOutError         no answer within `timeout_s`
├── StreamBrokenError         a stream that ended before its result
└── StatusError               the server refused or failed; `request_id`, `code`, `param`, `message`
    ├── BadRequestError       400  a field has a value that it cannot have; `limit` and `value` at a limit
    ├── AuthenticationError   401
    ├── PermissionDeniedError 403
    ├── NotFoundError         404  a model or path that there is not
    ├── MethodNotAllowedError 405
    ├── RequestTimeoutError   408
    ├── TooLargeError         413  bytes, pixels, frames, seconds or pages; `limit` and `value`
    ├── UnsupportedTypeError  415
    ├── RateLimitError        429  `retry_after_s`
    ├── HeadersTooLargeError  431
    ├── InternalServerError   500
    ├── EngineFailedError     502
    │   └── AnswerUnreadableError  the model answered, but nobody can read it; `raw` is what it wrote
    ├── UnavailableError      503  overloaded or no engine; `retry_after_s`
    └── EngineTimeoutError    504
"""

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

UNREADABLE_CODES = frozenset({"answer_unreadable", "action_impossible"})


class QwenVLError(Exception):
    """The base of all."""


class ConnectionFailedError(QwenVLError):
    """No answer came."""


class TimedOutError(ConnectionFailedError):
    """No answer came in time."""


class StreamBrokenError(QwenVLError):
    """A stream ended before its result."""


class UnexpectedAnswerError(QwenVLError):
    """The answer is none that a server of ours gives."""


class StatusError(QwenVLError):
    """The server's answer is an error."""

    def __init__(self, status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.message = str(error.get("message") or f"the server answered {status}")
        self.code: str | None = error.get("code")
        """A word that programs can tell errors apart by: `image_too_large`."""
        self.type: str | None = error.get("type")
        self.param: str | None = error.get("param")
        """The field at fault."""
        self.limit: float | None = error.get("limit")
        self.value: float | None = error.get("value")
        self.error = dict(error)
        """All that the server said."""
        headers = headers or {}
        self.request_id: str | None = headers.get("x-request-id")
        """What the server's log knows this request by."""
        self.retry_after_s = retry_after_s(headers)
        told = f"{self.message} (status {status}, {self.code or 'no code'}"
        super().__init__(f"{told}, request {self.request_id})" if self.request_id else f"{told})")


class BadRequestError(StatusError):
    """400: a field has a value that it cannot have."""


class AuthenticationError(StatusError):
    """401: no key, or one that the server does not know."""


class PermissionDeniedError(StatusError):
    """403: the key may not do this."""


class NotFoundError(StatusError):
    """404: no such model or path."""


class MethodNotAllowedError(StatusError):
    """405."""


class RequestTimeoutError(StatusError):
    """408: the server waited too long for the request."""


class TooLargeError(StatusError):
    """413: more bytes, pixels, frames, seconds or pages than the server takes."""


class UnsupportedTypeError(StatusError):
    """415: the body is declared as something that the path does not read."""


class RateLimitError(StatusError):
    """429: more than this caller's share."""


class HeadersTooLargeError(StatusError):
    """431."""


class InternalServerError(StatusError):
    """500: a mistake of the server's."""


class EngineFailedError(StatusError):
    """502: the engine broke off or failed."""


class AnswerUnreadableError(EngineFailedError):
    """502: the model answered in a form that cannot be read."""

    @property
    def raw(self) -> str:
        """What the model wrote."""
        return str(self.error.get("raw", ""))


class UnavailableError(StatusError):
    """503: overloaded, or no engine is up."""


class EngineTimeoutError(StatusError):
    """504: the engine was silent for too long."""


BY_STATUS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    408: RequestTimeoutError,
    413: TooLargeError,
    415: UnsupportedTypeError,
    429: RateLimitError,
    431: HeadersTooLargeError,
    500: InternalServerError,
    502: EngineFailedError,
    503: UnavailableError,
    504: EngineTimeoutError,
}
_STATUS_OF_TYPE = {"invalid_request_error": 400, "rate_limit_error": 429, "overloaded_error": 503}


def status_error(status: int, body: bytes, headers: Mapping[str, str]) -> StatusError:
    """The error that an answer is. One that is not ours, of a proxy on the way, is told by its status and first words.

    >>> status_error(413, b'{"error": {"message": "too big", "code": "image_too_large"}}', {})
    TooLargeError('too big (status 413, image_too_large)')
    >>> status_error(502, b"<h1>Bad Gateway</h1>", {}).message
    'the server answered 502: <h1>Bad Gateway</h1>'
    """
    try:
        error = json.loads(body)["error"]
        error = error if isinstance(error, dict) else {"message": str(error)}
    except (ValueError, KeyError, TypeError):
        words = " ".join(body[:200].decode("utf-8", "replace").split())
        error = {"message": f"the server answered {status}" + (f": {words}" if words else "")}
    return _class_of(status, error)(status, error, headers)


def stream_error(error: Mapping[str, Any], headers: Mapping[str, str]) -> StatusError:
    """The error that ended a stream: the status line was sent by then, so its kind says what it would have been."""
    status = _STATUS_OF_TYPE.get(str(error.get("type")), 502 if error.get("code") in UNREADABLE_CODES else 500)
    status = {"engine_failed": 502, "engine_timeout": 504, "engine_unavailable": 503}.get(
        str(error.get("code")), status
    )
    return _class_of(status, error)(status, error, headers)


def _class_of(status: int, error: Mapping[str, Any]) -> type[StatusError]:
    if error.get("code") in UNREADABLE_CODES:
        return AnswerUnreadableError
    return BY_STATUS.get(status, BadRequestError if 400 <= status < 500 else InternalServerError)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, from `Retry-After` as a number or a date; None if it does not say.

    >>> retry_after_s({"retry-after": "2"}), retry_after_s({"retry-after": "soon"}), retry_after_s({})
    (2.0, None, None)
    >>> retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})
    0.0
    """
    said = headers.get("retry-after")
    if said is None:
        return None
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time())
    except ValueError:
        return None
