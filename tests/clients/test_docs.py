"""What the client's README shows is current, and its examples run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Served
from tests.media.conftest import make
from tests.tasks.common import pdf

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "clients" / "python"
README = (FOLDER / "README.md").read_text()
EXAMPLES = re.findall(r"<!-- run ?(\w*) -->\n```(\w+)\n(.*?)```", README, re.DOTALL)
CAT = '[{"bbox_2d":[14,28,140,56],"label":"cat"}]'
SAID = {
    "detect": CAT,
    "document": '<html><body><h1 data-bbox="1 2 90 40">Bill</h1></body></html>',
    "extract": '{"total": 5.25}',
    "chat": "A red picture.",
    "async": "A red picture.",
    "error": CAT,
}
PRINTED = {
    "detect": "cat (14.0, 28.0, 140.0, 56.0)",
    "document": "1 # Bill\n2 # Bill",
    "chat": "A red picture.",
    "async": "A red picture.\nA red picture.",
    "error": "limit_exceeded max_tokens 1000000 32768",
}


@pytest.fixture
def folder(tmp_path: Path, photo: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the examples speak of, and `qwenvl` on the path."""
    (tmp_path / "bill.pdf").write_bytes(pdf((200, 200, "a"), (200, 200, "b")))
    (tmp_path / "kitchen.mp4").write_bytes(make([at / 10 for at in range(40)]))
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(photo.read_bytes())
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "qwenvl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qwenvl "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QWENVL_URL", served.url)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_examples_run_one_after_the_other(served: Served, folder: Path, capsys: pytest.CaptureFixture[str]):
    names: dict[str, Any] = {}
    run = [(name, code) for name, language, code in EXAMPLES if language == "python"]
    assert {name for name, _ in run} == set(SAID)
    for name, code in run:
        served.says(SAID[name])
        exec(compile(code, f"README example {name}", "exec"), names)
        assert PRINTED.get(name, "") in capsys.readouterr().out, name
    names["client"].close()
    assert (folder / "seen.png").exists()
    assert (folder / "drawn" / "page-002.png").exists()


def test_the_shell_examples_run(served: Served, folder: Path):
    said = {"detect": CAT, "parse": SAID["document"], "caption": "Red.", "extract": '{"total": 5}', "chat": "Red."}
    lines = [line for _, language, code in EXAMPLES if language == "sh" for line in code.strip().splitlines()]
    assert [line.split()[1] for line in lines] == list(said)
    for line in lines:
        served.says(said[line.split()[1]])
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (line, done.stderr)
    assert (folder / "bill.md").read_text().startswith("# Bill")
    assert len((folder / "captions.jsonl").read_text().splitlines()) == 2


def test_its_help_texts_are_what_the_command_prints():
    check = subprocess.run([sys.executable, FOLDER / "help.py", "--check"], env=os.environ, check=False)
    assert check.returncode == 0, "run python clients/python/help.py"


def test_every_python_block_is_an_example_that_is_run():
    assert README.count("```python") == sum(language == "python" for _, language, _ in EXAMPLES)
