"""Rows: paths, methods, queries and keys."""

from collections.abc import Iterator

import pytest

from tests.bad_input.conftest import assert_refused
from tests.bad_input.process import CHAT, HELLO, Gateway, running

HOT = [CHAT, "/v1/completions", "/v1/responses", "/tokenize", "/detokenize"]
READ = ["/healthz", "/readyz", "/metrics", "/v1/models", "/v1/models/qwen2.5-vl"]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"]

NOWHERE = [
    "/assets/",
    "/assets/../../pyproject.toml",
    "/v1",
    "/v1/",
    "/v1/chat",
    "/v1/chat/completions/",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/V1/CHAT/COMPLETIONS",
    "/v1/chat/completions.json",
    "/v1/chat/completions;a=b",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1/chat/./completions",
    "/v1/models/a%0ab",
    "*",
    "/../../etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/static/../../etc/passwd",
    "/v1/embeddings",
    "/v1/images/generations",
    "/load_lora_adapter",
    "/collective_rpc",
    "/sleep",
    "/reset_prefix_cache",
    "/invocations",
    "/server_info",
    "/health",
    "/healthz/",
    "/%ff%fe",
    "/%",
    "/%zz",
    "/a%0d%0aset-cookie:%20a=b",
    "/a%0a127.0.0.1%20GET%20/forged",
    "/<script>alert(1)</script>",
    "/" + "x" * 8000,
]


@pytest.mark.parametrize("path", NOWHERE, ids=lambda path: path[:40])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_there_is_not_is_a_404(server: Gateway, method: str, path: str) -> None:
    answer = server.post(HELLO, path) if method == "POST" else server.ask(method, path)
    assert_refused(answer, 404, "not_found", None)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ["../chat/completions", "..%2f..", "%00", "x" * 3000, "<script>"], ids=lambda n: n[:9])
def test_a_model_that_there_is_not_is_a_404(server: Gateway, name: str) -> None:
    assert_refused(server.ask("GET", f"/v1/models/{name}"), 404, "model_not_found", "model", "qwen2.5-vl")


@pytest.mark.parametrize("path", HOT)
@pytest.mark.parametrize("method", [method for method in METHODS if method != "POST"])
def test_another_method_on_a_path_for_post_is_a_405(server: Gateway, method: str, path: str) -> None:
    answer = server.ask(method, path)
    assert answer.headers["allow"] == "POST"
    if method == "HEAD":
        assert (answer.status, answer.body) == (405, b"")
    else:
        assert_refused(answer, 405, "method_not_allowed", None, method, "POST")


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("GET", "HEAD")])
def test_another_method_on_a_path_for_get_is_a_405(server: Gateway, method: str, path: str) -> None:
    answer = server.ask(method, path)
    assert answer.headers["allow"] == "GET"
    assert_refused(answer, 405, "method_not_allowed", None, method)


@pytest.mark.parametrize("path", READ)
def test_head_is_answered_without_a_body(server: Gateway, path: str) -> None:
    answer = server.ask("HEAD", path)
    assert answer.status in (200, 405)
    assert answer.body == b""


@pytest.mark.parametrize("path", [CHAT, "/healthz"])
@pytest.mark.parametrize("query", ["?", "?a=b", "?%00", "?" + "a" * 5000, "?a=%ff", "#x", "?model=other&stream=true"])
def test_a_query_changes_nothing(server: Gateway, path: str, query: str) -> None:
    answer = server.post(HELLO, path + query) if path == CHAT else server.ask("GET", path + query)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"


def test_an_encoded_slash_is_the_same_path_and_no_way_around_the_checks(server: Gateway) -> None:
    answer = server.post({**HELLO, "n": 99}, "/v1/chat%2Fcompletions")
    assert_refused(answer, 400, "limit_exceeded", "n")


def test_nothing_that_is_sent_can_write_a_line_of_the_log(server: Gateway) -> None:
    server.ask("GET", "/a%0aGET%20/forged%20200")
    server.ask("GET", "/a%1b[31mred")
    log = server.log.read_bytes()
    assert b"\nGET /forged" not in log
    assert b"\x1b" not in log


# -- keys ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks for a key."""
    with running(tmp_path_factory.mktemp("locked"), "--media-workers", "1", key="sk-right") as gateway:
        yield gateway


WRONG_KEYS = {
    "none": None,
    "empty": "",
    "the key alone": "sk-right",
    "another scheme": "Basic c2stcmlnaHQ=",
    "no key": "Bearer",
    "blanks for a key": "Bearer   ",
    "a wrong key": "Bearer sk-wrong",
    "the start of the key": "Bearer sk-righ",
    "more than the key": "Bearer sk-right2",
    "another case": "Bearer SK-RIGHT",
    "in quotes": 'Bearer "sk-right"',
    "two keys": "Bearer sk-wrong, Bearer sk-right",
    "not ASCII": "Bearer sk-\xe9",
    "very long": "Bearer " + "x" * 10_000,
}


@pytest.mark.parametrize("key", WRONG_KEYS.values(), ids=WRONG_KEYS.keys())
@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
def test_without_the_right_key_there_is_a_401(locked: Gateway, path: str, key: str | None) -> None:
    headers = {} if key is None else {"authorization": key}
    answer = locked.post(HELLO, path, **headers) if path == CHAT else locked.ask("GET", path, headers=headers)
    assert_refused(answer, 401, "invalid_api_key", None)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "sk-" not in answer.body.decode()
    assert "sk-" not in locked.log.read_text()


@pytest.mark.parametrize("key", ["Bearer sk-right", "bearer sk-right", "Bearer   sk-right  "])
def test_with_the_right_key_there_is_an_answer(locked: Gateway, key: str) -> None:
    assert locked.post(HELLO, authorization=key).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_needs_no_key(locked: Gateway, path: str) -> None:
    assert locked.ask("GET", path).status == 200
