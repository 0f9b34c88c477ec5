"""Hostile files: none takes more memory than a decode process may have, longer than it may take, or harms another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_input.bombs import CLIPS, DOCUMENTS, PICTURES
from tests.bad_input.files import picture, uri
from tests.bad_input.process import HELLO, Answer, Gateway, eventually, running

MEMORY_BYTES = 1 << 30
TIMEOUT_S = 2
NAMED = {
    "image": {"image_unreadable", "image_unsupported", "image_too_large", "limit_exceeded"},
    "document": {"document_unreadable", "document_unsupported", "document_too_large", "limit_exceeded"},
    "video": {"video_unreadable", "video_unsupported", "video_too_large", "limit_exceeded"},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One decode process, with little memory and little time."""
    flags = {
        "--media-workers": 1,
        "--media-memory-bytes": MEMORY_BYTES,
        "--media-timeout-s": TIMEOUT_S,
        "--media-max-pixels": 50_000_000,
        "--max-tokens-limit": 4096,
    }
    words = [str(word) for flag in flags.items() for word in flag]
    with running(tmp_path_factory.mktemp("gateway"), *words) as gateway:
        yield gateway


@pytest.fixture
def server(gateway: Gateway) -> Iterator[Gateway]:
    """Fails the test that leaves the gateway harmed, or a decode process beyond its memory."""
    yield gateway
    assert max((_peak_bytes(pid) for pid in _workers(gateway)), default=0) <= MEMORY_BYTES
    assert eventually(gateway.is_unharmed), gateway.state()


def _workers(gateway: Gateway) -> list[int]:
    children = Path(f"/proc/{gateway.child.pid}/task/{gateway.child.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def assert_named(answer: Answer, noun: str) -> None:
    """Shown, or refused by a name of its own; never a failure of ours."""
    if answer.status == 200:
        return
    error = answer.json["error"]
    assert error["code"] in NAMED[noun], error
    assert answer.status == (413 if error["code"].endswith("too_large") else 400)
    assert len(error["message"]) < 500


def test_there_are_more_than_sixty() -> None:
    assert len({*PICTURES.values(), *DOCUMENTS.values(), *CLIPS.values()}) >= 60


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES.keys())
def test_a_hostile_picture_is_shown_or_refused_by_name(server: Gateway, data: bytes) -> None:
    content = [{"type": "image_url", "image_url": {"url": uri(data)}}]
    assert_named(server.post({**HELLO, "messages": [{"role": "user", "content": content}]}), "image")


@pytest.mark.parametrize("data", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_hostile_document_is_shown_or_refused_by_name(server: Gateway, data: bytes) -> None:
    asked = {"document": uri(data, "application/pdf"), "pages": "1", "max_tokens": 3}
    answer = server.post(asked, path="/v1/parse-document")
    if answer.status == 502:  # shown: the mock's words are no page
        assert answer.json["error"]["code"] == "answer_unreadable"
    elif answer.status == 400 and answer.json["error"]["code"] == "invalid_value":
        assert "page" in answer.json["error"]["message"]
    else:
        assert_named(answer, "document")


@pytest.mark.parametrize("data", CLIPS.values(), ids=CLIPS.keys())
def test_a_hostile_clip_is_shown_or_refused_by_name(server: Gateway, data: bytes) -> None:
    content = [{"type": "video_url", "video_url": {"url": uri(data, "video/mp4")}}]
    assert_named(server.post({**HELLO, "messages": [{"role": "user", "content": content}]}), "video")


def test_after_all_of_them_a_picture_is_shown(server: Gateway) -> None:
    content = [{"type": "image_url", "image_url": {"url": uri(picture())}}]
    assert server.post({**HELLO, "messages": [{"role": "user", "content": content}]}).status == 200
