"""Pictures that an engine of this machine is handed as files: there for as long as the request, and gone after it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx2
import orjson
import pytest
from PIL import Image

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from benchmarks.photos import jpeg, photo
from server.app import create_server
from server.errors import MediaUnreadable
from server.media import MediaLoader
from server.settings import Settings
from tests.conftest import ASK, until

PHOTO = "data:image/jpeg;base64," + base64.b64encode(jpeg(photo((700, 500)), 90)).decode()
BROKEN = "data:image/jpeg;base64," + base64.b64encode(jpeg(photo((700, 500)), 90)[:200]).decode()


def asking(*urls: str, **options: Any) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {**ASK, "messages": [{"role": "user", "content": parts}], **options}


@asynccontextmanager
async def gateway(engine_url: str, shared: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A gateway whose engine takes pictures from `shared`."""
    settings = Settings(port=0, access_log=False, log_level="warning", engine_poll_s=0.05, media_workers=1)
    server = create_server(settings, [engine_url], shared=shared)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.should_exit = server.force_exit = True
        await task


async def test_a_picture_comes_as_a_file_with_the_pixels_it_would_have_inline(tmp_path: Path) -> None:
    loader = MediaLoader(Settings(media_workers=1), tmp_path)
    await loader.start()
    try:
        inline = await loader.load_image(PHOTO, param="image")
        handed = await loader.load_image(PHOTO, param="image", by_file=True)
        assert handed.file is not None
        assert handed.url == handed.file.as_uri()
        assert handed.file.read_bytes() == base64.b64decode(inline.url.partition(",")[2])
        assert handed.file.stat().st_mode & 0o077 == 0
        handed.release()
        assert list(tmp_path.iterdir()) == []
    finally:
        await loader.close()


@pytest.mark.parametrize("source", [BROKEN, "data:image/png;base64,AAAA"])
async def test_a_picture_that_cannot_be_read_leaves_no_file(tmp_path: Path, source: str) -> None:
    loader = MediaLoader(Settings(media_workers=1), tmp_path)
    await loader.start()
    try:
        with pytest.raises(MediaUnreadable):
            await loader.load_image(source, param="image", by_file=True)
        assert list(tmp_path.iterdir()) == []
    finally:
        await loader.close()


async def test_the_engine_is_told_files_and_they_go_with_the_answer(mock: Mock, tmp_path: Path) -> None:
    engine_url = await mock.listen()
    async with gateway(engine_url, tmp_path) as client:
        answer = await client.post("/v1/chat/completions", json=asking(PHOTO, PHOTO))
        assert answer.status_code == 200
        assert answer.headers["x-model-input-size"] == "700x504,700x504"
        (asked,) = [request for request in mock.requests if request.url == b"/v1/chat/completions"]
        urls = [part["image_url"]["url"] for part in orjson.loads(asked.body)["messages"][0]["content"]]
        assert [urlparse(url).scheme for url in urls] == ["file", "file"]
        assert len({*urls}) == 2
        assert list(tmp_path.iterdir()) == []


async def test_files_stay_while_the_answer_streams_and_go_when_the_caller_leaves(mock: Mock, tmp_path: Path) -> None:
    mock.behaviour = Behaviour(chunks=1000, interval_ms=20)
    engine_url = await mock.listen()
    async with gateway(engine_url, tmp_path) as client:
        async with client.stream("POST", "/v1/chat/completions", json=asking(PHOTO, stream=True)) as answer:
            events = answer.aiter_raw()
            await anext(events)
            (path,) = tmp_path.iterdir()
            with Image.open(path) as picture:
                assert picture.size == (700, 504)
        await until(lambda: not list(tmp_path.iterdir()))


async def test_where_no_file_can_be_made_the_picture_goes_inline(mock: Mock, tmp_path: Path) -> None:
    engine_url = await mock.listen()
    async with gateway(engine_url, tmp_path / "absent") as client:
        answer = await client.post("/v1/chat/completions", json=asking(PHOTO))
        assert answer.status_code == 200
        (asked,) = [request for request in mock.requests if request.url == b"/v1/chat/completions"]
        assert orjson.loads(asked.body)["messages"][0]["content"][0]["image_url"]["url"].startswith(
            "data:image/bmp;base64,"
        )
