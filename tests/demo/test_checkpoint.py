"""The demo checkpoint as the engine's environment sees it; the checks themselves are in `engine_side.py`."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-engine/bin/python"


@pytest.mark.engine
@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .venv-engine")
def test_the_checkpoint_is_what_training_and_serving_take_it_for() -> None:
    run = subprocess.run(
        [PYTHON, ROOT / "tests/demo/engine_side.py"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
