"""Where a picture or clip comes from: a data: URI, bare base64, or a URL that `fetch.py` follows.

Only these are taken; `file:`, `ftp:` and every other scheme are refused before anything is opened.
"""

import binascii
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

import pybase64

from server.errors import InvalidValue, MediaUnreadable, UrlForbidden

Encoding = Literal["raw", "base64", "percent"]

LONGEST_URL = 8192
LONGEST_DATA_HEAD = 1024
"""A data: URI's media type and parameters end within so many characters."""
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,31}):")
BASE64_START = re.compile(r"[A-Za-z0-9+/_\-=\s]{1,256}")


Source = str | memoryview
"""What names a picture or clip; a memoryview is a data: URI."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A URL that is to be fetched."""

    url: str


@dataclass(frozen=True, slots=True)
class Inline:
    """The file itself, still encoded: decoding it is work for a decode process, not for the event loop."""

    text: bytes | memoryview
    encoding: Encoding
    media_type: str = ""


def parse_source(source: Source, *, param: str) -> Remote | Inline:
    """What the caller's string is, without decoding it.

    Raises InvalidValue for something that is none of it, UrlForbidden for a scheme that is not followed.

    >>> parse_source("https://example.com/a.jpg", param="image")
    Remote(url='https://example.com/a.jpg')
    >>> png = parse_source("data:image/png;base64,iVBORw0KGgo=", param="image")
    >>> bytes(png.text), png.encoding, png.media_type
    (b'iVBORw0KGgo=', 'base64', 'image/png')
    >>> parse_source("file:///etc/passwd", param="image")
    Traceback (most recent call last):
    server.errors.UrlForbidden: image has the scheme file:; taken are data:, http: and https:
    """
    if isinstance(source, memoryview):
        return _data_bytes(source, param)
    source = source.strip()
    if not source:
        raise InvalidValue(f"{param} is empty; give a URL, a data: URI or base64", param=param)
    match = SCHEME.match(source)
    scheme = match[1].lower() if match else None
    if scheme == "data":
        return _data_uri(source, param)
    if scheme in ("http", "https"):
        if len(source) > LONGEST_URL:
            raise InvalidValue(f"{param} is a URL of {len(source)} characters; the limit is {LONGEST_URL}", param=param)
        return Remote(source)
    if scheme is not None:
        raise UrlForbidden(f"{param} has the scheme {scheme}:; taken are data:, http: and https:", param=param)
    if not BASE64_START.fullmatch(source[:256]):
        raise InvalidValue(f"{param} is neither a URL nor a data: URI nor base64", param=param)
    return Inline(_ascii(source, param), "base64")


def frame_sources(source: Inline, *, param: str) -> list[Inline]:
    """The pictures of `data:video/jpeg;base64,f1,f2,...`, in order.

    >>> frame_sources(Inline(b"AAAA,BBBB", "base64", "video/jpeg"), param="video")
    [Inline(text=b'AAAA', encoding='base64', media_type=''), Inline(text=b'BBBB', encoding='base64', media_type='')]
    """
    if source.encoding != "base64":
        raise InvalidValue(f"{param} is a list of frames that is not base64", param=param)
    return [Inline(text, "base64") for text in bytes(source.text).split(b",")]


def decoded(text: bytes | memoryview, encoding: str, *, param: str, noun: str) -> bytes | memoryview:
    """The file's bytes. Base64 may lack its padding, hold blanks, be URL-safe or percent-encoded.

    Raises MediaUnreadable if it cannot be decoded.

    >>> decoded(b"aGVs bG8", "base64", param="image", noun="image")
    b'hello'
    >>> decoded(b"a%20b", "percent", param="image", noun="image")
    b'a b'
    """
    if encoding == "raw":
        return text
    if encoding == "percent":
        return unquote_to_bytes(bytes(text))
    try:
        return pybase64.b64decode(text, validate=True)
    except binascii.Error:
        return _lenient_base64(bytes(text), param, noun)


def _lenient_base64(text: bytes, param: str, noun: str) -> bytes:
    if b"%" in text:
        text = unquote_to_bytes(text)
    text = text.translate(bytes.maketrans(b"-_", b"+/"), b" \t\r\n\f\v").rstrip(b"=")
    try:
        return pybase64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as exc:
        raise MediaUnreadable(
            f"{param} is not valid base64 ({len(text)} characters)", param=param, code=f"{noun}_unreadable"
        ) from exc


def _data_uri(source: str, param: str) -> Inline:
    comma = source.find(",", 0, LONGEST_DATA_HEAD)
    encoding, media_type = _data_head(source[: max(comma, 0)], param)
    return Inline(_ascii(source, param, start=comma + 1), encoding, media_type)


def _data_bytes(source: memoryview, param: str) -> Inline:
    head = bytes(source[:LONGEST_DATA_HEAD])
    comma = head.find(b",")
    encoding, media_type = _data_head(head[: max(comma, 0)].decode("ascii", "replace"), param)
    return Inline(source[comma + 1 :], encoding, media_type)


def _data_head(head: str, param: str) -> tuple[Encoding, str]:
    """Encoding and media type, from all that stands before the comma."""
    if not head:
        raise InvalidValue(f"{param} is a data: URI without a comma", param=param)
    media_type, *parameters = head[len("data:") :].split(";")
    is_base64 = any(parameter.strip().lower() == "base64" for parameter in parameters)
    return "base64" if is_base64 else "percent", media_type.strip().lower()


def _ascii(source: str, param: str, start: int = 0) -> memoryview:
    """From `start` on, without a second copy: it may be megabytes."""
    try:
        return memoryview(source.encode("ascii"))[start:]
    except UnicodeEncodeError as exc:
        raise InvalidValue(f"{param} holds characters that are not ASCII", param=param) from exc
