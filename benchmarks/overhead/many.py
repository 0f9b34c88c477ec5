"""A thousand streams at once through one gateway process: are all kept going, and what do one more and its chunks cost?

    python -m benchmarks.overhead.many [--streams 1000] [--tokens-per-s 10] [--seconds 20]

Before the mock engine, which writes a token of each stream at its pace. Memory is the gateway's resident set with all
streams open, less what it had before the first, by the stream. Last line: JSON, kept in benchmarks/results/.

Caveat: loopback, short prompts; mock and load generator share a core, the gateway has the other. Engines' connections
and the places that admission gives are set to what is measured.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import time
from pathlib import Path

import uvloop

from benchmarks.overhead import cpu
from benchmarks.overhead.columns import stream_body, text_body
from benchmarks.overhead.load import Load, Target, percentile
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.processes import Running, answers, free_ports, start_mock
from benchmarks.overhead.report import plain
from benchmarks.overhead.rivals import API_KEY, ROOT
from benchmarks.overhead.run import LOGS, commit, machine

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """What a process holds in memory, without its children, which decode.

    >>> resident_bytes(os.getpid()) > 1e6
    True
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


async def measured(target: Target, gateway: Running, options: argparse.Namespace) -> dict[str, float]:
    """All figures of one run."""
    body = {**stream_body(MODEL), "max_tokens": options.tokens}
    await answers(target, gateway, text_body(MODEL))
    before_bytes = resident_bytes(gateway.pid)
    load = Load(target, body, lambda: cpu.cpu_s(gateway.pid), options.tokens)
    stream_s = options.tokens / options.tokens_per_s
    running = asyncio.create_task(load.run(options.streams, stream_s, options.seconds, stream_s))
    await asyncio.sleep(stream_s + options.seconds / 2)
    held_bytes = resident_bytes(gateway.pid) - before_bytes
    tally = await running
    return {
        "streams": options.streams,
        "served": min(float(options.streams), tally.requests / tally.duration_s * stream_s),
        "errors": tally.errors,
        "chunks_per_s": tally.chunks / tally.duration_s,
        "us_per_chunk": tally.cpu_s / tally.chunks * 1e6,
        "core_share": tally.cpu_s / tally.duration_s,
        "kib_per_stream": held_bytes / options.streams / 1024,
        "chunk_delay_p50_ms": percentile(tally.chunk_delay_s, 0.5) * 1e3,
        "chunk_delay_p99_ms": percentile(tally.chunk_delay_s, 0.99) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead.many", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=50, help="of each answer")
    parser.add_argument("--tokens-per-s", type=float, default=10, help="of each stream")
    parser.add_argument("--seconds", type=float, default=20, help="length of the window")
    parser.add_argument("--gateway-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.load_core})
    LOGS.mkdir(parents=True, exist_ok=True)
    mock, engine_url = start_mock(options.load_core, LOGS, "--interval-ms", str(1000 / options.tokens_per_s), "--stamp")
    (port,) = free_ports(1)
    most = str(2 * options.streams)
    command = [sys.executable, "-m", "server", "--engine-url", engine_url, "--port", str(port)]
    command += ["--max-in-flight", most, "--engine-connections", most]
    gateway = Running("gateway", command, options.gateway_core, LOGS / "many.log", {"QVL_API_KEY": API_KEY})
    try:
        figures = uvloop.run(measured(Target("127.0.0.1", port, API_KEY), gateway, options))
    finally:
        gateway.stop()
        mock.stop()
    line = {
        "benchmark": "many streams",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.overhead.many", *sys.argv[1:]]),
        "machine": machine(),
        "figures": figures,
    }
    text = json.dumps(plain(line))
    (ROOT / "benchmarks" / "results" / f"many-streams-{line['date']}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
