"""The suites: how each is installed, run and read."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMPLY = "0.5.0"
CANARY = "0.2.2"
PACKAGES = ROOT / ".cache" / "conformance"
CANARY_MAIN = PACKAGES / "node_modules" / "compatcanary" / "src" / "cli.js"
RUN_COMPLY = "import sys; from llm_comply.cli import main; sys.exit(main())"
REQUEST_S = 300
"""For one request: a tiny model with random weights may take thousands of tokens to end, on a CPU that others use."""
SUITE_S = 1800


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    test: str
    status: str
    """passed, warned, failed or skipped."""
    reasons: list[str]


Run = Callable[[str, str, str], list[Outcome]]
"""(base URL, model, key) -> outcomes in the suite's order."""


class SuiteFailed(Exception):
    """A suite did not run to its end."""


def comply(form: str) -> Run:
    """llm-comply with one of its formats."""

    def run(url: str, model: str, key: str) -> list[Outcome]:
        installed = version("llm-comply")
        if installed != COMPLY:
            raise SuiteFailed(
                f"llm-comply is {installed}; the figures are for {COMPLY}: pip install llm-comply=={COMPLY}"
            )
        words = [sys.executable, "-W", "ignore", "-c", RUN_COMPLY, "--format", form, "-u", f"{url}/v1", "-m", model]
        report = _report([*words, "--timeout", str(REQUEST_S), "--json"], {"OPENRESPONSES_API_KEY": key})
        return [
            Outcome(
                one["id"],
                "warned" if one["status"] == "passed" and one.get("warnings") else one["status"],
                [*one.get("errors", []), *one.get("warnings", [])],
            )
            for one in report["results"]
        ]

    return run


def canary(profile: str) -> Run:
    """compatcanary with one of its profiles."""

    def run(url: str, model: str, key: str) -> list[Outcome]:
        install_canary()
        words = ["node", str(CANARY_MAIN), "scan", "--base-url", f"{url}/v1", "--model", model, "--profile", profile]
        report = _report([*words, "--timeout", str(REQUEST_S), "--format", "json"], {"OPENAI_API_KEY": key})
        names = {"pass": "passed", "warn": "warned", "fail": "failed"}
        return [
            Outcome(one["id"], names[one["status"]], [] if one["status"] == "pass" else [one["summary"]])
            for one in report["results"]
        ]

    return run


SUITES: dict[str, Run] = {
    f"llm-comply {COMPLY} openai-chat": comply("openai-chat"),
    f"compatcanary {CANARY} chat": canary("chat"),
    f"llm-comply {COMPLY} open-responses": comply("open-responses"),
    f"compatcanary {CANARY} modern": canary("modern"),
}


def canary_is_missing() -> str:
    """Why compatcanary cannot run here; "" when it can."""
    absent = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"compatcanary needs {' and '.join(absent)}" if absent else ""


def install_canary() -> None:
    """Put compatcanary into .cache, unless it is there. Raises SuiteFailed."""
    if missing := canary_is_missing():
        raise SuiteFailed(missing)
    manifest = CANARY_MAIN.parents[1] / "package.json"
    if manifest.is_file() and json.loads(manifest.read_text())["version"] == CANARY:
        return
    PACKAGES.mkdir(parents=True, exist_ok=True)
    words = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(PACKAGES)]
    done = subprocess.run([*words, f"compatcanary@{CANARY}"], capture_output=True, text=True, timeout=SUITE_S)
    if done.returncode:
        raise SuiteFailed(f"npm could not install compatcanary {CANARY}: {done.stderr.strip()[-500:]}")


def _report(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """The report that a suite writes. Its exit status only says whether all passed."""
    done = subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, timeout=SUITE_S)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as exc:
        raise SuiteFailed(f"{words[-1]}: no report, {(done.stderr or done.stdout).strip()[-500:]}") from exc
    return report
