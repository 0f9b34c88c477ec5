"""The README's example of each task: its command gives what stands below it, from an engine that knows the samples."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.tasks import TASKS
from tests.conftest import Running
from tests.playground.oracle import Oracle

ROOT = Path(__file__).resolve().parents[2]
SECTION = (ROOT / "README.md").read_text().split("<!-- tasks -->")[1].split("<!-- /tasks -->")[0]
EXAMPLES = re.findall(r"```sh\n(.*?)```\n```json\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
async def oracle_url() -> AsyncIterator[str]:
    oracle = Oracle()
    yield await oracle.listen()
    await oracle.close()


def differences(shown: Any, real: Any, where: str = "$") -> list[str]:
    """Where an answer is not what is shown of it. Fields may be left out, items of a list may not."""
    if isinstance(shown, dict) and isinstance(real, dict):
        missing = [f"{where}.{name} is not there" for name in shown.keys() - real.keys()]
        both = shown.keys() & real.keys()
        return missing + [each for name in both for each in differences(shown[name], real[name], f"{where}.{name}")]
    if isinstance(shown, list) and isinstance(real, list) and len(shown) == len(real):
        pairs = enumerate(zip(shown, real, strict=True))
        return [each for at, (one, other) in pairs for each in differences(one, other, f"{where}[{at}]")]
    return [] if shown == real else [f"{where} is {real!r}, not {shown!r}"]


def test_every_task_has_an_example() -> None:
    assert {re.findall(r"/v1/([\w-]+)", command)[0] for command, _ in EXAMPLES} == {task.name for task in TASKS}


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command.split()[2] for command, _ in EXAMPLES])
async def test_an_example_gives_what_it_says(command: str, shown: str, oracle_url: str, running: Running) -> None:
    async with running([oracle_url]) as url:
        process = await asyncio.create_subprocess_shell(
            command.replace("http://127.0.0.1:8000", url),
            cwd=ROOT / "clients/playground/samples",
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert differences(json.loads(shown), json.loads(out)) == []
