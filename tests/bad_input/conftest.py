"""Rows of bad input: one gateway for all of them, looked at after each."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bad_input.files import ELSEWHERE, Web, serving
from tests.bad_input.process import Answer, Gateway, eventually, running

LIMITS = {
    "--max-body-bytes": 8 << 20,
    "--body-timeout-s": 0.5,
    "--media-workers": 2,
    "--media-max-bytes": 1 << 20,
    "--video-max-bytes": 2 << 20,
    "--media-max-pixels": 50_000_000,
    "--video-max-frames": 32,
    "--fetch-timeout-s": 1,
    "--fetch-max-redirects": 3,
    "--fetch-allow-network": f"{ELSEWHERE}/32",
    "--max-images": 4,
    "--max-messages": 64,
}


@pytest.fixture(scope="package")
def web() -> Iterator[Web]:
    """A web server at ELSEWHERE."""
    with serving() as web:
        yield web


@pytest.fixture(scope="package")
def gateway_of_all_rows(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One child process for the whole package."""
    flags = [text for flag, value in LIMITS.items() for text in (flag, str(value))]
    ports = ["--fetch-allow-port", "80", "--fetch-allow-port", "443", "--fetch-allow-port", str(web.server_port)]
    with running(tmp_path_factory.mktemp("gateway"), *flags, *ports) as gateway:
        yield gateway


@pytest.fixture
def server(gateway_of_all_rows: Gateway) -> Iterator[Gateway]:
    """The gateway; fails the test that leaves it harmed."""
    yield gateway_of_all_rows
    assert eventually(gateway_of_all_rows.is_unharmed), gateway_of_all_rows.state()


def assert_refused(answer: Answer, status: int, code: str, param: str | None = None, *says: Any) -> None:
    """The answer is OpenAI's error object with these, and its message holds all of `says`."""
    assert answer.status == status, answer.body[:500]
    assert answer.headers["content-type"] == "application/json"
    error = answer.json["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert error["type"] == ("invalid_request_error" if status < 500 else "server_error")
    for words in says:
        assert str(words) in error["message"], error["message"]
    assert len(error["message"]) < 1000, "what is sent must not come back whole"
