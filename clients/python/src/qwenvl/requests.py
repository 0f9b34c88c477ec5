"""A call as an HTTP request: JSON, or a form in which files travel as they are; and what is read of the answer.

Nothing here waits: `Client` and `AsyncClient` share it.
"""

import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import httpx2

from qwenvl.calls import Call, I, Progress, R
from qwenvl.errors import (
    UNREADABLE_CODES,
    ConnectionFailedError,
    QwenVLError,
    StatusError,
    TimedOutError,
    UnexpectedAnswerError,
)
from qwenvl.inputs import Remote, Source, data_uri

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 60.0
"""A server that asks to wait longer is given up on."""


@dataclass(frozen=True)
class Body:
    """What httpx2 is given: `json`, or `data` and `files`. Files are opened anew for each try."""

    json: dict[str, Any] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    files: list[tuple[str, Source]] = field(default_factory=list)

    def arguments(self, progress: Progress | None) -> tuple[dict[str, Any], list[IO[bytes]]]:
        """(Arguments of httpx2's request, the files to close when it is sent)."""
        if self.json is not None:
            return {"json": self.json}, []
        opened: list[IO[bytes]] = []
        files = []
        try:
            for name, each in self.files:
                assert not isinstance(each, Remote)
                opened.append(each.open())
                files.append((name, (each.name, opened[-1], each.media_type)))
        except BaseException:
            close(opened)
            raise
        if progress is not None:
            watched = _Watched(opened, progress)
            files = [
                (name, (filename, watched.file(at), media_type))
                for at, (name, (filename, _, media_type)) in enumerate(files)
            ]
        return {"data": self.data, "files": files}, opened


def body(call: Call[Any, Any], *, stream: bool) -> Body:
    """A form if there is a file to send; else, and for what a form cannot say, JSON.

    >>> from qwenvl.calls import detect
    >>> body(detect("https://example.com/a.jpg", ["cat"]), stream=False).json["image"]
    'https://example.com/a.jpg'
    >>> body(detect(b"\\xff\\xd8\\xff", ["cat"]), stream=False).data["labels"]
    '["cat"]'
    """
    fields = {**call.fields, **({"stream": True} if stream else {})}
    files = [
        (name, each) for name, value in call.media.items() for each in (value if isinstance(value, list) else [value])
    ]
    if any(isinstance(each, Remote) for _, each in files) or not _fits_form(call):
        media = {
            name: [data_uri(each) for each in value] if isinstance(value, list) else data_uri(value)
            for name, value in call.media.items()
        }
        return Body(json={**media, **fields})
    return Body(data={name: _form_value(value) for name, value in fields.items()}, files=files)


def _fits_form(call: Call[Any, Any]) -> bool:
    """In a form a list of one frame looks like a film, and words that are JSON look like a list or an object."""
    if any(isinstance(value, list) and len(value) < 2 for value in call.media.values()):
        return False
    return not any(isinstance(value, str) and value[:1] in {"[", "{"} for value in call.fields.values())


def _form_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def close(files: list[IO[bytes]]) -> None:
    """Close what was opened for a try."""
    for file in files:
        file.close()


class _Watched:
    """Files of one request that tell how much of all of them was read."""

    def __init__(self, files: list[IO[bytes]], progress: Progress) -> None:
        self._files, self._progress = files, progress
        self._sizes = [_size(file) for file in files]
        self._sent = [0] * len(files)

    def file(self, at: int) -> Any:
        return _WatchedFile(self._files[at], lambda sent: self._tell(at, sent))

    def _tell(self, at: int, sent: int) -> None:
        self._sent[at] = sent
        self._progress(sum(self._sent), sum(self._sizes))


class _WatchedFile:
    """As much of a file as httpx2 needs."""

    def __init__(self, file: IO[bytes], tell_sent: Any) -> None:
        self._file, self._tell_sent = file, tell_sent

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if data:
            self._tell_sent(self._file.tell())
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _size(file: IO[bytes]) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def once(call: Call[Any, Any], max_retries: int) -> dict[str, str]:
    """The header that has the server work on all tries of a call once; none where there is but one try.

    >>> from qwenvl.calls import caption
    >>> once(caption(b"..."), 0), once(caption(b"...", idempotency_key="k"), 0), len(once(caption(b"..."), 1))
    ({}, {'idempotency-key': 'k'}, 1)
    """
    key = call.options.get("idempotency_key") or (uuid.uuid4().hex if max_retries > 0 else None)
    return {"idempotency-key": key} if key else {}


def wait_s(tries: int, error: QwenVLError) -> float | None:
    """Seconds to wait before the next try after so many; None where another try cannot help.

    The server's `Retry-After` is honoured; without one it is half a second, then twice that, and so on to eight, less
    up to a quarter by chance, so that callers that failed together do not come back together. A time-out is not tried
    again: it would take as long once more.

    >>> wait_s(1, StatusError(503, {}, {"retry-after": "7"})), wait_s(1, StatusError(400, {}))
    (7.0, None)
    >>> wait_s(1, StatusError(502, {"code": "answer_unreadable"}))
    >>> 0.75 <= wait_s(2, ConnectionFailedError("refused")) <= 1.0
    True
    """
    if isinstance(error, TimedOutError):
        return None
    if isinstance(error, StatusError):
        if error.status not in RETRIED or error.code in UNREADABLE_CODES:
            return None
        if error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= LONGEST_WAIT_S else None
    longest_s: float = min(0.5 * 2 ** (tries - 1), 8.0)
    return longest_s * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


def failed(exc: httpx2.TransportError, base_url: str) -> ConnectionFailedError:
    """httpx2's failure as ours, in words that say where."""
    if isinstance(exc, httpx2.TimeoutException) and not isinstance(exc, httpx2.ConnectTimeout):
        return TimedOutError(f"{base_url} said nothing for too long; timeout_s is the longest silence")
    return ConnectionFailedError(f"{base_url} cannot be reached: {str(exc) or type(exc).__name__}")


def answer(call: Call[R, I], response: httpx2.Response) -> R:
    """The result that an answer holds. Raises UnexpectedAnswerError for what no server of ours says."""
    try:
        return call.read(response.json(), response.headers.get("x-request-id"))
    except ValueError as exc:  # pydantic's is one
        told = str(exc).splitlines()[0]
        raise UnexpectedAnswerError(f"{response.url} answered, but with no {call.result.__name__}: {told}") from exc


class ServerEvents:
    """Server-sent events out of the bytes of an answer, however they are cut.

    >>> events = ServerEvents()
    >>> events.feed(b'event: item\\ndata: {"a"'), events.feed(b': 1}\\n\\ndata: [DO')
    ([], [('item', {'a': 1})])
    """

    def __init__(self) -> None:
        self._rest = b""
        self.done = False

    def feed(self, data: bytes) -> list[tuple[str, Mapping[str, Any]]]:
        """(Kind, data) of the events that these bytes complete; `done` once the server said so."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        found = []
        for block in blocks:
            kind, lines = "message", []
            for line in block.split(b"\n"):
                if line.startswith(b"event:"):
                    kind = line[6:].strip().decode()
                elif line.startswith(b"data:"):
                    lines.append(line[5:].strip())
            text = b"\n".join(lines)
            if text == b"[DONE]":
                self.done = True
            elif text:
                found.append((kind, json.loads(text)))
        return found
