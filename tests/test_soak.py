"""Three minutes of steady load leave nothing behind; `python -m benchmarks.soak` is the half-hour."""

import json
import subprocess
import sys

import pytest

from benchmarks.soak.__main__ import ROOT

MINUTES = 3


@pytest.mark.timeout(MINUTES * 60 + 240)
def test_memory_and_open_files_stay_flat_and_nothing_is_left() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", str(MINUTES), "--no-save"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["flat"], {name: found[name] for name in ("per_hour", "left", "tracebacks_in_log", "came")}
    assert found["requests"] > MINUTES * 60
