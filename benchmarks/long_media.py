"""Long media through the task endpoints: memory of the gateway and its decode processes, and how soon answers begin.

    python -m benchmarks.long_media [--minutes 60] [--pages 300]

Makes a 1080p clip and a PDF, starts a gateway before the mock engine (which answers at once, so that what is measured
is ours), and sends both: the clip to localize-events by URL, the PDF to parse-document as a stream. Memory is the
proportional set size of the gateway and all its children, sampled ten times a second.

Caveat: the clip is one minute of a moving bar, repeated; the engine takes no time; other work on the machine counts.
"""

import argparse
import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import av
import httpx2
from PIL import Image, ImageDraw

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server import __version__
from tests.tasks.common import pdf

EVENTS = '[{"start_time":"00:01.00","end_time":"00:02.00","description":"Bars move."}]'
PAGE = '```html\n<html><body>\n<p data-bbox="28 28 280 56">Some words.</p>\n</body></html>\n```'
RATE = 24


def clip(minutes: int) -> bytes:
    """A 1080p MP4: one minute, encoded once and repeated packet by packet."""
    file = io.BytesIO()
    with av.open(io.BytesIO(_minute())) as source, av.open(file, "w", format="mp4") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.pts is not None and packet.dts is not None]
        step = round(60 / packets[0].time_base)
        times = [(packet.pts, packet.dts) for packet in packets]
        for minute in range(minutes):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                again = av.Packet(bytes(packet))
                again.stream, again.time_base = stream, packet.time_base
                again.pts, again.dts = (pts or 0) + minute * step, (dts or 0) + minute * step
                again.duration, again.is_keyframe = packet.duration, packet.is_keyframe
                out.mux(again)
    return file.getvalue()


def _minute() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.codec_context.gop_size = RATE * 2
        stream.options = {"preset": "ultrafast", "crf": "35", "bf": "0"}
        for at in range(60 * RATE):
            image = Image.new("RGB", (1920, 1080), (30, 30, 60))
            ImageDraw.Draw(image).rectangle((at % 1800, 200, at % 1800 + 100, 900), fill=(200, 200, 50))
            out.mux(stream.encode(av.VideoFrame.from_image(image)))
        out.mux(stream.encode(None))
    return file.getvalue()


def tree_bytes(root: int) -> int:
    """Proportional set size of a process and its descendants."""
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        todo += [int(child) for child in children.split()]
    return total


class Memory:
    """The most that a process tree held while this was watching."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most_bytes = pid, 0

    async def watch(self) -> None:
        while True:
            self.most_bytes = max(self.most_bytes, await asyncio.to_thread(tree_bytes, self.pid))
            await asyncio.sleep(0.1)


async def measured(minutes: int, pages: int) -> dict[str, Any]:
    mock = Mock()
    engine = await mock.listen()
    gateway = await asyncio.create_subprocess_exec(
        *(".venv/bin/python", "-m", "server", "--engine-url", engine, "--port", "8391"),
        *("--fetch-allow-network", "127.0.0.0/8", "--fetch-allow-port", "8392", "--fetch-timeout-s", "120"),
    )
    try:
        async with httpx2.AsyncClient(base_url="http://127.0.0.1:8391", timeout=3600) as client:
            await ready(client)
            result = {"document": await document(client, mock, gateway.pid, pages)}
            result["film"] = await film(client, mock, gateway.pid, minutes)
            return result
    finally:
        gateway.terminate()
        await gateway.wait()
        await mock.close()


async def ready(client: httpx2.AsyncClient) -> None:
    for _ in range(600):
        try:
            if (await client.get("/readyz")).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError("the gateway did not come up")


async def serve(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One file, whatever is asked for."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: %d\r\n\r\n" % len(data))
    for at in range(0, len(data), 1 << 20):
        writer.write(data[at : at + (1 << 20)])
        await writer.drain()
    writer.close()


async def film(client: httpx2.AsyncClient, mock: Mock, pid: int, minutes: int) -> dict[str, Any]:
    mock.behaviour = Behaviour(answer=EVENTS, chunks=3)
    data = await asyncio.to_thread(clip, minutes)
    memory = Memory(pid)
    files = await asyncio.start_server(lambda reader, writer: serve(data, reader, writer), "127.0.0.1", 8392)
    watching = asyncio.create_task(memory.watch())
    began_s = time.monotonic()
    answer = await client.post("/v1/localize-events", json={"video": "http://127.0.0.1:8392/film.mp4"})
    took_s = time.monotonic() - began_s
    files.close()
    watching.cancel()
    found = answer.json()
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code} {answer.text[:500]} for {len(data)} bytes")
    return {
        "minutes": minutes,
        "file_bytes": len(data),
        "sampling": found["sampling"],
        "events": len(found["events"]),
        "took_s": round(took_s, 1),
        "most_memory_mb": round(memory.most_bytes / 1e6),
    }


async def document(client: httpx2.AsyncClient, mock: Mock, pid: int, pages: int) -> dict[str, Any]:
    mock.behaviour = Behaviour(answer=PAGE, chunks=3)
    data = pdf(*[(612, 792, f"Page {number}. Some words.") for number in range(1, pages + 1)])
    memory = Memory(pid)
    watching = asyncio.create_task(memory.watch())
    began_s = time.monotonic()
    first_s, events = 0.0, 0
    files = {"document": ("long.pdf", data, "application/pdf")}
    async with client.stream("POST", "/v1/parse-document", files=files, data={"stream": "true"}) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line == "event: item":
                first_s = first_s or time.monotonic() - began_s
                events += 1
    watching.cancel()
    return {
        "pages": pages,
        "page_events": events,
        "first_page_s": round(first_s, 2),
        "took_s": round(time.monotonic() - began_s, 1),
        "most_memory_mb": round(memory.most_bytes / 1e6),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--minutes", type=int, default=60, help="length of the clip")
    options.add_argument("--pages", type=int, default=300, help="length of the document")
    chosen = options.parse_args()
    result = asyncio.run(measured(chosen.minutes, chosen.pages))
    load = Path("/proc/loadavg").read_text().split()[0]
    print(json.dumps({"benchmark": "long_media", "version": __version__, "load_average": float(load), **result}))


if __name__ == "__main__":
    main()
