"""Every script in clients/curl runs as it stands and prints the task's result."""

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from tests.conftest import Running
from tests.media.conftest import make
from tests.tasks.common import events, pdf, picture

SCRIPTS = Path(__file__).resolve().parents[1] / "clients" / "curl"
BOXES = '[{"bbox_2d":[14,28,140,56],"label":"red car"}]'
CALL = (
    '<tool_call>\n{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [14, 28]}}\n</tool_call>'
)
EVENTS = '[{"start_time":"00:01.00","end_time":"00:02.00","description":"It grows."}]'
CASES = [
    ("detect", ["a.jpg", "red car", "dog"], BOXES, "objects"),
    ("read-text", ["a.jpg"], '[{"bbox_2d":[1,2,30,40],"text_content":"TOTAL"}]', "lines"),
    ("caption", ["a.jpg", "short"], "A red picture.", "caption"),
    ("extract", ["a.jpg", "schema.json"], '{"total":5.25}', "data"),
    ("parse-document", ["a.pdf", "1"], '<html><body><p data-bbox="1 2 3 4">a</p></body></html>', "pages"),
    ("localize-events", ["a.mp4"], EVENTS, "events"),
    ("act", ["a.jpg", "open it"], CALL, "action"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "a.pdf").write_bytes(pdf((200, 200, "a"), (200, 200, "b")))
    (tmp_path / "a.mp4").write_bytes(make([at / 10 for at in range(30)]))
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    return tmp_path


async def run(url: str, folder: Path, script: str, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        SCRIPTS / f"{script}.sh",
        *arguments,
        cwd=folder,
        env={"QWENVL_URL": url, "QWENVL_API_KEY": "secret key", "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_every_script_prints_its_tasks_result(mock: Mock, running: Running, folder: Path):
    async with running([await mock.listen()], api_key=["secret key"]) as url:
        for script, arguments, said, field in CASES:
            mock.behaviour = Behaviour(answer=said, chunks=5)
            code, out = await run(url, folder, script, *arguments)
            assert code == 0, (script, out)
            assert json.loads(out)[field], script
        mock.behaviour = Behaviour(answer=BOXES, chunks=5)
        code, out = await run(url, folder, "detect-stream", "a.jpg", "the red car")
        assert [kind for kind, _ in events(out)] == ["item", "result", "message"]


async def test_an_error_is_printed_and_fails_the_script(mock: Mock, running: Running, folder: Path):
    async with running([await mock.listen()], api_key=["secret key"]) as url:
        code, out = await run(url, folder, "parse-document", "a.pdf", "9")
        assert code != 0
        assert json.loads(out)["error"]["param"] == "pages"


def test_no_script_is_left_out():
    assert {path.stem for path in SCRIPTS.glob("*.sh")} == {case[0] for case in CASES} | {"detect-stream"}
