"""`python -m server.bulk` on a Ray that it starts itself, as a process that can be killed."""

import asyncio
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.overhead.cpu import cpu_s, tree

ROOT = Path(__file__).resolve().parents[2]
RATE = re.compile(r"bulk: done: .*?([0-9.]+) a second once")
GONE_S = 60


@dataclass(frozen=True)
class Run:
    """One run to its end, or to where it was killed."""

    took_s: float
    """With the start of Ray and the engines."""
    per_s: float
    """Once the first worker had its engine; 0 of one that was killed."""
    cpu_s: float
    """Of all its processes, their start included."""
    exit_code: int


def command(manifest: Path, out: Path, workers: int) -> list[str]:
    """With the shards small, so that workers end at nearly the same time."""
    python = ROOT / ".venv-bulk/bin/python"
    words = ["--task", "detect", "--manifest", manifest, "--out", out, "--model", ROOT / "demo/checkpoint"]
    ray = ["--ray", "local", "--workers", workers, "--shard-rows", "32"]
    return [str(word) for word in (python, "-m", "server.bulk", *words, *ray)]


async def run(words: list[str], out: Path, log: Path, kill_at: int | None = None) -> Run:
    """Runs it; killed with SIGKILL, and its children with it, once so many shards are there."""
    began_s, spent_s = time.perf_counter(), 0.0
    with log.open("ab") as output:
        # Ray's own processes leave the session, and end when they find that their driver is gone.
        process = subprocess.Popen(words, stdout=output, stderr=output, cwd=ROOT, start_new_session=True)
    while process.poll() is None:
        await asyncio.sleep(0.25)
        spent_s = max(spent_s, cpu_s(process.pid))
        if kill_at is not None and len(list(out.glob("part-*"))) >= kill_at:
            left = tree(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            await _gone(left)
    found = RATE.findall(log.read_text(errors="replace"))
    rate = float(found[-1]) if found and process.returncode == 0 else 0.0
    return Run(time.perf_counter() - began_s, rate, spent_s, process.returncode)


async def _gone(pids: list[int]) -> None:
    """Wait for what a killed run leaves behind to notice. Raises TimeoutError."""
    async with asyncio.timeout(GONE_S):
        while any(_lives(pid) for pid in pids):
            await asyncio.sleep(0.2)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
