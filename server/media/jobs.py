"""What passes between the server and a process that decodes: one JSON header, and files handed over by descriptor.

Bytes never travel through the pipe: either side writes them into an anonymous file and passes that. The header is JSON
and not pickle, because the process that decodes hostile files must not be able to make its parent run anything.
"""

import json
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from server import errors
from server.errors import GatewayError

LENGTH = struct.Struct("!I")
MOST_FILES = 1
READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a job, as it lies in the job's scratch file."""

    encoding: str
    """`raw`, `base64` or `percent` (see `source.py`)."""
    bytes: int
    """Its length there."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a decoder gives back."""

    facts: dict[str, Any]
    """Sizes, times and digests; JSON."""
    url: Sequence[bytes]
    """Pieces of the data: URI for the engine."""


Decode = Callable[[BinaryIO, Sequence[Part], Mapping[str, Any]], Result]
"""A media kind's work: the scratch file, what lies in it, and the options that the loader sent along."""


def scratch_file(*, on_disk: bool = False) -> BinaryIO:
    """An anonymous file that goes with its last descriptor; in memory unless it may be large."""
    if on_disk or not hasattr(os, "memfd_create"):
        return tempfile.TemporaryFile(buffering=0)
    return os.fdopen(os.memfd_create("media", os.MFD_CLOEXEC), "w+b", buffering=0)


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """All of it: one write to an unbuffered file may take only a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def pack(header: Mapping[str, Any]) -> bytes:
    body = json.dumps(header).encode()
    return LENGTH.pack(len(body)) + body


class Unpacker:
    """Collects one header and its descriptors from a stream of pieces.

    >>> unpacker = Unpacker()
    >>> data = pack({"kind": "image"})
    >>> unpacker.feed(data[:5], []), unpacker.feed(data[5:], [])
    (None, {'kind': 'image'})
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self.files: list[int] = []

    def __enter__(self) -> "Unpacker":
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Closes what came and was not taken."""
        while self.files:
            os.close(self.files.pop())

    def feed(self, data: bytes, files: Sequence[int]) -> dict[str, Any] | None:
        """The header once it is whole, else None."""
        self._data += data
        self.files += files
        if len(self._data) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._data)
        if len(self._data) < LENGTH.size + length:
            return None
        header = json.loads(self._data[LENGTH.size : LENGTH.size + length])
        del self._data[: LENGTH.size + length]
        if not isinstance(header, dict):
            raise ValueError("a header is a JSON object")
        return header

    def take_file(self) -> BinaryIO:
        """The file that came along; any further ones are closed."""
        taken, self.files = self.files, []
        for extra in taken[1:]:
            os.close(extra)
        return os.fdopen(taken[0], "rb", buffering=0)


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """One piece of a message; no bytes at the end of the stream."""
    data, files, _, _ = socket.recv_fds(channel, READ_BYTES, MOST_FILES)
    return data, files


def error_to_json(error: GatewayError) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "message": error.message,
        "param": error.param,
        "code": error.code,
        "details": error.details,
    }


def error_from_json(packed: Mapping[str, Any]) -> GatewayError:
    """The error that the other side raised, of the same class.

    >>> error_from_json(error_to_json(errors.MediaUnreadable("cut short", param="image")))
    MediaUnreadable('cut short')
    """
    cls = getattr(errors, str(packed["class"]), None)
    if not (isinstance(cls, type) and issubclass(cls, GatewayError)):
        cls = errors.InternalError
    error = cls.__new__(cls)
    # Past the subclass's own __init__, which would word the message a second time.
    GatewayError.__init__(
        error, packed["message"], param=packed["param"], code=packed["code"], details=packed["details"]
    )
    return error
