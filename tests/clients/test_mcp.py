"""The MCP server, asked by the official client: over stdin and stdout as programs start it, and over HTTP."""

import asyncio
import base64
import io
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from qwenvl import AsyncClient, Detection
from qwenvl.cli import exits, main
from qwenvl.mcp_server import mcp_server
from tests.clients.conftest import Served
from tests.conftest import until
from tests.media.conftest import make
from tests.tasks.common import pdf, uri

CAT = '[{"bbox_2d":[14,28,140,56],"label":"cat"}]'
PAGE = '<html><body><h1 data-bbox="1 2 90 40">Bill</h1></body></html>'
EVENTS = '[{"start_time":"00:01.00","end_time":"00:02.00","description":"It grows."}]'
CLICK = '<tool_call>{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [14, 28]}}</tool_call>'


@pytest.fixture
def folder(tmp_path: Path, photo: Path) -> Path:
    (tmp_path / "bill.pdf").write_bytes(pdf((200, 200, "a"), (200, 200, "b")))
    (tmp_path / "clip.mp4").write_bytes(make([at / 10 for at in range(40)]))
    return tmp_path


@asynccontextmanager
async def in_process(served: Served, *roots: Path) -> AsyncIterator[Client]:
    async with Client(mcp_server(AsyncClient(served.url, max_retries=0), roots)) as client:
        yield client


def text(result: CallToolResult) -> str:
    first = result.content[0]
    assert isinstance(first, TextContent)
    return first.text


CASES = [
    ("detect", {"image": "photo.jpg", "labels": ["cat"]}, CAT, "cat\t14 28 140 56", "count", 1),
    ("parse_document", {"document": "bill.pdf", "pages": "1"}, PAGE, "# Bill", "status", "completed"),
    ("localize_events", {"video": "clip.mp4"}, EVENTS, "It grows.", "duration_s", 4.0),
    ("read_text", {"image": "photo.jpg"}, "STOP", "STOP", "text", "STOP"),
    ("caption", {"video": "clip.mp4", "length": "short"}, "It grows.", "It grows.", "caption", "It grows."),
    ("extract", {"document": "photo.jpg", "json_schema": {"type": "object"}}, '{"a": 1}', '"a": 1', "data", {"a": 1}),
    ("act", {"screenshot": "photo.jpg", "task": "open it"}, CLICK, "left_click", "needs_confirmation", False),
]


async def test_every_task_is_a_tool_with_words_and_checked_numbers(served: Served, folder: Path):
    async with in_process(served, folder) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {case[0] for case in CASES} | {"ask"}
        for name, arguments, said, words, field, value in CASES:
            served.says(said)
            result = await client.call_tool(name, arguments)
            assert not result.is_error, (name, result)
            assert words in text(result), name
            assert result.structured_content is not None
            assert result.structured_content[field] == value, name
            assert tools[name].output_schema
            assert tools[name].annotations is not None
            assert tools[name].annotations.read_only_hint


async def test_anything_can_be_asked(served: Served, folder: Path):
    served.says("A red picture.")
    async with in_process(served, folder) as client:
        result = await client.call_tool("ask", {"question": "What is it?", "images": ["photo.jpg"]})
    assert text(result) == "A red picture."
    assert served.asked()["messages"][0]["content"][1]["text"] == "What is it?"


async def test_progress_is_told_page_by_page(served: Served, folder: Path):
    served.says(PAGE)
    told = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async with in_process(served, folder) as client:
        await client.call_tool("parse_document", {"document": "bill.pdf"}, progress_callback=progress)
    assert told == [1, 2]


async def test_the_picture_comes_with_what_was_found_drawn(served: Served, folder: Path):
    served.says(CAT)
    async with in_process(served, folder) as client:
        result = await client.call_tool("detect", {"image": "photo.jpg", "labels": ["cat"], "overlay": True})
    picture = result.content[1]
    assert isinstance(picture, ImageContent)
    assert Image.open(io.BytesIO(base64.b64decode(picture.data))).size == (560, 280)


async def test_a_data_uri_needs_no_folder(served: Served, photo: Path):
    served.says(CAT)
    async with in_process(served) as client:
        result = await client.call_tool("detect", {"image": uri(photo.read_bytes()), "labels": ["cat"]})
    assert Detection.model_validate(result.structured_content).count == 1


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "link.jpg"])
async def test_files_outside_the_folders_are_not_read(served: Served, folder: Path, name: str):
    inner = folder / "inner"
    inner.mkdir()
    (folder / "secret.jpg").write_bytes(b"secret")
    (inner / "link.jpg").symlink_to(folder / "secret.jpg")
    async with in_process(served, inner) as client:
        result = await client.call_tool("caption", {"image": name})
    assert result.is_error
    assert "is not below the folders" in text(result)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("caption", {"image": "missing.jpg"}, "is no file below"),
        ("caption", {}, "give image or video"),
        ("extract", {"document": "photo.jpg"}, "give schema or question"),
        ("detect", {"image": "photo.jpg", "labels": ["cat"]}, "the model's answer"),
    ],
    ids=["no file", "nothing", "no question", "unreadable answer"],
)
async def test_failures_are_told_to_the_model_in_words(
    served: Served, folder: Path, name: str, arguments: dict[str, Any], words: str
):
    served.says("I see nothing of the kind.")
    async with in_process(served, folder) as client:
        result = await client.call_tool(name, arguments)
    assert result.is_error
    assert words in text(result)


async def test_it_is_started_by_a_command_and_speaks_on_stdin_and_stdout(served: Served, folder: Path):
    served.says(CAT)
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "qwenvl", "mcp", "--url", served.url], cwd=folder, env=dict(os.environ)
    )
    async with Client(program) as client:
        result = await client.call_tool("detect", {"image": "photo.jpg", "labels": ["cat"]})
    assert result.structured_content is not None
    assert result.structured_content["count"] == 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_it_serves_http_to_who_knows_the_token(served: Served, folder: Path):
    served.says(CAT)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "qwenvl", "mcp", "--http", "--port", str(port), "--root", str(folder)),
        *("--url", served.url, "--token", "secret"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/mcp"
    try:
        async with httpx2.AsyncClient(headers={"authorization": "Bearer secret"}) as http:

            async def is_up() -> bool:
                try:
                    return (await http.post(url, json={}, headers={"authorization": "Bearer wrong"})).status_code == 401
                except httpx2.ConnectError:
                    return False

            await until(is_up, timeout_s=30)
            async with Client(streamable_http_client(url, http_client=http)) as client:
                result = await client.call_tool("detect", {"image": "photo.jpg", "labels": ["cat"]})
        assert result.structured_content is not None
        assert result.structured_content["count"] == 1
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--http", "--host", "0.0.0.0"], "give them a --token"), (["--root", "nowhere"], "is no folder")],
    ids=["open to all", "no folder"],
)
def test_what_would_be_unsafe_or_senseless_is_refused(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["mcp", *arguments])
    assert left.value.code == exits.USAGE
    assert words in capsys.readouterr().err
