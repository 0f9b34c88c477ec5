"""Rows: pictures and clips that are broken, lie, or would cost far more than their bytes say."""

import base64
from typing import Any

import pytest

from tests.bad_input.conftest import assert_refused
from tests.bad_input.files import clip, gif_of, picture, png_of, text_bomb, uri
from tests.bad_input.process import HELLO, Answer, Gateway

IMAGE_PARAM = "messages[0].content[0].image_url.url"
VIDEO_PARAM = "messages[0].content[0].video_url.url"
PICTURE = picture()
PHOTO = picture((640, 480))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"


def show(server: Gateway, url: str) -> Answer:
    """Ask about a picture."""
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return server.post({**HELLO, "messages": [{"role": "user", "content": content}]})


def play(server: Gateway, video: Any) -> Answer:
    """Ask about a clip."""
    content = [{"type": "video_url", "video_url": {"url": video}}]
    return server.post({**HELLO, "messages": [{"role": "user", "content": content}]})


def broken(data: bytes, at: int) -> bytes:
    """The file with a few bytes wrong."""
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 8]) + data[at + 8 :]


PICTURES: dict[str, tuple[str, int, str, list[Any]]] = {
    # name: what is sent, status, code, what the message says
    "cut base64": (uri(PHOTO)[: len(uri(PHOTO)) // 2], 400, "image_unreadable", []),
    "cut base64 of a JPEG": (uri(picture((640, 480), "JPEG"))[:2001], 400, "image_unreadable", []),
    "no base64": ("data:image/png;base64,§§§§", 400, "invalid_value", ["ASCII"]),
    "base64 of odd characters": ("data:image/png;base64,!!!!", 400, "image_unreadable", ["base64"]),
    "one character of base64": ("data:image/png;base64,A", 400, "image_unreadable", ["base64"]),
    "no data": ("data:image/png;base64,", 400, "image_unreadable", ["0 bytes"]),
    "no comma": ("data:image/png;base64", 400, "invalid_value", ["comma"]),
    "only the scheme": ("data:", 400, "invalid_value", ["comma"]),
    "no base64 marker": (f"data:image/png,{base64.b64encode(PICTURE).decode()}", 400, "image_unreadable", []),
    "half a file": (uri(PICTURE[: len(PICTURE) // 2]), 400, "image_unreadable", ["PNG"]),
    "only the magic": (uri(PICTURE[:8]), 400, "image_unreadable", ["PNG"]),
    "half a JPEG": (uri(picture((640, 480), "JPEG")[:700]), 400, "image_unreadable", ["JPEG"]),
    "a broken PNG": (uri(broken(PICTURE, 20)), 400, "image_unreadable", ["PNG"]),
    "a broken WebP": (uri(broken(picture(kind="WEBP"), 20)), 400, "image_unreadable", ["WEBP"]),
    "noise": (uri(bytes(range(256)) * 40), 400, "image_unreadable", ["recognised"]),
    "text": ("aGVsbG8gd29ybGQ=", 400, "image_unreadable", ["recognised"]),
    "HTML that says PNG": (uri(b"<!doctype html><p>Sign in"), 400, "image_unsupported", ["HTML"]),
    "SVG": (uri(SVG, "image/svg+xml"), 400, "image_unsupported", ["SVG"]),
    "SVG that says PNG": (uri(SVG), 400, "image_unsupported", ["SVG"]),
    "PDF": (uri(PDF, "application/pdf"), 400, "image_unsupported", ["PDF"]),
    "video": (uri(clip(frames=3), "video/mp4"), 400, "image_unsupported", ["MP4"]),
    "ZIP": (uri(b"PK\x03\x04" + bytes(100)), 400, "image_unsupported", ["ZIP"]),
    "PostScript": (uri(b"%!PS-Adobe-3.0 EPSF-3.0\n"), 400, "image_unsupported", ["PostScript"]),
    "1x20000": (uri(picture((1, 20000))), 400, "limit_exceeded", ["1x20000", "20000", "the limit is 200"]),
    "20000x1": (uri(picture((20000, 1))), 400, "limit_exceeded", ["20000x1", "the limit is 200"]),
    "0x0": (uri(png_of((0, 0))), 400, "image_unreadable", []),
    "a bomb of pixels": (uri(png_of((20000, 20000))), 413, "image_too_large", ["400000000 pixels", "50000000 pixels"]),
    "the largest header": (uri(png_of((2**31 - 1, 2**31 - 1))), 413, "image_too_large", ["the limit is 50000000"]),
    "a bomb of pixels in TIFF": (
        uri(b"II*\x00\x08\x00\x00\x00\x02\x00\x00\x01\x04\x00\x01\x00\x00\x00\xff\xff\xff\x7f"
            b"\x01\x01\x04\x00\x01\x00\x00\x00\xff\xff\xff\x7f\x00\x00\x00\x00"),
        400, "image_unreadable", ["TIFF"],
    ),
    "a bomb of text": (uri(text_bomb()), 400, "image_unreadable", ["PNG"]),
    "a bomb of bytes": (uri(bytes(3 << 20)), 413, "image_too_large", [3 << 20, "the limit is 1048576 bytes"]),
}  # fmt: skip


@pytest.mark.parametrize(("url", "status", "code", "says"), PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_that_cannot_be_shown_is_refused(
    server: Gateway, url: str, status: int, code: str, says: list[Any]
) -> None:
    assert_refused(show(server, url), status, code, IMAGE_PARAM, *says)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param(uri(PICTURE, "image/jpeg"), "56x56", id="PNG that says JPEG"),
        pytest.param(uri(picture(kind="JPEG"), "text/html"), "56x56", id="JPEG that says HTML"),
        pytest.param(uri(PICTURE, ""), "56x56", id="no type"),
        pytest.param(uri(PICTURE).replace("base64", "charset=utf-8;name=a.png;BASE64"), "56x56", id="parameters"),
        pytest.param(f"  {uri(PICTURE)}\n", "56x56", id="blanks around"),
        pytest.param(uri(PICTURE).rstrip("="), "56x56", id="no padding"),
        pytest.param(base64.b64encode(PICTURE).decode(), "56x56", id="bare base64"),
        pytest.param(uri(picture((1, 1))), "56x56", id="1x1"),
        pytest.param(uri(gif_of(300), "image/gif"), "56x56", id="an animation of 300 pictures shows its first"),
    ],
)
def test_a_picture_that_is_only_odd_is_shown(server: Gateway, url: str, shown: str) -> None:
    answer = show(server, url)
    assert answer.status == 200, answer.body
    assert answer.headers["x-model-input-size"] == shown


def test_one_bad_picture_among_good_ones_is_named(server: Gateway) -> None:
    good, bad = ({"type": "image_url", "image_url": {"url": uri(data)}} for data in (PICTURE, PICTURE[:50]))
    answer = server.post({**HELLO, "messages": [{"role": "user", "content": [good, good, bad, good]}]})
    assert_refused(answer, 400, "image_unreadable", "messages[0].content[2].image_url.url")


def _header_says(duration_s: int, data: bytes) -> bytes:
    """The MP4 with another length in its headers (mvhd, tkhd, mdhd), in their own time scales."""
    for atom, scale_at, length_at in ((b"mvhd", 12, 16), (b"mdhd", 12, 16)):
        at = data.index(atom) + 4
        scale = int.from_bytes(data[at + scale_at : at + scale_at + 4])
        data = data[: at + length_at] + (duration_s * scale).to_bytes(4) + data[at + length_at + 4 :]
    return data


FILM = clip(frames=20)
CLIPS: dict[str, tuple[str, int, str, list[str]]] = {
    "no frames": (uri(clip(frames=0), "video/mp4"), 400, "video_unreadable", []),
    "only a header": (uri(FILM[:200], "video/mp4"), 400, "video_unreadable", []),
    "only sound": (uri(clip(frames=0, wh=(0, 0), audio_s=1), "video/mp4"), 400, "video_unreadable", ["no video"]),
    "half a file": (uri(FILM[: len(FILM) // 2], "video/mp4"), 400, "video_unreadable", []),
    "only the magic": (uri(FILM[:16], "video/mp4"), 400, "video_unreadable", []),
    "noise in the middle": (uri(FILM[:48] + bytes(range(256)) * 8, "video/mp4"), 400, "video_unreadable", []),
    "a picture": (uri(PICTURE, "video/mp4"), 400, "video_unsupported", ["PNG"]),
    "HTML that says MP4": (uri(b"<html>404", "video/mp4"), 400, "video_unsupported", ["HTML"]),
    "a playlist": (uri(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "video/mp4"), 400, "video_unsupported", ["HLS"]),
    "a list of files": (
        uri(b"ffconcat version 1.0\nfile /etc/passwd\n", "video/mp4"), 400, "video_unreadable", ["recognised"],
    ),
    "cut base64": (uri(FILM, "video/mp4")[:-1001], 400, "video_unreadable", []),
    "a bomb of frames": (
        uri(clip(frames=40, fps=1), "video/mp4"), 413, "video_too_large", ["40.0 seconds", "the limit is 16"],
    ),
    "a bomb of bytes": (uri(bytes(5 << 20), "video/mp4"), 413, "video_too_large", ["the limit is 2097152 bytes"]),
    "a list of 10,000 frames": (
        "data:video/jpeg;base64," + "AAAA," * 10_000 + "AAAA", 413, "video_too_large", ["10001 frames", "32 frames"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("url", "status", "code", "says"), CLIPS.values(), ids=CLIPS.keys())
def test_a_clip_that_cannot_be_shown_is_refused(
    server: Gateway, url: str, status: int, code: str, says: list[Any]
) -> None:
    assert_refused(play(server, url), status, code, VIDEO_PARAM, *says)


def test_a_list_of_no_frames_is_refused_at_its_first(server: Gateway) -> None:
    assert_refused(play(server, "data:video/jpeg;base64,"), 400, "image_unreadable", f"{VIDEO_PARAM}[0]", "0 bytes")


def test_frames_of_which_one_is_broken_are_refused_by_its_place(server: Gateway) -> None:
    frames = [uri(PICTURE), uri(PICTURE), uri(PICTURE[:60]), uri(PICTURE)]
    answer = server.post({**HELLO, "messages": [{"role": "user", "content": [{"type": "video", "video": frames}]}]})
    assert_refused(answer, 400, "image_unreadable", "messages[0].content[0].video[2]")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(clip(frames=20, audio_s=2), id="with sound"),
        pytest.param(clip(frames=1), id="one frame"),
        pytest.param(_header_says(4 * 86400, FILM), id="a header that says four days"),
        pytest.param(gif_of(5), id="an animation"),
    ],
)
def test_a_clip_that_is_only_odd_is_shown(server: Gateway, data: bytes) -> None:
    answer = play(server, uri(data, "application/octet-stream"))
    assert answer.status == 200, answer.body


def test_sixteen_broken_pictures_at_once_leave_the_decoders_alive(server: Gateway) -> None:
    for _ in range(16):
        assert show(server, uri(png_of((5000, 5000), bytes(1000)))).status == 400
    assert show(server, uri(PICTURE)).status == 200
