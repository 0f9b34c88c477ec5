"""python -m benchmarks.conformance: both suites, both servers, a table for each, one JSON line last."""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from typing import Any

from benchmarks.conformance.relay import over_tcp
from benchmarks.conformance.suites import ROOT, SUITES, Outcome, SuiteFailed

Rounds = list[list[Outcome]]
PASSED = frozenset({"passed", "warned"})
REASON_CHARS = 160
REASONS_SHOWN = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit status says whether any suite could not run."""
    options = read_arguments(arguments)
    servers = {"gateway": options.url} | ({"bare engine": options.bare} if options.bare else {})
    found: dict[str, dict[str, Any]] = {}
    for suite in options.suite or SUITES:
        try:
            found[suite] = {name: measure(suite, url, options) for name, url in servers.items()}
        except SuiteFailed as failure:
            print(f"## {suite}\n\nnot run: {failure}\n")
            found[suite] = {"not_run": str(failure)}
            continue
        print(table(suite, {name: result["rounds"] for name, result in found[suite].items()}), flush=True)
    result = {
        "benchmark": "conformance",
        **conditions(options),
        "suites": {name: _plain(one) for name, one in found.items()},
    }
    line = json.dumps(result)
    if not options.no_save:
        folder = ROOT / "benchmarks" / "results"
        folder.mkdir(exist_ok=True)
        (folder / f"conformance-{result['date']}.json").write_text(line + "\n")
    print(line)
    return int(any("not_run" in one for one in found.values()))


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("--url", required=True, help="the gateway, http://host:port")
    parser.add_argument("--bare", help="the engine behind it, http://host:port or unix:/path")
    parser.add_argument("--model", help="served name; the first that the gateway lists")
    parser.add_argument("--api-key", default="none", help="key for both servers")
    parser.add_argument("--rounds", type=int, default=1, help="times that each suite runs; the worst round counts")
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="only this one; repeat for several")
    parser.add_argument("--no-save", action="store_true", help="write no file to benchmarks/results")
    options = parser.parse_args(arguments)
    if options.model is None:
        options.model = _get(options.url, "/v1/models", options.api_key)["data"][0]["id"]
    return options


def measure(suite: str, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds of one suite against one server, and what it passes in each."""
    with over_tcp(url) as base:
        rounds = [SUITES[suite](base, options.model, options.api_key) for _ in range(options.rounds)]
    return {"passed": min(passed(one) for one in rounds), "of": len(rounds[0]), "rounds": rounds}


def passed(outcomes: list[Outcome]) -> int:
    """How many tests passed, those with warnings included and skipped ones not.

    >>> passed([Outcome("a", "passed", []), Outcome("b", "skipped", ["no o1"])])
    1
    """
    return sum(one.status in PASSED for one in outcomes)


def table(suite: str, results: dict[str, Rounds]) -> str:
    """A line a test, a column a server, and under it why tests did not pass."""
    lines = [f"## {suite}\n", f"| test | {' | '.join(results)} |", f"| --- |{' --- |' * len(results)}"]
    for place, first in enumerate(next(iter(results.values()))[0]):
        cells = [_cell([one[place].status for one in rounds]) for rounds in results.values()]
        lines.append(f"| {first.test} | {' | '.join(cells)} |")
    totals = [f"{min(map(passed, rounds))} of {len(rounds[0])}" for rounds in results.values()]
    lines += [f"| **passed in the worst round** | {' | '.join(totals)} |", ""]
    for name, rounds in results.items():
        found = [f"- {name}: {reason} ({', '.join(tests)})" for reason, tests in _reasons(rounds).items()]
        lines += found[:REASONS_SHOWN]
        if len(found) > REASONS_SHOWN:
            lines.append(f"- {name}: {len(found) - REASONS_SHOWN} more, in the JSON")
    return "\n".join([*lines, ""])


def _reasons(rounds: Rounds) -> dict[str, list[str]]:
    """Why tests did not pass, or passed with a warning -> which."""
    found: dict[str, dict[str, None]] = {}
    for outcomes in rounds:
        for one in outcomes:
            for reason in one.reasons:
                found.setdefault(_cut(reason), {})[one.test] = None
    return {reason: list(tests) for reason, tests in found.items()}


def _cut(reason: str) -> str:
    """A reason without the answer that it quotes: what a model says differs every time.

    >>> _cut("output.0: {'id': 'msg_1', 'content': []} is not valid under any of the given schemas")
    'output.0: {...} is not valid under any of the given schemas'
    """
    return re.sub(r"\{.*\}", "{...}", reason, flags=re.DOTALL)[:REASON_CHARS]


def _cell(statuses: list[str]) -> str:
    """One status, or how often each was met.

    >>> _cell(["passed", "passed"]), _cell(["passed", "failed"])
    ('passed', 'passed 1, failed 1')
    """
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    return statuses[0] if len(counts) == 1 else ", ".join(f"{status} {count}" for status, count in counts.items())


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures hold for."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    engine = None
    if options.bare:
        with over_tcp(options.bare) as base:
            engine = _get(base, "/version", options.api_key)["version"]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "model": options.model,
        "engine": engine,
        "rounds_each": options.rounds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": "python -m benchmarks.conformance",
    }


def _get(url: str, path: str, key: str) -> Any:
    request = urllib.request.Request(url.rstrip("/") + path, headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    """The same without classes, and with each reason cut: an answer that fails a schema is quoted whole in it."""
    if "not_run" in result:
        return result
    return {
        name: {
            **one,
            "rounds": [
                [
                    {
                        "test": each.test,
                        "status": each.status,
                        "reasons": [_cut(text) for text in each.reasons],
                    }
                    for each in outcomes
                ]
                for outcomes in one["rounds"]
            ],
        }
        for name, one in result.items()
    }


if __name__ == "__main__":
    sys.exit(main())
