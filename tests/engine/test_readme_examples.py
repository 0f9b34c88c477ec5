"""The README's examples run as they stand, against the real engine."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import running_gateway

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = re.findall(r"<!-- run -->\n```(sh|python)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=[language for language, _ in EXAMPLES])
async def test_an_example_of_the_readme_runs(engine_url: str, language: str, code: str) -> None:
    async with running_gateway([engine_url]) as url:
        code = code.replace("http://127.0.0.1:8000", url)
        command = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert out.strip()
    assert b'"error"' not in out
