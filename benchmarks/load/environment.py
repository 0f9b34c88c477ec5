"""Where a measurement was taken: cards, drivers, clocks, processor, versions, commit. Nothing of it is required."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

QUERY = "name,memory.total,driver_version,clocks.sm,clocks.max.sm,power.limit,persistence_mode"
ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, Any]:
    """Of this machine, which the server need not share."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gpus": gpus(),
        "commit": _said(["git", "rev-parse", "--short", "HEAD"]),
        "changed": bool(_said(["git", "status", "--porcelain", "--untracked-files=no"])),
        "client": {name: _version(name) for name in ("uvloop", "httptools", "orjson", "pillow")},
    }


def gpus() -> list[dict[str, str]]:
    """As nvidia-smi tells; [] without it."""
    said = _said(["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"])
    names = QUERY.split(",")
    return [dict(zip(names, map(str.strip, line.split(",")), strict=False)) for line in said.splitlines()]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _said(command: list[str]) -> str:
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, cwd=ROOT)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
