"""What the tests of tasks share: pictures, documents, and words for the mock engine to say."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from PIL import Image

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.app import create_server
from server.settings import Settings
from tests.conftest import until


def picture(width: int = 560, height: int = 280, orientation: int = 1) -> bytes:
    """A JPEG, stored so that `orientation` turns it to `width` x `height`."""
    wh = (width, height) if orientation < 5 else (height, width)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.new("RGB", wh, (200, 30, 30)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def uri(data: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def says(mock: Mock, answer: str, chunks: int = 7, **more: Any) -> None:
    mock.behaviour = Behaviour(answer=answer, chunks=chunks, **more)


def asked(mock: Mock) -> dict[str, Any]:
    """The last request that the engine got."""
    return json.loads(mock.requests[-1].body)


def events(text: str) -> list[tuple[str, Any]]:
    found = []
    for event in filter(None, text.split("\n\n")):
        kind = "message"
        for line in event.split("\n"):
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
                found.append((kind, data if data == "[DONE]" else json.loads(data)))
    return found


def pdf(*pages: tuple[float, float, str], rotate: int = 0) -> bytes:
    """A PDF with a page of (width, height) in points for each entry, and its words in its text layer."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for width, height, words in pages:
        stream = f"BT /F1 18 Tf 20 {height - 40:g} Td ({words}) Tj ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:g} {height:g}] /Rotate {rotate} "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>"
    out = b"%PDF-1.4\n"
    offsets = []
    for number, text in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    return (
        out
        + (
            f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
            f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF"
        ).encode()
    )


@asynccontextmanager
async def gateway_before(mock: Mock, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a gateway with settings of its own, before the engine that all tests of a file share; it is stopped
    to its last process at the end, because the loop lives on.
    """
    host, port = mock._address
    options = {"engine_poll_s": 0.05, "media_workers": 1, "access_log": False, "log_level": "warning", **settings}
    server = create_server(Settings(port=0, **options), [f"http://{host}:{port}"])
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await task
