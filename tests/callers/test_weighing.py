"""What a request weighs before anything of it is decoded."""

import base64
import io
import time
from typing import Any

import orjson
import pytest
from PIL import Image

from server.callers.weighing import declared_bytes, image_tokens, parts_tokens, places, task_tokens
from server.hot.rewrite import CHAT, rewritten
from server.media.peek import peek_size
from server.media.sizes import shown_size
from server.settings import Settings
from server.tasks import TASKS

SETTINGS = Settings()
MOST = SETTINGS.image_max_pixels // 784
TASK = {task.name: task for task in TASKS}


def picture(kind: str, wh: tuple[int, int], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", wh, "teal").save(buffer, kind, **options)
    return buffer.getvalue()


def uri(data: bytes) -> str:
    return f"data:image/any;base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + bytes(60_000), "icc_profile": bytes(20_000)}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + bytes(100)}),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("wh", [(640, 480), (29, 1000)])
def test_a_pictures_first_bytes_tell_its_size(kind: str, options: dict[str, Any], wh: tuple[int, int]) -> None:
    data = picture(kind, wh, **options)
    assert peek_size(data[: 128 * 1024]) == wh
    shown = shown_size(wh, SETTINGS.image_min_pixels, SETTINGS.image_max_pixels)
    assert image_tokens(uri(data), SETTINGS) == shown[0] * shown[1] // 784


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_bytes_that_were_tampered_with_never_fail_and_cost_no_time(kind: str) -> None:
    data = bytearray(picture(kind, (64, 48)))
    for at in range(min(len(data), 64)):
        for value in (0, 1, 0x7F, 0xFF):
            changed = data[:at] + bytes([value]) + data[at + 1 :]
            size = peek_size(bytes(changed))
            assert size is None or min(size) > 0
    for length in range(64):
        peek_size(bytes(data[:length]))
    started_s = time.thread_time()
    assert peek_size(b"\xff\xd8" + b"\xff" * 131_072) is None
    assert peek_size(b"\xff\xd8" + b"\xff\xe0\x00\x00" * 32_768) is None
    assert time.thread_time() - started_s < 1


@pytest.mark.parametrize(
    "source",
    [
        "https://example.com/a.png",
        "data:image/png;base64,!!!",
        "data:image/png,abc",
        "",
        "file:///etc/passwd",
        "aGVsbG8=",
    ],
)
def test_what_cannot_be_told_counts_as_the_most(source: str) -> None:
    assert image_tokens(source, SETTINGS) == MOST
    assert image_tokens(source, SETTINGS, budget=200_704) == 256


def test_a_chat_requests_pictures_and_clips_are_added_up() -> None:
    body = {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": uri(picture("PNG", (560, 560)))}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
                    {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
                ],
            }
        ],
    }

    prepared = rewritten(orjson.dumps(body), CHAT, SETTINGS)
    assert parts_tokens(prepared.media, SETTINGS) == 400 + 256 + SETTINGS.video_max_tokens


@pytest.mark.parametrize(
    ("name", "fields", "tokens"),
    [
        ("detect", {"image": uri(picture("PNG", (560, 560))), "labels": ["a"]}, 400),
        ("detect", {"image": "https://example.com/a.png", "labels": ["a"]}, MOST),
        ("parse-document", {"document": uri(picture("PNG", (560, 560)))}, 400),
        ("parse-document", {"document": "https://example.com/a.pdf"}, 4 * MOST),
        ("localize-events", {"video": "https://example.com/a.mp4"}, 4 * SETTINGS.video_max_tokens),
        ("caption", {"video": "https://example.com/a.mp4"}, SETTINGS.video_max_tokens),
    ],
)
def test_a_task_weighs_what_it_may_have_before_engines_at_once(name: str, fields: dict[str, Any], tokens: int) -> None:
    task = TASK[name]
    assert task_tokens(task, task.request.model_validate(fields), SETTINGS) == tokens


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({b"content-length": b"12"}, 12),
        ({b"content-length": b"-1"}, 0),
        ({b"transfer-encoding": b"chunked"}, 1000),
        ({}, 0),
    ],
)
def test_a_body_of_unknown_length_counts_as_the_longest(headers: dict[bytes, bytes], length: int) -> None:
    assert declared_bytes(headers, 1000) == length


def test_tokens_and_bytes_take_places() -> None:
    settings = Settings(place_tokens=100, place_bytes=1000)
    assert [places(*each, settings) for each in ((0, 0), (99, 999), (100, 0), (250, 3000))] == [1, 1, 2, 6]
