"""The suite's own time limit, before a suite that hangs."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CONFTEST = "from tests.conftest import pytest_asyncio_loop_factories, pytest_configure, pytest_xdist_make_scheduler\n"

OPTIONS = ["-n", "1", "--dist", "loadscope", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-o", "timeout=2"]

TESTS = """
import asyncio
import pytest

@pytest.fixture
async def slow_to_close():
    yield
    await asyncio.Event().wait()

async def test_waits_for_ever():
    await asyncio.Event().wait()

async def test_fails_and_then_closes_for_ever(slow_to_close):
    raise AssertionError("the reason")

async def test_is_well():
    pass
"""


def test_a_test_that_never_ends_fails_and_the_others_run(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_hangs.py").write_text(TESTS)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TEARDOWN_S": "2", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "3 failed, 1 passed" in run.stdout, run.stdout
    assert "FAILED test_hangs.py::test_fails_and_then_closes_for_ever (call): AssertionError: the reason" in run.stdout
    assert "test_hangs.py::test_waits_for_ever: not over after 2 s" in run.stderr
    assert "await asyncio.Event().wait()" in run.stderr
    assert "test_hangs.py::test_fails_and_then_closes_for_ever: not over after 2 s" in run.stderr
