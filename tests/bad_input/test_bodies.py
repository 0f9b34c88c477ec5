"""Rows: bodies that are not the JSON they should be, too long, or not there."""

import json
from typing import Any

import pytest

from benchmarks.overhead.mock import MODEL
from tests.bad_input.conftest import LIMITS, assert_refused
from tests.bad_input.files import picture, uri
from tests.bad_input.process import CHAT, HELLO, Gateway

PATHS = [CHAT, "/v1/completions", "/v1/responses", "/tokenize", "/detokenize"]
GOOD = json.dumps(HELLO).encode()


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """A good request with an unknown field of this depth."""
    return GOOD[:-1] + f', "deep": {opening * depth}1{closing * depth}}}'.encode()


def with_value(raw: bytes) -> bytes:
    """A good request with this as a temperature."""
    return GOOD[:-1] + b', "temperature": ' + raw + b"}"


NO_JSON = {
    "nothing": b"",
    "blanks": b" \n\t ",
    "text": b"hello",
    "cut": GOOD[:-1],
    "a comma too many": GOOD[:-1] + b",}",
    "two objects": GOOD + GOOD,
    "single quotes": b"{'model': 'x'}",
    "a comment": b"// hello\n" + GOOD,
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "invalid UTF-8": GOOD.replace(b"hello", b"\xff\xfe"),
    "overlong UTF-8": GOOD.replace(b"hello", b"\xc0\xaf"),
    "a surrogate in UTF-8": GOOD.replace(b"hello", b"\xed\xa0\x80"),
    "half a pair": GOOD.replace(b"hello", rb"\ud800"),
    "the other half": GOOD.replace(b"hello", rb"\udc00"),
    "a half pair as a key": GOOD.replace(b'"model"', rb'"\ud800"'),
    "a bare NUL": GOOD.replace(b"hello", b"\x00"),
    "a bare end of line": GOOD.replace(b"hello", b"a\nb"),
    "NaN": with_value(b"NaN"),
    "Infinity": with_value(b"Infinity"),
    "minus Infinity": with_value(b"-Infinity"),
    "beyond doubles": with_value(b"1e999"),
    "hexadecimal": with_value(b"0x1"),
    "a leading zero": with_value(b"01"),
    "100,000 arrays": nested(100_000),
    "100,000 objects": nested(100_000, '{"a":', "}"),
    "100,000 open arrays": b"[" * 100_000,
    "a form": b"model=x&messages=y",
    "an image": picture(),
}
NO_OBJECT = {"array": b"[]", "array of requests": b"[" + GOOD + b"]", "string": b'"x"', "number": b"5", "null": b"null"}


@pytest.mark.parametrize("raw", NO_JSON.values(), ids=NO_JSON.keys())
def test_a_body_that_is_no_json_is_refused(server: Gateway, raw: bytes) -> None:
    assert_refused(server.post(raw), 400, "invalid_json", None, "not JSON")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("raw", NO_OBJECT.values(), ids=NO_OBJECT.keys())
def test_a_body_that_is_no_object_is_refused(server: Gateway, raw: bytes, path: str) -> None:
    assert_refused(server.post(raw, path), 400, "invalid_json", None, "a JSON object")


@pytest.mark.parametrize("shape", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")], ids=["arrays", "objects", "both"])
def test_json_deeper_than_the_limit_is_refused(server: Gateway, shape: tuple[str, str]) -> None:
    each = 2 if shape[0].startswith("[{") else 1
    assert server.post(nested(62 // each, *shape)).status == 200
    assert_refused(server.post(nested(65, *shape)), 400, "invalid_json", None, "64")


ODD_BUT_GOOD = {
    "duplicate keys": b'{"model": "nonsense", "n": 99, ' + GOOD[1:-1] + b', "n": 1}',
    "escapes": GOOD.replace(b"hello", rb"\u0000\ud83d\ude00\/\u007f"),
    "a long number": GOOD[:-1] + b', "unknown": 1' + b"0" * 300 + b"}",
    "a long fraction": with_value(b"0." + b"3" * 5000),
    "many keys": GOOD[:-1] + b"".join(b', "k%d": %d' % (n, n) for n in range(20_000)) + b"}",
    "blanks": b" \n " * 10_000 + GOOD + b"\n" * 10_000,
    "an empty key": GOOD[:-1] + b', "": 1}',
    "a key of Python's": GOOD[:-1] + b', "__class__": {"__init__": 1}, "__proto__": 1}',
}


@pytest.mark.parametrize("raw", ODD_BUT_GOOD.values(), ids=ODD_BUT_GOOD.keys())
def test_json_that_is_only_odd_is_taken(server: Gateway, raw: bytes) -> None:
    answer = server.post(raw)
    assert answer.status == 200, answer.body


NO_JSON_TYPES = ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain", "", "/", "\x80"]


@pytest.mark.parametrize("content_type", NO_JSON_TYPES)
@pytest.mark.parametrize("path", PATHS)
def test_another_content_type_is_a_415(server: Gateway, content_type: str, path: str) -> None:
    answer = server.ask("POST", path, GOOD, {"content-type": content_type})
    assert_refused(answer, 415, "unsupported_content_type", "content-type", "application/json")


@pytest.mark.parametrize(
    "content_type", ["application/json", "APPLICATION/JSON; charset=UTF-8", "application/vnd.api+json", None]
)
def test_json_by_any_of_its_names_is_taken(server: Gateway, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    assert server.ask("POST", CHAT, GOOD, headers).status == 200


def test_a_body_too_long_is_refused_with_its_length(server: Gateway) -> None:
    limit = LIMITS["--max-body-bytes"]
    assert isinstance(limit, int)
    answer = server.post(GOOD[:-1] + b" " * limit + b"}")
    assert_refused(answer, 413, "request_too_large", "body", limit + len(GOOD), f"the limit is {limit} bytes")


def test_a_body_as_long_as_it_may_be_is_taken(server: Gateway) -> None:
    limit = LIMITS["--max-body-bytes"]
    assert isinstance(limit, int)
    assert server.post(GOOD[:-1] + b" " * (limit - len(GOOD)) + b"}").status == 200


def test_many_small_pictures_are_counted_before_they_are_decoded(server: Gateway) -> None:
    part: dict[str, Any] = {"type": "image_url", "image_url": {"url": uri(picture())}}
    answer = server.post({"model": MODEL, "messages": [{"role": "user", "content": [part] * 2000}]})
    assert_refused(answer, 400, "limit_exceeded", "messages[0].content[4].image_url.url", "2000", "the limit is 4")
