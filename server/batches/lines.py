"""The lines of a batch's input file, and of its output: pure functions over bytes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from server.errors import quoted

MOST_ERRORS = 100
"""Of an input file; what comes after them is not told."""
LONGEST_CUSTOM_ID = 512


@dataclass(frozen=True, slots=True)
class Line:
    """A request in the input file: where it stands, and the caller's name for it."""

    custom_id: str
    first_byte: int
    length: int
    model: str | None


@dataclass(frozen=True, slots=True)
class LineError:
    """Why a line is none."""

    code: str
    message: str
    line: int | None
    param: str | None = None

    def card(self) -> dict[str, Any]:
        """As OpenAI has it in a batch's `errors`."""
        return {"code": self.code, "message": self.message, "line": self.line, "param": self.param}


class InputReader:
    """Reads an input file piece by piece.

    >>> reader = InputReader("/v1/chat/completions", most=10)
    >>> for piece in (b'{"custom_id": "a", "method": "POST", "url": "/v1/chat', b'/completions", "body": {}}\\n'):
    ...     reader.add(piece)
    >>> reader.end(); reader.lines, reader.errors
    ([Line(custom_id='a', first_byte=0, length=79, model=None)], [])
    """

    def __init__(self, endpoint: str, *, most: int) -> None:
        self._endpoint = endpoint
        self._most = most
        self._held = bytearray()
        self._at = 0
        self._number = 0
        self._seen: set[str] = set()
        self.lines: list[Line] = []
        self.errors: list[LineError] = []

    def add(self, piece: bytes) -> None:
        """The next bytes of the file."""
        self._held += piece
        while (end := self._held.find(b"\n")) >= 0:
            self._line(bytes(self._held[:end]))
            self._at += end + 1
            del self._held[: end + 1]

    def end(self) -> None:
        """That was all of it."""
        self._line(bytes(self._held))
        if not self.lines and not self.errors:
            self._say("empty_file", "the input file holds no requests", None)

    @property
    def is_over(self) -> bool:
        """Whether reading on would tell nothing more."""
        return len(self.errors) >= MOST_ERRORS or len(self.lines) > self._most

    def _line(self, text: bytes) -> None:
        self._number += 1
        if not text.strip() or self.is_over:
            return
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError as exc:
            self._say("invalid_json_line", f"the line is not JSON: {exc}")
            return
        problem = self._problem(request)
        if problem is not None:
            self._say(*problem)
            return
        self._seen.add(request["custom_id"])
        self.lines.append(Line(request["custom_id"], self._at, len(text), _model(request["body"])))
        if len(self.lines) > self._most:
            self._say("too_many_requests", f"the file holds more than {self._most} requests (batch_max_requests)")

    def _problem(self, request: Any) -> tuple[str, str, str | None] | None:
        """(code, message, field) of what is wrong."""
        if not isinstance(request, dict):
            return "invalid_request", "the line is not a JSON object", None
        name = request.get("custom_id")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_CUSTOM_ID:
            return "missing_required_parameter", f"custom_id must be 1 to {LONGEST_CUSTOM_ID} characters", "custom_id"
        if name in self._seen:
            return "duplicate_custom_id", f"another line has the custom_id {quoted(name)}", "custom_id"
        if request.get("method") != "POST":
            return "invalid_method", "method must be POST", "method"
        if request.get("url") != self._endpoint:
            return "mismatched_endpoint", f"url must be {self._endpoint}, as the batch says", "url"
        body = request.get("body")
        if not isinstance(body, dict):
            return "missing_required_parameter", "body must be an object", "body"
        if body.get("stream"):
            return "invalid_value", "stream must not be set: a batch's answers come whole", "body.stream"
        return None

    def _say(self, code: str, message: str, param: str | None = None) -> None:
        line = None if code == "empty_file" else self._number
        self.errors.append(LineError(code, message, line, param))


def _model(body: dict[str, Any]) -> str | None:
    model = body.get("model")
    return model if isinstance(model, str) else None


def body_of(line: bytes) -> bytes:
    """The request's body, as it is sent to the endpoint."""
    return orjson.dumps(orjson.loads(line)["body"])


def answered(request_id: str, custom_id: str, status: int, answer_id: str, body: bytes) -> bytes:
    """An output line for an answer, whatever its status."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        read = body.decode(errors="replace")
    response = {"status_code": status, "request_id": answer_id, "body": read}
    return _line({"id": request_id, "custom_id": custom_id, "response": response, "error": None})


def unanswered(request_id: str, custom_id: str, code: str, message: str) -> bytes:
    """An output line for a request that was never asked."""
    error = {"code": code, "message": message}
    return _line({"id": request_id, "custom_id": custom_id, "response": None, "error": error})


def _line(entry: dict[str, Any]) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def tokens(body: bytes) -> tuple[int, int]:
    """(read, written) tokens of an answer, by either of OpenAI's names.

    >>> tokens(b'{"usage": {"prompt_tokens": 7, "completion_tokens": 3}}'), tokens(b"{}")
    ((7, 3), (0, 0))
    """
    try:
        usage = orjson.loads(body).get("usage") or {}
    except (orjson.JSONDecodeError, AttributeError):
        return 0, 0
    return _first(usage, "prompt_tokens", "input_tokens"), _first(usage, "completion_tokens", "output_tokens")


def _first(usage: dict[str, Any], *names: str) -> int:
    return next((usage[name] for name in names if isinstance(usage.get(name), int)), 0)


def common(models: Iterable[str | None]) -> str | None:
    """The model of all requests, or the first one's.

    >>> common(["a", None]), common([])
    ('a', None)
    """
    return next(_named(models), None)


def _named(models: Iterable[str | None]) -> Iterator[str]:
    return (model for model in models if model)
