"""The loader that the rest of the server calls: every form of source, through a real decode process."""

import asyncio
import base64
import io
import os
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.photos import jpeg, photo
from server.errors import CallerError, InvalidValue, MediaTooLarge, MediaUnreadable, UrlForbidden
from server.media import MediaLoader
from server.settings import Settings
from tests.conftest import until
from tests.media.conftest import make

PHOTO = jpeg(photo((700, 500)), 90)
BASE64 = base64.b64encode(PHOTO).decode()
CLIP = make([index / 10 for index in range(20)], wh=(480, 320))


def png(level):
    buffer = io.BytesIO()
    Image.new("RGB", (448, 336), (level,) * 3).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


SOURCES = {
    "data-uri": f"data:image/jpeg;base64,{BASE64}",
    "lying-type": f"data:image/png;base64,{BASE64}",
    "no-type": f"data:;base64,{BASE64}",
    "parameters": f"data:image/jpeg;charset=utf-8;name=a.jpg;base64,{BASE64}",
    "upper-case": f"DATA:IMAGE/JPEG;BASE64,{BASE64}",
    "bare": BASE64,
    "no-padding": "data:image/jpeg;base64," + BASE64.rstrip("="),
    "line-breaks": "data:image/jpeg;base64," + "\r\n".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
    "url-safe": "data:image/jpeg;base64," + BASE64.replace("+", "-").replace("/", "_"),
    "percent-in-base64": "data:image/jpeg;base64," + urllib.parse.quote(BASE64, safe=""),
    "percent": "data:image/jpeg," + urllib.parse.quote_from_bytes(PHOTO),
    "blanks-around": f"  data:image/jpeg;base64,{BASE64}\n",
}


@pytest.mark.parametrize("source", [pytest.param(source, id=name) for name, source in SOURCES.items()])
async def test_every_way_to_write_a_picture_gives_the_same(loader, source):
    view = await loader.load_image(source, param="image")

    assert (view.original_wh, view.shown_wh) == ((700, 500), (700, 504))
    assert view.digest == (await loader.load_image_bytes(PHOTO, param="image")).digest
    assert view.visual_tokens == 450


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("", "invalid_value"),
        ("photo.jpg", "invalid_value"),
        ("/etc/passwd", "image_unreadable"),
        ("data:image/png;base64", "invalid_value"),
        ("data:image/png;base64,", "image_unreadable"),
        ("data:image/png;base64,!!!!", "image_unreadable"),
        ("data:image/jpeg;base64," + BASE64[:-2001], "image_unreadable"),
        ("data:image/png;base64,é", "invalid_value"),
        ("file:///etc/passwd", "url_forbidden"),
        ("ftp://8.8.8.8/a.png", "url_forbidden"),
        ("javascript:alert(1)", "url_forbidden"),
        ("http://127.0.0.1:80/a.png", "url_forbidden"),
        ("http://" + "a" * 9000, "invalid_value"),
    ],
)
async def test_what_is_no_picture_is_refused_by_name(loader, source, code):
    with pytest.raises(CallerError) as caught:
        await loader.load_image(source, param="messages[0].content[1].image_url.url")

    assert (caught.value.param, caught.value.code) == ("messages[0].content[1].image_url.url", code)


async def test_a_source_far_above_the_byte_limit_is_refused_before_it_is_decoded():
    loader = MediaLoader(Settings(media_workers=1, media_max_bytes=1000))
    with pytest.raises(MediaTooLarge) as caught:
        await loader.load_image(SOURCES["data-uri"], param="image")
    await loader.close()

    assert caught.value.details["limit"] == 1000


async def test_detail_lowers_the_budget_and_cannot_raise_it(loader):
    large = jpeg(photo((2000, 1500)), 80)

    low = await loader.load_image_bytes(large, param="image", max_pixels=200704)
    high = await loader.load_image_bytes(large, param="image", max_pixels=10**9)

    assert low.shown_wh == (504, 364)
    assert high.shown_wh == (1148, 840)


async def test_a_clip_is_loaded_from_a_data_uri(loader):
    source = "data:video/mp4;base64," + base64.b64encode(CLIP).decode()

    clip = await loader.load_clip(source, param="video")

    assert (clip.original_wh, clip.shown_wh) == ((480, 320), (476, 308))
    assert clip.frame_times_s == pytest.approx((0, 0.5, 1, 1.5), abs=1e-3)
    assert (clip.fps, clip.start_s, clip.end_s, clip.duration_s) == (2, 0, pytest.approx(2), pytest.approx(2))
    assert clip.url.startswith("data:video/jpeg;base64,/9j/")
    assert clip.url.count(",") == 4
    assert clip.visual_tokens == 2 * 17 * 11


async def test_media_are_fetched_from_urls():
    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = CLIP if b"/clip" in await reader.readuntil(b"\r\n\r\n") else PHOTO
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(met, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        loader = MediaLoader(Settings(media_workers=1, fetch_allow_network=["127.0.0.0/8"], fetch_allow_port=[port]))
        base = f"http://127.0.0.1:{port}"
        view = await loader.load_image(f"{base}/photo", param="image")
        clip = await loader.load_clip(f"{base}/clip", param="video", start_s=1)
        frames = await loader.load_clip([f"{base}/{index}" for index in range(4)], param="video")
        await loader.close()

    assert view.original_wh == (700, 500)
    assert clip.frame_times_s == pytest.approx((1, 1.5), abs=1e-3)
    assert len(frames.frame_times_s) == 4


async def test_a_list_of_frames_is_a_clip_and_so_is_the_data_uri_form(loader):
    sources = [png(level) for level in (10, 50, 90)]
    joined = "data:video/jpeg;base64," + ",".join(source.partition(",")[2] for source in sources)

    listed = await loader.load_clip(sources, param="video", fps=1)
    written = await loader.load_clip(joined, param="video", fps=1)

    assert listed == written
    assert listed.frame_times_s == (0, 1, 2, 2)
    assert (listed.fps, listed.duration_s, listed.shown_wh) == (2, 3, (448, 336))


async def test_a_part_of_a_list_is_chosen_by_time(loader):
    clip = await loader.load_clip([png(level) for level in range(0, 200, 20)], param="video", start_s=1, end_s=3)

    assert len(clip.frame_times_s) == 4


@pytest.mark.parametrize(
    ("source", "how", "error"),
    [
        ([], {}, InvalidValue),
        ("data:video/mp4;base64,AAAA", {"fps": 0}, InvalidValue),
        ("data:video/mp4;base64,AAAA", {"fps": float("nan")}, InvalidValue),
        ("data:video/mp4;base64,AAAA", {"start_s": -1}, InvalidValue),
        ("data:video/mp4;base64,AAAA", {"start_s": 5, "end_s": 5}, InvalidValue),
        ("data:video/mp4;base64,AAAA", {}, MediaUnreadable),
        (["file:///a.png"], {}, UrlForbidden),
        ([BASE64] * 769, {}, MediaTooLarge),
    ],
)
async def test_what_is_no_clip_is_refused(loader, source, how, error):
    with pytest.raises(error) as caught:
        await loader.load_clip(source, param="video", **how)

    assert caught.value.param.startswith("video")


async def test_decode_processes_end_when_the_server_is_killed(tmp_path):
    program = (
        "import asyncio\n"
        "from server.media import MediaLoader\n"
        "from server.settings import Settings\n"
        "async def main():\n"
        "    loader = MediaLoader(Settings(media_workers=1))\n"
        "    await loader.start()\n"
        "    print(loader._workers._idle[0].child.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        child = Path("/proc") / server.stdout.readline().strip()
        assert child.exists()
        server.send_signal(signal.SIGKILL)

    await until(lambda: not (child / "cmdline").exists() or not (child / "cmdline").read_bytes())


def test_a_decode_process_does_not_import_what_it_does_not_need():
    found = subprocess.run(
        [sys.executable, "-c", "import sys, server.media.worker, server.media.image; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.defpath},
        cwd=Path(__file__).parents[2],
    ).stdout.split()

    assert {"asyncio", "httpx2", "pydantic", "server.settings"}.isdisjoint(found)
