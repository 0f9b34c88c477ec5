"""An engine's health check: it answers, and when it has work it makes steps. Standard library only.

vLLM's /health stays 200 while its core is stuck (vllm #39863, #46811), so the step counter is read from /metrics and
compared with what an earlier call saw; that is kept in a small file.

    python -S heartbeat.py [--url http://127.0.0.1:8000] [--stall-s 60] [--state /tmp/heartbeat.json]

Exit status 0: well; 1: not, and why on standard error. Call it every few seconds; a stall is told only after two calls
that are `--stall-s` apart, and never while the engine is idle.
"""

import argparse
import json
import re
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

LINE = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|iteration_tokens_total_count)\{[^}]*\} (\S+)", re.MULTILINE
)
TIMEOUT_S = 5


class NotWell(Exception):
    """Why the engine counts as not healthy."""


def get(url: str) -> str:
    """The body of a 200. Raises NotWell."""
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  # its own address
            return str(answer.read().decode())
    except (URLError, OSError, HTTPException) as exc:
        raise NotWell(f"{url}: {exc}") from exc


def counted(metrics: str) -> tuple[float, float]:
    """(requests it works on, steps it has made), over all of its cores.

    >>> counted('vllm:num_requests_running{engine="0"} 2.0\\nvllm:iteration_tokens_total_count{engine="0"} 7.0\\n')
    (2.0, 7.0)
    """
    values: dict[str, float] = {}
    for name, value in LINE.findall(metrics):
        values[name] = values.get(name, 0.0) + float(value)
    work = values.get("num_requests_running", 0.0) + values.get("num_requests_waiting", 0.0)
    return work, values.get("iteration_tokens_total_count", 0.0)


def idle_s(state: Path, work: float, steps: float, now_s: float) -> float:
    """Seconds for which the engine had work and made no step, as far as the calls so far have seen."""
    try:
        seen_steps, since_s = json.loads(state.read_text())
    except (OSError, ValueError, TypeError):
        seen_steps, since_s = None, now_s
    if steps != seen_steps or not work or since_s > now_s:
        state.write_text(json.dumps([steps, now_s]))
        return 0.0
    return now_s - float(since_s)


def main(arguments: list[str]) -> int:
    """Ask once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--stall-s", type=float, default=60)
    parser.add_argument("--state", type=Path, default=Path("/tmp/heartbeat.json"))  # noqa: S108  # the container's own
    options = parser.parse_args(arguments)
    try:
        get(f"{options.url}/health")
        work, steps = counted(get(f"{options.url}/metrics"))
        stood_s = idle_s(options.state, work, steps, time.monotonic())
        if stood_s > options.stall_s:
            raise NotWell(f"it has {work:.0f} requests and made no step for {stood_s:.0f} s")
    except NotWell as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
