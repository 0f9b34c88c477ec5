"""Every way a request can fail, and what its caller is told.

    GatewayError
    ├── CallerError                 4xx, the caller's move
    │   ├── MalformedRequest        400 malformed_request
    │   ├── InvalidJSON             400 invalid_json
    │   ├── InvalidValue            400 invalid_value, unknown_parameter, context_length_exceeded,
    │   │                               idempotency_key_reused
    │   ├── MissingField            400 missing_required_parameter
    │   ├── LimitExceeded           400 limit_exceeded
    │   ├── UrlForbidden            400 url_forbidden
    │   ├── UrlUnreachable          400 url_unreachable
    │   ├── MediaUnreadable         400 image_unreadable, video_unreadable, document_unreadable
    │   ├── MediaUnsupported        400 image_unsupported, video_unsupported, document_unsupported
    │   ├── MediaTooLarge           413 image_too_large, video_too_large, document_too_large
    │   ├── AuthenticationFailed    401 invalid_api_key
    │   ├── PermissionDenied        403 permission_denied
    │   ├── NotFound                404 not_found
    │   ├── ModelNotFound           404 model_not_found
    │   ├── MethodNotAllowed        405 method_not_allowed
    │   ├── RequestTimeout          408 request_timeout
    │   ├── BodyTooLarge            413 request_too_large
    │   ├── UnsupportedContentType  415 unsupported_content_type
    │   ├── RateLimited             429 rate_limit_exceeded
    │   └── HeadersTooLarge         431 headers_too_large
    └── ServerError                 5xx, ours or the engine's
        ├── InternalError           500 internal_error
        ├── AnswerUnreadable        502 answer_unreadable, action_impossible
        ├── EngineFailed            502 engine_failed
        ├── Overloaded              503 overloaded
        ├── EngineUnavailable       503 engine_unavailable
        ├── Leaving                 503 server_leaving
        └── EngineTimeout           504 engine_timeout

Foreign exceptions are turned into one of these where they enter; `body()` is the only shape a client sees.
A message names the field, the limit and the value; it never holds a key, a URL's query or a picture.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

LONGEST_QUOTE = 80
"""Characters of a caller's value that a message repeats."""


def field_path(steps: Sequence[int | str], given: Any) -> str:
    """A field's path as callers write it, from pydantic's `loc` and what it was given: where a field may be one of
    several types, `loc` names the type that was tried, which is no part of the path.

    >>> field_path(("pages", 1, "str"), {"pages": ["a", 5]}), field_path(("image", "Part", "url"), {"image": {}})
    ('pages[1]', 'image.url')
    """
    path = ""
    for at, step in enumerate(steps):
        if isinstance(step, int):
            path += f"[{step}]"
            given = given[step] if isinstance(given, list) and step < len(given) else None
        elif isinstance(given, Mapping) and (step in given or at == len(steps) - 1):
            path += f".{step}"
            given = given.get(step)
    return path.lstrip(".")


def quoted(value: object) -> str:
    """A caller's value for a message, cut short: what is sent must not come back whole.

    >>> quoted("xml"), len(quoted("x" * 5000))
    ("'xml'", 84)
    """
    text = repr(value)
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]} ..."


class GatewayError(Exception):
    """The base: something a client can be told about.

    >>> LimitExceeded("n", value=500, limit=16).body()["error"]["message"]
    'n is 500; the limit is 16'
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = dict(headers or {})
        self.details = dict(details or {})
        if code is not None:
            self.code = code

    def body(self) -> dict[str, Any]:
        """OpenAI's error object; `details` (a limit, a value, the raw answer) stand beside its four fields."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**self.details, **error}}


class CallerError(GatewayError):
    """The request is at fault; sending it again unchanged will fail again (429 and 408 excepted)."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class MalformedRequest(CallerError):
    """The bytes are not HTTP."""

    code = "malformed_request"


class InvalidJSON(CallerError):
    """The body is not JSON, is nested too deep, or is not an object."""

    code = "invalid_json"


class InvalidValue(CallerError):
    """A field has a type or a value that it cannot have."""

    code = "invalid_value"


class MissingField(CallerError):
    """A field that has no default was left out."""

    code = "missing_required_parameter"


class LimitExceeded(CallerError):
    """A number in the request is above a limit that this server sets.

    >>> LimitExceeded("max_tokens", value=9, limit=8, hint="raise --max-tokens-limit").message
    'max_tokens is 9; the limit is 8 (raise --max-tokens-limit)'
    """

    code = "limit_exceeded"

    def __init__(
        self,
        param: str,
        *,
        value: float,
        limit: float,
        unit: str = "",
        hint: str | None = None,
        code: str | None = None,
        what: str | None = None,
    ) -> None:
        unit = f" {unit}" if unit else ""
        hint = f" ({hint})" if hint else ""
        super().__init__(
            f"{what or param} is {value}{unit}; the limit is {limit}{unit}{hint}",
            param=param,
            code=code,
            details={"limit": limit, "value": value},
        )


class MediaTooLarge(LimitExceeded):
    """A picture, clip or document has more bytes, pixels, frames, seconds or pages than this server takes."""

    status = 413
    code = "image_too_large"


class BodyTooLarge(LimitExceeded):
    """The request's body is longer than this server reads."""

    status = 413
    code = "request_too_large"


class UrlForbidden(CallerError):
    """A media URL leads where this server does not fetch from: a scheme, port, host or address."""

    code = "url_forbidden"


class UrlUnreachable(CallerError):
    """A media URL is allowed but gave no file: name unknown, refused, timed out, a 4xx or 5xx answer."""

    code = "url_unreachable"


class MediaUnreadable(CallerError):
    """The bytes are not a picture, clip or document that can be decoded."""

    code = "image_unreadable"


class MediaUnsupported(CallerError):
    """The bytes are of a known kind that this server does not take."""

    code = "image_unsupported"


class AuthenticationFailed(CallerError):
    """No key, or one that this server does not know."""

    status = 401
    code = "invalid_api_key"


class PermissionDenied(CallerError):
    """The key is known but may not do this."""

    status = 403
    code = "permission_denied"


class NotFound(CallerError):
    """No such path."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """No engine serves a model of that name."""

    code = "model_not_found"


class MethodNotAllowed(CallerError):
    """The path exists; this method on it does not."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(CallerError):
    """The client took too long to send its request."""

    status = 408
    code = "request_timeout"


class UnsupportedContentType(CallerError):
    """The body is declared as something that this path does not read."""

    status = 415
    code = "unsupported_content_type"


class RateLimited(CallerError):
    """This caller asked for more than its share."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class HeadersTooLarge(CallerError):
    """The request's headers are longer than this server reads."""

    status = 431
    code = "headers_too_large"


class ServerError(GatewayError):
    """Ours or the engine's failure; the same request may succeed later."""


class InternalError(ServerError):
    """A mistake of ours; the log has it under the request id."""


class AnswerUnreadable(ServerError):
    """The model answered, but not in a form that can be read; the raw text is attached as `raw`."""

    status = 502
    code = "answer_unreadable"


class EngineFailed(ServerError):
    """The engine broke off or answered with a failure of its own."""

    status = 502
    code = "engine_failed"


class Overloaded(ServerError):
    """Every place is taken and the queue is full, or the wait in it was too long."""

    status = 503
    type = "overloaded_error"
    code = "overloaded"


class EngineUnavailable(ServerError):
    """No engine is up."""

    status = 503
    code = "engine_unavailable"


class Leaving(ServerError):
    """This server is stopping; another one will answer."""

    status = 503
    code = "server_leaving"


class EngineTimeout(ServerError):
    """The engine sent nothing for longer than this server waits."""

    status = 504
    code = "engine_timeout"
