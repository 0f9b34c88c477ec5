"""Rows: media URLs that lead where the server must not go, or to nothing good."""

from typing import Any

import pytest

from tests.bad_input.conftest import assert_refused
from tests.bad_input.files import ELSEWHERE, PAGES, Web, picture, uri
from tests.bad_input.process import HELLO, Answer, Gateway, eventually

PARAM = "messages[0].content[0].image_url.url"


def fetch(server: Gateway, url: str) -> Answer:
    """Ask about the picture at a URL."""
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return server.post({**HELLO, "messages": [{"role": "user", "content": content}]})


FORBIDDEN = {
    "a file": "file:///etc/passwd",
    "a file by a relative URL": "file:etc/passwd",
    "FTP": "ftp://ftp.example.com/a.png",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "a script": "javascript:alert(1)",
    "a blob": "blob:https://example.com/1",
    "an S3 bucket": "s3://bucket/key",
    "a made-up scheme": "x" * 20 + "://example.com/a.png",
    "localhost": "http://localhost/",
    "loopback": "http://127.0.0.1/",
    "another loopback": "http://127.1.2.3/",
    "all addresses": "http://0.0.0.0/",
    "IPv6 loopback": "http://[::1]/",
    "IPv6 mapped": "http://[::ffff:127.0.0.1]/",
    "IPv6 mapped in hexadecimal": "http://[::ffff:7f00:1]/",
    "IPv6 compatible": "http://[::127.0.0.1]/",
    "IPv6 translated": "http://[64:ff9b::7f00:1]/",
    "IPv6 6to4": "http://[2002:7f00:1::]/",
    "IPv6 link-local": "http://[fe80::1]/",
    "IPv6 unique local": "http://[fd00::1]/",
    "decimal": "http://2130706433/",
    "hexadecimal": "http://0x7f000001/",
    "octal": "http://017700000001/",
    "few parts": "http://127.1/",
    "ideographic dots": "http://127\u30020\u30020\u30021/",
    "a private network": "http://10.0.0.1/",
    "another private network": "http://192.168.1.1/",
    "a third private network": "http://172.16.0.1/",
    "carrier's network": "http://100.64.0.1/",
    "cloud metadata": "http://169.254.169.254/latest/meta-data/",
    "cloud metadata in decimal": "http://2852039166/",
    "multicast": "http://224.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "a user": f"http://user@{ELSEWHERE}/",
    "a user and a password": f"http://user:secret@{ELSEWHERE}/",
    "a host that looks like a user": "http://example.com@127.0.0.1/",
    "SSH": f"http://{ELSEWHERE}:22/",
    "Redis": f"http://{ELSEWHERE}:6379/",
    "a port out of range": "http://example.com:99999/",
    "port 0": f"http://{ELSEWHERE}:0/",
    "upper case": "HTTP://LOCALHOST/",
}
INVALID = {
    "no host": "http://",
    "no host, a path": "http:///a.png",
    "a port without a host": "http://:80/",
    "half an address": "http://[::1/",
    "a blank in the host": "http://a b/",
    "an end of line": "http://example.com/\r\nx: y",
    "a port that is no number": "http://example.com:eighty/",
    "octal parts": "http://0177.0.0.1/",
    "full-width digits": "http://\uff11\uff12\uff17.0.0.1/",
    "circled digits": "http://\u2460\u2461\u2466.0.0.1/",
    "too long": "http://example.com/" + "x" * 10_000,
    "neither URL nor data": "picture of a cat!",
    "a relative path": "../../etc/passwd",
    "no scheme": "//127.0.0.1/a.png",
}
UNREACHABLE = {
    "no such name": "http://no-such-host.invalid/a.png",
    "a name that is too long": f"http://{'x' * 64}.example/",
    "nobody listens": f"http://{ELSEWHERE}/",
}


@pytest.mark.parametrize("url", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_a_url_into_our_own_house_is_forbidden(server: Gateway, url: str) -> None:
    answer = fetch(server, url)
    assert_refused(answer, 400, "url_forbidden", PARAM)
    assert "secret" not in answer.body.decode()


@pytest.mark.parametrize("url", INVALID.values(), ids=INVALID.keys())
def test_what_is_no_url_is_refused(server: Gateway, url: str) -> None:
    assert_refused(fetch(server, url), 400, "invalid_value", PARAM)


@pytest.mark.parametrize("url", UNREACHABLE.values(), ids=UNREACHABLE.keys())
def test_a_url_that_leads_nowhere_is_unreachable(server: Gateway, url: str) -> None:
    assert_refused(fetch(server, url), 400, "url_unreachable", PARAM)


@pytest.mark.parametrize("host", ["localhost.localdomain", "a.localhost", "metadata.google.internal"])
def test_a_name_that_some_resolvers_take_for_our_own_is_refused_by_all(server: Gateway, host: str) -> None:
    answer = fetch(server, f"http://{host}/")
    assert answer.status == 400
    assert answer.json["error"]["code"] in {"url_forbidden", "url_unreachable"}


def test_a_path_is_taken_for_base64_and_opens_nothing(server: Gateway) -> None:
    assert_refused(fetch(server, "/etc/passwd"), 400, "image_unreadable", PARAM)


PAGE_ROWS: dict[str, tuple[int, str, list[Any]]] = {
    # page: status, code, what the message says
    "/missing.png": (400, "url_unreachable", ["404"]),
    "/broken.png": (400, "url_unreachable", ["500"]),
    "/html.png": (400, "image_unsupported", ["HTML"]),
    "/empty.png": (400, "image_unreadable", ["0 bytes"]),
    "/cut.png": (400, "url_unreachable", []),
    "/packed.png": (400, "url_unreachable", ["gzip"]),
    "/no-http.png": (400, "url_unreachable", []),
    "/claims-much.png": (413, "image_too_large", [1 << 40, "the limit is 1048576 bytes"]),
    "/never-ends.png": (413, "image_too_large", ["the limit is 1048576 bytes"]),
    "/says-nothing.png": (400, "url_unreachable", ["within 1 s"]),
    "/drips.png": (400, "url_unreachable", ["within 1 s"]),
    "/hop-0": (400, "url_unreachable", ["more than 3 redirects"]),
    "/round": (400, "url_unreachable", ["more than 3 redirects"]),
    "/to-metadata": (400, "url_forbidden", []),
    "/to-us": (400, "url_forbidden", []),
    "/to-file": (400, "url_forbidden", ["file:"]),
    "/to-other-port": (400, "url_forbidden", ["port 22"]),
    "/to-nowhere": (400, "url_unreachable", []),
}


@pytest.mark.parametrize("page", PAGE_ROWS)
def test_a_page_that_gives_no_picture_is_refused(server: Gateway, web: Web, page: str) -> None:
    status, code, says = PAGE_ROWS[page]
    answer = fetch(server, web.url(page) + "?key=hidden")
    assert_refused(answer, status, code, PARAM, *says)
    assert "hidden" not in answer.body.decode()


@pytest.mark.parametrize("page", ["/picture.png", "/says-jpeg.jpg", "/says-text", "/hop-1"])
def test_a_page_that_gives_a_picture_is_shown_whatever_it_says(server: Gateway, web: Web, page: str) -> None:
    assert fetch(server, web.url(page)).status == 200


def test_every_page_is_tried() -> None:
    shown = {"/picture.png", "/says-jpeg.jpg", "/says-text", "/hop-1", "/hop-2", "/hop-3"}
    assert set(PAGES) == shown | set(PAGE_ROWS)


def test_a_redirect_to_a_forbidden_place_is_not_followed(server: Gateway, web: Web) -> None:
    web.asked.clear()
    fetch(server, web.url("/to-us"))
    assert web.asked == ["/to-us"]


CLIP = "messages[0].content[0]"
DOORS: dict[str, tuple[str, str]] = {
    # what a URL is given for: path, field
    "a clip": ("/v1/chat/completions", f"{CLIP}.video_url.url"),
    "a clip, Qwen's way": ("/v1/chat/completions", f"{CLIP}.video"),
    "a frame": ("/v1/chat/completions", f"{CLIP}.video[1]"),
    "a picture, Qwen's way": ("/v1/chat/completions", f"{CLIP}.image"),
    "a task's picture": ("/v1/caption", "image"),
    "a task's clip": ("/v1/localize-events", "video"),
    "a document": ("/v1/parse-document", "document"),
    "a page to extract from": ("/v1/extract", "document"),
    "a screenshot": ("/v1/act", "screenshot"),
}


def given(door: str, url: str) -> dict[str, Any]:
    """A request with the URL in that place."""
    parts: dict[str, Any] = {
        "a clip": {"type": "video_url", "video_url": {"url": url}},
        "a clip, Qwen's way": {"type": "video", "video": url},
        "a frame": {"type": "video", "video": [uri(picture()), url]},
        "a picture, Qwen's way": {"type": "image", "image": url},
    }
    if door in parts:
        return {**HELLO, "messages": [{"role": "user", "content": [parts[door]]}]}
    more = {
        "a task's clip": {"query": "a dog barks"},
        "a page to extract from": {"schema": {"type": "object", "properties": {"total": {"type": "number"}}}},
        "a screenshot": {"task": "open it"},
    }
    return {DOORS[door][1]: url, **more.get(door, {})}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_leads_inward(server: Gateway, web: Web, door: str) -> None:
    path, field = DOORS[door]
    for url in ("http://127.0.0.1/", "http://[::ffff:169.254.169.254]/", "http://2130706433/", "file:///etc/passwd"):
        answer = server.post(given(door, url), path)
        assert answer.json["error"]["code"] in {"url_forbidden", "invalid_value"}, (url, answer.body)
        assert (answer.status, answer.json["error"]["param"]) == (400, field)
    web.asked.clear()
    assert_refused(server.post(given(door, web.url("/to-us")), path), 400, "url_forbidden", field)
    assert web.asked == ["/to-us"]


def test_clients_that_leave_in_the_middle_of_a_fetch_leave_nothing_open(server: Gateway, web: Web) -> None:
    web.asked.clear()
    body = b'{"model": "%b", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "%b"}]}]}'
    whole = body % (HELLO["model"].encode(), web.url("/says-nothing.png").encode())
    connections = [server.connect() for _ in range(16)]
    for connection in connections:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(whole) + whole)
    assert eventually(lambda: len(web.asked) == 16)
    for connection in connections:
        connection.close()
