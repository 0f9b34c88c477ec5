"""Thousands of made-up requests to a gateway before a mock engine: does any of them get a 5xx of ours, or no answer?

    python -m benchmarks.fuzz                       6,000 cases, about ten minutes
    python -m benchmarks.fuzz --cases 300 --no-save
    python -m benchmarks.fuzz --url http://127.0.0.1:8000 --seed 7

A third of the cases follow our OpenAPI, a third break it on purpose (schemathesis), a third are good requests with some
values replaced by whatever JSON can hold. Media URLs cannot leave the machine: no port is open to them.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from benchmarks.fuzz.cases import fuzz
from benchmarks.overhead.processes import Running, free_ports, start_mock
from benchmarks.overhead.report import plain
from benchmarks.overhead.run import commit, machine

ROOT = Path(__file__).resolve().parents[2]
SHOWN = 20
START_S = 60


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--core", type=int, default=1, help="where the gateway runs")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--no-save", action="store_true")
    return parser.parse_args()


@contextmanager
def gateway(core: int) -> Iterator[tuple[str, Path]]:
    """(URL, log) of a gateway before a mock."""
    with tempfile.TemporaryDirectory() as folder:
        mock, engine_url = start_mock(core, Path(folder))
        port = free_ports(1)[0]
        command = [sys.executable, "-m", "server", "--port", str(port), "--engine-url", engine_url]
        command += ["--fetch-allow-port", "1", "--fetch-timeout-s", "1", "--media-workers", "1"]
        environment = {
            "QVL_ACCESS_LOG": "false",
            "QVL_LOG_LEVEL": "warning",
            "QVL_BATCH_STORE": f"{folder}/batches",
        }
        log = Path(folder) / "gateway.log"
        running = Running("gateway", command, core, log, environment)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url, running)
            yield url, log
        finally:
            running.stop()
            mock.stop()


def wait_ready(url: str, running: Running) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and not running.ended():
        try:
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise running.failure()


def main() -> int:
    options = arguments()
    before = machine()
    started_s = time.monotonic()
    shares = {"by_schema": options.cases * 2 // 3, "mutated": options.cases // 3}
    if options.url:
        found, said = fuzz(options.url, options.seed, **shares), ""
    else:
        with gateway(options.core) as (url, log):
            found = fuzz(url, options.seed, **shares)
            said = log.read_text()
    for each in found.wrong[:SHOWN]:
        print(each)
    print(said[-4000:])
    line = {
        "benchmark": "fuzz",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.fuzz", *sys.argv[1:]]),
        "machine": before,
        "seed": options.seed,
        "seconds": time.monotonic() - started_s,
        "cases": found.cases,
        "wrong": len(found.wrong),
        "tracebacks_in_log": said.count("Traceback"),
        "by_status": {str(status): count for status, count in sorted(found.by_status.items())},
        "by_code": dict(found.by_code.most_common()),
        "by_operation": dict(sorted(found.by_operation.items())),
    }
    text = json.dumps(plain(line))
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"fuzz-{line['date']}.json").write_text(text + "\n")
    print(text)
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
