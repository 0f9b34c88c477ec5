"""The online path: a server as `scripts/serve` starts it, and callers who each wait for their answer."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.failover.__main__ import until_answered
from benchmarks.failover.callers import Load
from benchmarks.failover.real import START_S, engine
from benchmarks.overhead.cpu import alone_s, tree
from benchmarks.overhead.processes import Running, free_ports
from server.engines.checkpoints import DEMO

ROOT = Path(__file__).resolve().parents[2]
MODEL = "qwen2.5-vl-demo"
ROLES = (
    ("media", "server.media.worker"),
    ("vLLM's engine", "VLLM::EngineCore"),
    ("vLLM's API", "vllm.entrypoints"),
    ("gateway", "-m server"),
)


@dataclass
class Asked:
    """A closed loop's outcome."""

    concurrency: int
    took_s: float = 0.0
    cpu_ms: dict[str, float] = field(default_factory=dict)
    """A picture's, by role."""
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def per_s(self) -> float:
        return len(self.answers) / self.took_s


@contextlib.asynccontextmanager
async def server(folder: Path, engines: int = 0) -> AsyncIterator[tuple[str, list[int]]]:
    """(host:port, pids) of a server with its own engine, or before so many of one core each."""
    (port,) = free_ports(1)
    processes = [engine(DEMO) for _ in range(engines)]
    command = [str(ROOT / ".venv/bin/python"), "-m", "server", "--port", str(port)]
    for process in processes:
        await process.start()
    await asyncio.wait_for(asyncio.gather(*(each.wait_ready() for each in processes)), START_S)
    for process in processes:
        command += ["--engine-url", process.url]
    environment = {"QVL_ENGINE_PYTHON": str(ROOT / ".venv-engine/bin/python")}
    running = Running("server", command, os.sched_getaffinity(0), folder / "server.log", environment)
    try:
        await until_answered(f"http://127.0.0.1:{port}", Load(MODEL), running)
        pids = [running.pid, *(each.pid for each in processes if each.pid is not None)]
        yield f"127.0.0.1:{port}", pids
    finally:
        running.stop()
        await asyncio.gather(*(each.stop() for each in processes))


async def asked(address: str, pids: Sequence[int], bodies: Iterable[tuple[str, bytes]], concurrency: int) -> Asked:
    """All of them, so many at once. Raises RuntimeError for an answer that is none."""
    outcome, waiting = Asked(concurrency), iter(bodies)
    before = dict(_cpu(pids))
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(_caller(address, waiting, outcome.answers))
    outcome.took_s = time.perf_counter() - began_s
    for pid, (role, spent_s) in _cpu(pids):
        grown = spent_s - before.get(pid, ("", 0.0))[1]
        outcome.cpu_ms[role] = outcome.cpu_ms.get(role, 0.0) + 1000 * grown / len(outcome.answers)
    return outcome


def _cpu(pids: Sequence[int]) -> Iterator[tuple[int, tuple[str, float]]]:
    for pid in dict.fromkeys(each for root in pids for each in tree(root)):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            role = next((role for role, mark in ROLES if mark in words), "other")
            yield pid, (role, alone_s(pid))


async def _caller(address: str, waiting: Iterator[tuple[str, bytes]], answers: dict[str, dict[str, Any]]) -> None:
    """One connection, and as little of this machine's time as can be: it is the server's."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
    head = f"POST /v1/detect HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: "
    try:
        for name, body in waiting:
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            said = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(said.partition(b"content-length:")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            if b" 200 " not in said.partition(b"\r\n")[0]:
                raise RuntimeError(f"{name}: {answer[:300]!r}")
            answers[name] = orjson.loads(answer)
    finally:
        writer.close()
