"""Steady load for half an hour: do memory and open files stay flat, and is nothing left when it ends?

    python -m benchmarks.soak                            30 minutes
    python -m benchmarks.soak --minutes 3 --no-save      the short form, which is among the tests

Before a mock engine: chats, streams, pictures, clips, tasks, requests that are wrong, streams that are left in the
middle, uploads that are broken off, at `--rate` a second in all. Every five seconds the gateway's own memory, open
files, threads and its decode processes' memory are noted. The slope is Theil and Sen's, the median of all pairs, over
what comes after a third of the time: an allocator takes a while to have its pools, longer than the short form lasts. So
that finds what keeps 3.3 KB a request, the long one what keeps 0.3.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import random
import re
import shlex
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import uvloop

from benchmarks.fuzz.mutated import PICTURE
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.processes import Running, free_ports, start_mock
from benchmarks.overhead.report import plain
from benchmarks.overhead.run import commit, machine
from benchmarks.photos import jpeg, photo
from server.callers.keys import hashed

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_S = 5
HELD = ("mb", "files", "threads", "children_mb")
WARM_SHARE = 1 / 3
MOST_MB_PER_HOUR = 20.0
"""Of the gateway's own process."""
WARMING_MB = 8.0
"""What it may grow by after the first third, however short the run: in three minutes 1.5 and 2.3 were seen, and 5.7 on
a machine that was busy with other tests, where the allocator's pools were filled later."""
MOST_FILES_PER_HOUR = 10.0
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}
STREAM = {**HELLO, "stream": True, "mock": {"interval_ms": 10}}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--core", type=int, default=1, help="where the gateway runs")
    parser.add_argument("--no-save", action="store_true")
    return parser.parse_args()


class Load:
    """The mix, each kind a method that makes one request and says what came of it."""

    def __init__(self, client: httpx2.AsyncClient, port: int) -> None:
        self.client = client
        self.port = port
        self.came: Counter[str] = Counter()
        self._photos = [
            "data:image/jpeg;base64," + _base64(jpeg(photo((800 + 40 * size, 600)), 85)) for size in range(12)
        ]
        self._kinds = [
            self.chat, self.chat, self.stream, self.stream, self.picture, self.caption, self.clip, self.wrong,
            self.left, self.broken_off, self.looked_at,
        ]  # fmt: skip

    async def one(self) -> None:
        kind = random.choice(self._kinds)
        try:
            said = await kind()
        except httpx2.TransportError as exc:
            said = type(exc).__name__
        self.came[f"{kind.__name__} {said}"] += 1

    async def chat(self) -> str:
        return await self._post("/v1/chat/completions", HELLO)

    async def stream(self) -> str:
        return await self._post("/v1/chat/completions", STREAM)

    async def picture(self) -> str:
        part = {"type": "image_url", "image_url": {"url": random.choice(self._photos)}}
        return await self._post("/v1/chat/completions", {**HELLO, "messages": [{"role": "user", "content": [part]}]})

    async def clip(self) -> str:
        part = {"type": "video", "video": [PICTURE] * 4}
        return await self._post("/v1/chat/completions", {**HELLO, "messages": [{"role": "user", "content": [part]}]})

    async def caption(self) -> str:
        return await self._post("/v1/caption", {"image": random.choice(self._photos), "stream": random.random() < 0.5})

    async def wrong(self) -> str:
        asked = random.choice([{**HELLO, "n": 99}, {**HELLO, "messages": []}, {**HELLO, "model": "none"}])
        return await self._post("/v1/chat/completions", asked)

    async def looked_at(self) -> str:
        return str((await self.client.get(random.choice(["/metrics", "/status", "/readyz", "/v1/usage"]))).status_code)

    async def left(self) -> str:
        async with self.client.stream("POST", "/v1/chat/completions", json={**STREAM, "max_tokens": 500}) as answer:
            async for _ in answer.aiter_raw():
                break
        return "left"

    async def broken_off(self) -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-1\r\n"
        head += b"content-length: 100000\r\n\r\n{"
        writer.write(head + b" " * random.randint(0, 50_000))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()
        return "broken off"

    async def _post(self, path: str, asked: dict[str, Any]) -> str:
        return str((await self.client.post(path, json=asked)).status_code)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sample(pid: int) -> dict[str, float]:
    """What a process and its children hold."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        "mb": _rss_mb(pid),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "children_mb": sum(_rss_mb(int(child)) for child in children),
    }


def _rss_mb(pid: int) -> float:
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def slope_per_hour(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Theil and Sen's: the median of the slopes between all pairs.

    >>> slope_per_hour([0, 1800, 3600], [1, 2, 3])
    2.0
    """
    pairs = [
        (values[later] - values[sooner]) / (times_s[later] - times_s[sooner])
        for sooner in range(len(values))
        for later in range(sooner + 1, len(values))
    ]
    return statistics.median(pairs) * 3600 if pairs else 0.0


def most_mb_per_hour(minutes: float) -> float:
    """The steepest slope of a run of that length that counts as flat.

    >>> most_mb_per_hour(30), most_mb_per_hour(3)
    (20.0, 240.0)
    """
    return max(MOST_MB_PER_HOUR, round(WARMING_MB / (minutes * (1 - WARM_SHARE)) * 60, 1))


async def run(options: argparse.Namespace, url: str, port: int, pid: int) -> dict[str, Any]:
    samples: list[dict[str, float]] = []
    limits = httpx2.Limits(max_connections=64)
    async with httpx2.AsyncClient(
        base_url=url, timeout=60, limits=limits, headers={"authorization": "Bearer sk-1"}
    ) as client:
        load = Load(client, port)
        began_s = time.monotonic()
        until_s = began_s + options.minutes * 60
        next_sample_s = began_s
        tasks: set[asyncio.Task[None]] = set()
        while (now_s := time.monotonic()) < until_s:
            task = asyncio.create_task(load.one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if now_s >= next_sample_s:
                samples.append({"s": now_s - began_s, **sample(pid)})
                next_sample_s += SAMPLE_S
            await asyncio.sleep(random.expovariate(options.rate))
        await asyncio.gather(*tasks)
        await asyncio.sleep(2)
        status = (await client.get("/status?format=json")).json()
    warm = [each for each in samples if each["s"] >= WARM_SHARE * options.minutes * 60]
    times_s = [each["s"] for each in warm]
    return {
        "requests": sum(load.came.values()),
        "came": dict(sorted(load.came.items())),
        "first": samples[0],
        "last": samples[-1],
        "per_hour": {name: slope_per_hour(times_s, [each[name] for each in warm]) for name in HELD},
        "peak_mb": max(each["mb"] for each in samples),
        "left": {
            "places": status["places"]["taken"],
            "waiting": status["queue"]["waiting"],
            "bytes": status["queue"]["body_bytes"],
            "in_engines": sum(engine["in_flight"] for engine in status["engines"]),
        },
    }


def main() -> int:
    options = arguments()
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        mock, engine_url = start_mock(options.core, Path(folder))
        port = free_ports(1)[0]
        command = [
            sys.executable,
            "-m",
            "server",
            "--port",
            str(port),
            "--engine-url",
            engine_url,
            "--media-workers",
            "1",
        ]
        environment = {"QVL_API_KEY": f"one={hashed('sk-1')}", "QVL_ACCESS_LOG": "true", "QVL_LOG_FORMAT": "json"}
        environment["QVL_BATCH_STORE"] = f"{folder}/batches"
        gateway = Running("gateway", command, options.core, Path(folder) / "gateway.log", environment)
        try:
            _wait_ready(f"http://127.0.0.1:{port}", gateway)
            figures = uvloop.run(run(options, f"http://127.0.0.1:{port}", port, gateway.pid))
            tracebacks = gateway.log.read_text(errors="replace").count("Traceback")
        finally:
            gateway.stop()
            mock.stop()
    figures["tracebacks_in_log"] = tracebacks
    flat = (
        figures["per_hour"]["mb"] <= most_mb_per_hour(options.minutes)
        and figures["per_hour"]["files"] <= MOST_FILES_PER_HOUR
    )
    line = {
        "benchmark": "soak",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.soak", *sys.argv[1:]]),
        "machine": before,
        "minutes": options.minutes,
        "rate": options.rate,
        **figures,
        "flat": flat and not any(figures["left"].values()) and not tracebacks,
    }
    text = json.dumps(plain(line))
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"soak-{line['date']}.json").write_text(text + "\n")
    print(text)
    return int(not line["flat"])


def _wait_ready(url: str, gateway: Running) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        if gateway.ended():
            break
        time.sleep(0.1)
    raise gateway.failure()


if __name__ == "__main__":
    sys.exit(main())
