"""Rows: bytes that are not HTTP, or HTTP that lies. Written to the socket as they stand."""

import json
import re
import socket

import pytest

from tests.bad_input.conftest import assert_refused
from tests.bad_input.process import CHAT, HELLO, Answer, Gateway, read_answer

BODY = json.dumps(HELLO).encode()
POST = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % CHAT.encode()


def refused(answer: Answer, status: int, code: str, param: str | None = None) -> None:
    """Closed after OpenAI's error object; the parser's errors have no request id, because there is no request."""
    assert_refused(answer, status, code, param)
    assert answer.headers["connection"] == "close"


MALFORMED = {
    "noise": bytes(range(1, 200)) + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.7": b"GET / HTTP/3.7\r\n\r\n",
    "a method that there is not": b"FROBNICATE / HTTP/1.1\r\n\r\n",
    "a blank in the path": b"GET /a b HTTP/1.1\r\n\r\n",
    "a path that is not ASCII": b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nhost\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "a blank before the colon": b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nx: a\rb\r\n\r\n",
    "two lengths": POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + BODY,
    "length and chunks": POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": POST + b"content-length: -5\r\n\r\n",
    "a length with a plus": POST + b"content-length: +5\r\n\r\n12345",
    "a length in hexadecimal": POST + b"content-length: 0x5\r\n\r\n12345",
    "a length beyond all": POST + b"content-length: 99999999999999999999999\r\n\r\n",
    "a chunk size that is no number": POST + b"transfer-encoding: chunked\r\n\r\nhello\r\n",
    "a negative chunk size": POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
    "a chunk size beyond all": POST + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff1\r\n",
    "a chunk longer than it says": POST + b"transfer-encoding: chunked\r\n\r\n1\r\nhello\r\n",
    "an encoding that there is not": POST + b"transfer-encoding: gzip\r\n\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_http_is_a_400(server: Gateway, raw: bytes) -> None:
    refused(server.send(raw), 400, "malformed_request")


LONG = {
    "one header": b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    "one name": b"GET /healthz HTTP/1.1\r\n" + b"y" * 100_000 + b": x\r\n\r\n",
    "ten thousand headers": b"GET /healthz HTTP/1.1\r\n" + b"x-header: 1\r\n" * 10_000 + b"\r\n",
    "without end": b"GET /healthz HTTP/1.1\r\n" + b"x-header: 1\r\n" * 100_000,
    "a cookie": b"GET /healthz HTTP/1.1\r\ncookie: " + b"a=b; " * 20_000 + b"\r\n\r\n",
    "a URL": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a query": b"GET /healthz?" + b"x=1&" * 25_000 + b" HTTP/1.1\r\n\r\n",
    "a method": b"G" * 1_000_000,
}


@pytest.mark.parametrize("raw", LONG.values(), ids=LONG.keys())
def test_a_head_that_is_too_long_is_refused(server: Gateway, raw: bytes) -> None:
    answer = server.send(raw)
    assert (answer.status, answer.json["error"]["code"]) in [(431, "headers_too_large"), (400, "malformed_request")]
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("name", ["one header", "ten thousand headers", "without end", "a cookie", "a URL", "a query"])
def test_a_head_that_is_too_long_is_named_as_that_where_it_is_http(server: Gateway, name: str) -> None:
    answer = server.send(LONG[name])
    refused(answer, 431, "headers_too_large", "headers")
    assert "65536" in answer.json["error"]["message"]


SLOW = {
    "half a request line": b"GET /heal",
    "half a head": b"GET /healthz HTTP/1.1\r\nhost: x\r\n",
    "a body that is shorter than it says": POST + b"content-length: 10000\r\n\r\n" + BODY,
    "no body": POST + b"content-length: 10\r\n\r\n",
    "half a chunk": POST + b"transfer-encoding: chunked\r\n\r\nff\r\nhello",
    "no last chunk": POST + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY),
}


@pytest.mark.parametrize("raw", SLOW.values(), ids=SLOW.keys())
def test_what_does_not_come_is_not_waited_for(server: Gateway, raw: bytes) -> None:
    answer = server.send(raw)
    refused(answer, 408, "request_timeout")
    assert "0.5 s" in answer.json["error"]["message"]


def test_a_body_that_is_longer_than_it_says_is_cut_there(server: Gateway) -> None:
    assert server.send(POST + b"content-length: 10\r\n\r\n" + BODY).status == 400


def test_a_second_request_hidden_in_a_body_is_part_of_the_body(server: Gateway) -> None:
    hidden = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(POST + b"content-length: %d\r\n\r\n" % len(hidden) + hidden)
        assert_refused(read_answer(connection, "POST"), 400, "invalid_json", None)
        connection.sendall(POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
        assert read_answer(connection, "POST").status == 200


def test_a_chunked_body_with_extensions_and_trailers_is_taken(server: Gateway) -> None:
    chunks = b"5;name=value\r\n%b\r\n%x\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])
    assert server.send(POST + b"transfer-encoding: chunked\r\n\r\n" + chunks, "POST").status == 200


def test_a_client_that_asks_whether_it_may_send_is_answered_either_way(server: Gateway) -> None:
    with server.connect() as connection:
        connection.sendall(POST + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert read_answer(connection, "POST").status == 200
    refused(
        server.send(POST + b"expect: 100-continue\r\ncontent-length: 999999999\r\n\r\n"),
        413, "request_too_large", "body",
    )  # fmt: skip


def test_http_1_0_without_anything_is_answered(server: Gateway) -> None:
    assert server.send(b"GET /healthz HTTP/1.0\r\n\r\n").json == {"status": "ok"}


@pytest.mark.parametrize("target", ["http://gateway/healthz", "http://169.254.169.254/healthz"])
def test_a_whole_url_is_a_path_here_and_goes_nowhere_else(server: Gateway, target: str) -> None:
    assert server.ask("GET", target).json == {"status": "ok"}


@pytest.mark.parametrize("host", ["", "evil.example", "[::1]:80", "x" * 1000])
def test_any_host_is_taken_and_none_is_repeated(server: Gateway, host: str) -> None:
    answer = server.ask("GET", "/healthz/", headers={"host": host})
    assert_refused(answer, 404, "not_found")
    assert "evil" not in str(answer.headers)


ODD_IDS = ["a b", "a\tb", "<script>", "x" * 129, "é", "a,b", "${jndi:ldap://x}", '"', "", "%0d%0aset-cookie: a=b"]


@pytest.mark.parametrize("path", [CHAT, "/healthz", "/nowhere"])
@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_odd_request_id_is_replaced(server: Gateway, odd: str, path: str) -> None:
    answer = server.ask("GET", path, headers={"x-request-id": odd})
    assert answer.headers["x-request-id"] not in (odd, "")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", [CHAT, "/healthz", "/nowhere"])
def test_a_good_request_id_is_kept(server: Gateway, path: str) -> None:
    assert server.ask("GET", path, headers={"x-request-id": "req-1:a.B_2"}).headers["x-request-id"] == "req-1:a.B_2"


def test_requests_sent_at_once_are_answered_in_order_the_bad_ones_too(server: Gateway) -> None:
    good = POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    bad = POST + b"content-length: 2\r\n\r\n[]"
    with server.connect() as connection:
        connection.sendall(good + bad + b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n" + good + b"nonsense\r\n\r\n")
        with connection.makefile("rb") as answers:
            assert re.findall(rb"HTTP/1.1 (\d+)", answers.read()) == [b"200", b"400", b"404", b"200"]


def test_connections_that_say_nothing_are_closed(server: Gateway) -> None:
    silent = [server.connect() for _ in range(50)]
    for connection in silent:
        assert connection.recv(1) == b""
        connection.close()


def test_connections_that_are_reset_are_forgotten(server: Gateway) -> None:
    for raw in (b"", b"GET /heal", POST + b"content-length: 10000\r\n\r\n", POST + b"content-length: 2\r\n\r\n{}"):
        for _ in range(10):
            connection = server.connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            connection.sendall(raw)
            connection.close()
