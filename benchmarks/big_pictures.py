"""Big photos, through the gateway and straight at the same engine with the same pixel budget, in one run.

    python -m benchmarks.big_pictures --model FOLDER [--megapixels 12 24] [--rounds 3] [--each 8]

Starts `python -m server`, which starts the engine; `bare` speaks to the engine's own socket. Each photo is sent once a
path and round, so that no cache holds it. Three figures a size: first token at one request at a time, requests a second
at eight, and CPU seconds a request spent in front of the model: for ours the gateway, its decode processes and the
engine's API process, for bare the API process alone. The model's own forward pass is the same for both and dominates
wall time on a CPU; the CPU in front of it is the figure that carries over to a GPU. What the same processes spend while
nobody asks, as on our probes, is measured first and taken off both: it is a second's, not a request's, and at one photo
a second would be counted as if it were. Last line: JSON.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from PIL import ImageChops

from benchmarks.photos import photo

ROOT = Path(__file__).resolve().parent.parent
SIZES = {12: (4000, 3000), 24: (6000, 4000)}
CONCURRENCY = 8
IDLE_S = 15


@dataclass(frozen=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    command: str


def processes() -> list[Process]:
    """All there are, as /proc says."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.append(Process(int(folder.name), int(stat[1]), command))
    return found


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of these processes' threads so far, to the microsecond; `stat` counts in hundredths."""
    total_ns = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


@dataclass(frozen=True)
class Way:
    """One way to the model, and the processes that stand before it."""

    name: str
    client: httpx2.AsyncClient
    front: dict[str, list[int]]
    """Stage -> its processes."""
    idle: dict[str, float] = field(default_factory=dict)
    """Stage -> CPU seconds a second while nobody asks."""

    def spent_s(self) -> dict[str, float]:
        """CPU seconds of each stage so far."""
        return {stage: cpu_s(pids) for stage, pids in self.front.items()}


def request(data: bytes) -> dict[str, Any]:
    """A chat request with one photo."""
    url = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
    return {
        "model": "qwen2.5-vl",
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": 4,
        "ignore_eos": True,
        "stream": True,
    }


async def first_token_s(way: Way, data: bytes) -> float:
    """From sending to the first event."""
    body = json.dumps(request(data)).encode()
    started_s = time.perf_counter()
    first_s = 0.0
    headers = {"content-type": "application/json"}
    async with way.client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for _ in answer.aiter_raw():
            first_s = first_s or time.perf_counter() - started_s
    return first_s


async def measure_idle(ways: Sequence[Way]) -> None:
    """Fill in what each way's processes spend on nothing."""
    await asyncio.sleep(IDLE_S / 3)  # the last request's traces are gone
    before, began_s = [way.spent_s() for way in ways], time.perf_counter()
    await asyncio.sleep(IDLE_S)
    took_s = time.perf_counter() - began_s
    for way, before_s in zip(ways, before, strict=True):
        way.idle.update({stage: (spent - before_s[stage]) / took_s for stage, spent in way.spent_s().items()})


async def measure(way: Way, photos: list[bytes]) -> dict[str, float]:
    """One round: half the photos one after the other, then all others eight at a time."""
    before_s, began_s = way.spent_s(), time.perf_counter()
    half = len(photos) // 2
    firsts = [await first_token_s(way, data) for data in photos[:half]]
    started_s = time.perf_counter()
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(data: bytes) -> None:
        async with gate:
            await first_token_s(way, data)

    await asyncio.gather(*(one(data) for data in photos[half:]))
    took_s = time.perf_counter() - started_s
    whole_s = time.perf_counter() - began_s
    spent_s = {
        stage: (spent - before_s[stage] - way.idle.get(stage, 0) * whole_s) / len(photos)
        for stage, spent in way.spent_s().items()
    }
    return {
        "first_token_s": statistics.median(firsts),
        "requests_per_s": (len(photos) - half) / took_s,
        "front_cpu_s": sum(spent_s.values()),
        **{f"{stage}_cpu_s": spent for stage, spent in spent_s.items()},
    }


def make_photos(megapixels: int, count: int) -> list[bytes]:
    """Photos that differ in every pixel row: one, rolled further each time."""
    base = photo(SIZES[megapixels], "landscape", seed=megapixels)
    made = []
    for index in range(count):
        stream = io.BytesIO()
        ImageChops.offset(base, 37 * index, 91 * index).save(stream, "JPEG", quality=90)
        made.append(stream.getvalue())
    return made


def start(model: str, budget: int, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "server", "--model", model, "--port", str(port), "--no-access-log"]
    log = (ROOT / ".cache" / "big-pictures.log").open("wb")
    return subprocess.Popen([*command, "--image-max-pixels", str(budget)], cwd=ROOT, stderr=log, stdout=log)


async def ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until an engine takes requests."""
    async with httpx2.AsyncClient() as client:
        for _ in range(600):
            assert server.poll() is None, "the server died: see .cache/big-pictures.log"
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.5)
    raise TimeoutError("not ready within 300 s")


def ways(server: int, url: str) -> list[Way]:
    """Ours and the bare engine, found among the server's descendants."""
    table = processes()
    family = {server}
    for _ in range(8):
        family |= {process.pid for process in table if process.parent in family}
    api = next(
        p
        for p in table
        if p.pid in family
        and "vllm.entrypoints" in p.command
        and "--uds" in p.command
        and any(g.pid == p.parent and "guard" in g.command for g in table)
    )
    arguments = api.command.split()
    socket = arguments[arguments.index("--uds") + 1]
    decoders = [p.pid for p in table if p.parent == server and "media" in p.command]
    bare = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=socket), base_url="http://engine", timeout=300)
    ours = httpx2.AsyncClient(base_url=url, timeout=300)
    return [
        Way("ours", ours, {"gateway": [server], "decode": decoders, "engine_api": [api.pid]}),
        Way("bare", bare, {"engine_api": [api.pid]}),
    ]


async def run(options: argparse.Namespace) -> dict[str, Any]:
    url = f"http://127.0.0.1:{options.port}"
    with start(options.model, options.budget, options.port) as server:
        try:
            await ready(url, server)
            both = ways(server.pid, url)
            results: dict[str, Any] = {}
            for megapixels in options.megapixels:
                needed = options.each * (options.rounds * 1 + 1)
                photos = make_photos(megapixels, needed)
                for way in both:
                    await measure(way, photos[: options.each])  # warm-up
                await measure_idle(both)
                rounds: dict[str, list[dict[str, float]]] = {way.name: [] for way in both}
                for index in range(options.rounds):
                    chosen = photos[options.each * (index + 1) :][: options.each]
                    for way in both if index % 2 else reversed(both):
                        rounds[way.name].append(await measure(way, chosen))
                results[f"{megapixels} MP"] = summary(rounds)
                results[f"{megapixels} MP"]["idle_cpu_s_per_s"] = both[0].idle
            return results
        finally:
            server.terminate()
            server.wait(30)


def summary(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of the rounds, and ours over bare round by round."""
    common = ["first_token_s", "requests_per_s", "front_cpu_s"]
    made: dict[str, Any] = {
        name: {figure: round(statistics.median(one[figure] for one in each), 4) for figure in each[0]}
        for name, each in rounds.items()
    }
    made["ours/bare"] = {
        figure: round(
            statistics.median(a[figure] / b[figure] for a, b in zip(rounds["ours"], rounds["bare"], strict=True)), 3
        )
        for figure in common
    }
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / ".cache" / "random"))
    parser.add_argument("--megapixels", type=int, nargs="+", default=[12, 24], choices=sorted(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=16, help="photos a round and path")
    parser.add_argument("--budget", type=int, default=1003520, help="pixels shown to the model")
    parser.add_argument("--port", type=int, default=8571)
    options = parser.parse_args()
    results = asyncio.run(run(options))
    print("| photo | path | first token, s | requests/s at 8 | CPU s a request before the model |")
    print("| --- | --- | --- | --- | --- |")
    for size, ways_ in results.items():
        for name in ("ours", "bare", "ours/bare"):
            figures = ways_[name]
            print(f"| {size} | {name} | " + " | ".join(f"{value:g}" for value in list(figures.values())[:3]) + " |")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    record = {
        "benchmark": "big_pictures",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "command": "python -m benchmarks.big_pictures " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "budget_pixels": options.budget,
        "results": results,
    }
    (ROOT / "benchmarks" / "results" / f"big-pictures-{record['date']}.json").write_text(json.dumps(record, indent=1))
    print(json.dumps(record))


if __name__ == "__main__":
    main()
