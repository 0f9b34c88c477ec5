"""The command line as a person runs it: a process with arguments, stdout for data, stderr for words, an exit code."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qwenvl.cli import exits, main
from qwenvl.cli.exits import UsageError
from qwenvl.cli.files import IMAGES, expanded
from qwenvl.cli.store import Store, fingerprint
from tests.clients.conftest import Served
from tests.media.conftest import make
from tests.tasks.common import pdf

CAT = '[{"bbox_2d":[14,28,140,56],"label":"cat"}]'
PAGE = '<html><body><h1 data-bbox="1 2 90 40">Bill</h1></body></html>'
EVENTS = '[{"start_time":"00:01.00","end_time":"00:02.00","description":"It grows."}]'
CLICK = '<tool_call>{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [14, 28]}}</tool_call>'


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    words: str


Run = Callable[..., Done]


def command(served: Served, *arguments: object) -> list[str]:
    """The command as a process of its own."""
    return [sys.executable, "-m", "qwenvl", *map(str, arguments), "--url", served.url]


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONWARNINGS": "error"}


@pytest.fixture
def run(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, in the folder of the files: starting one costs half a second of CPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as left:
            main([*map(str, arguments), "--url", served.url])
        assert isinstance(left.value.code, int)
        return Done(left.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def files(tmp_path: Path, photo: Path) -> Path:
    """A folder with one file of each kind."""
    (tmp_path / "bill.pdf").write_bytes(pdf((200, 200, "a")))
    (tmp_path / "clip.mp4").write_bytes(make([at / 10 for at in range(40)]))
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"total": {"type": "number"}}}')
    return tmp_path


CASES = [
    pytest.param(["detect", "photo.jpg", "-l", "cat"], CAT, "count", 1, "cat\t14 28 140 56", id="detect"),
    pytest.param(["detect", "photo.jpg", "-p", "it", "--mode", "point"], '[{"point_2d":[1,2],"label":"it"}]',
                 "count", 1, "it\t1 2\t", id="detect point"),
    pytest.param(["parse", "bill.pdf"], PAGE, "status", "completed", "# Bill", id="parse"),
    pytest.param(["events", "clip.mp4"], EVENTS, "duration_s", 4.0, "00:01.00\t00:02.00\tIt grows.", id="events"),
    pytest.param(["read", "photo.jpg"], "STOP", "text", "STOP", "STOP", id="read"),
    pytest.param(["caption", "clip.mp4"], "It grows.", "caption", "It grows.", "It grows.", id="caption of a clip"),
    pytest.param(["extract", "photo.jpg", "-f", "total:number"], '{"total": 5}', "data", {"total": 5}, '"total": 5',
                 id="extract fields"),
    pytest.param(["extract", "bill.pdf", "-s", "schema.json"], '{"total": 5}', "data", {"total": 5}, '"total": 5',
                 id="extract schema"),
    pytest.param(["act", "photo.jpg", "-p", "open it", "--did", "waited"], CLICK, "needs_confirmation", False,
                 '{"action": "left_click", "coordinate": [14, 28]}', id="act"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said", "field", "value", "words"), CASES)
def test_a_task_gives_a_line_of_json_and_with_text_words(
    run: Run, served: Served, files: Path, arguments: list[str], said: str, field: str, value: Any, words: str
):
    served.says(said)
    done = run(*arguments)
    assert (done.code, done.words) == (exits.ANSWERED, "")
    line = json.loads(done.out)
    assert line["file"] == arguments[1]
    assert line["result"][field] == value
    in_words = run(*arguments, "--text")
    assert in_words.code == exits.ANSWERED
    assert words in in_words.out


def test_models_are_listed(run: Run):
    assert run("models").out.splitlines()[0].split("\t")[2] == "32768"
    assert all(json.loads(line)["id"] for line in run("models", "--json").out.splitlines())


def test_chat_writes_the_answer_and_nothing_else(run: Run, served: Served, photo: Path):
    served.says("A red picture.")
    done = run("chat", "What is it?", "-i", photo, "--system", "Be brief.")
    assert (done.code, done.out, done.words) == (0, "A red picture.\n", "")
    asked = served.asked()["messages"]
    assert [message["role"] for message in asked] == ["system", "user"]
    assert [part["type"] for part in asked[1]["content"]] == ["image_url", "text"]


def test_a_conversation_remembers_what_was_said(run: Run, served: Served, photo: Path):
    served.says("Yes.")
    done = run("chat", "-i", photo, stdin=b"Is it red?\nSure?\n\n")
    assert done.out == "Yes.\nYes.\n"
    asked = served.asked()["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    assert len(asked[2]["content"]) == 1


def test_a_picture_comes_from_stdin(run: Run, served: Served, photo: Path):
    served.says(CAT)
    done = run("detect", "-", "-l", "cat", stdin=photo.read_bytes())
    assert json.loads(done.out)["file"] == "<stdin>"


def test_overlays_are_saved_beside_each_other(run: Run, served: Served, files: Path):
    (files / "a").mkdir()
    (files / "a" / "photo.jpg").write_bytes((files / "photo.jpg").read_bytes())
    served.says(CAT)
    done = run("detect", "photo.jpg", "a", "-l", "cat", "--overlay", "seen", "-q")
    assert done.code == 0
    for name in ("photo.jpg.png", "a/photo.jpg.png"):
        with Image.open(files / "seen" / name) as drawn:
            assert drawn.size == (560, 280)
    served.says(PAGE)
    assert run("parse", "bill.pdf", "--overlay", "seen").code == 0
    assert (files / "seen" / "bill.pdf" / "page-001.png").exists()


# -- exit codes ------------------------------------------------------------------------------------------------------
def test_a_file_that_fails_is_told_and_the_others_are_answered(run: Run, served: Served, files: Path):
    served.says("Red.")
    (files / "broken.jpg").write_bytes(b"no picture")
    done = run("caption", "broken.jpg", "photo.jpg")
    assert done.code == exits.SOME_FAILED
    lines = {line["file"]: line for line in map(json.loads, done.out.splitlines())}
    assert lines["photo.jpg"]["result"]["caption"] == "Red."
    assert lines["broken.jpg"]["error"]["code"] == "image_unreadable"
    assert lines["broken.jpg"]["error"]["request_id"]
    assert "broken.jpg: " in done.words
    assert "1 answered, 1 failed" in done.words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["detect", "no.jpg"], "no.jpg is no file, folder, pattern or URL", id="no file"),
        pytest.param(["detect"], "FILES", id="nothing"),
        pytest.param(["detect", "photo.jpg", "--jobs", "0"], "--jobs is 0", id="no jobs"),
        pytest.param(["detect", "photo.jpg", "--lable", "cat"], "--lable", id="misspelt"),
        pytest.param(["extract", "photo.jpg"], "give --schema, --field or --question", id="nothing to extract"),
        pytest.param(["extract", "photo.jpg", "-f", "a:kilo"], "TYPE one of", id="no type"),
        pytest.param(["extract", "photo.jpg", "-s", "no.json"], "--schema cannot be read", id="no schema"),
        pytest.param(["fly"], "fly", id="no command"),
    ],
)
def test_a_command_that_makes_no_sense_says_why_and_asks_nothing(
    run: Run, served: Served, files: Path, arguments: list[str], words: str
):
    done = run(*arguments)
    assert (done.code, done.out) == (exits.USAGE, "")
    assert words in done.words
    assert served.engine("stats")["requests"] == 0


def test_no_server_ends_the_command_at_once(run: Run, files: Path, monkeypatch: pytest.MonkeyPatch):
    nobody = "http://127.0.0.1:9"
    (files / "other.jpg").write_bytes(b"x")
    done = run("caption", "photo.jpg", "other.jpg", "--retries", "0", "--jobs", "1", "--url", nobody)
    assert done.code == exits.USAGE  # --url twice
    alone = [sys.executable, "-m", "qwenvl", "caption", "photo.jpg", "other.jpg", "--retries", "0", "--url", nobody]
    left = subprocess.run(alone, cwd=files, env=environment(), capture_output=True, text=True, check=False)
    assert (left.returncode, left.stdout) == (exits.NO_SERVER, "")
    assert f"{nobody} cannot be reached" in left.stderr


def test_a_reader_that_leaves_is_no_error(served: Served, files: Path):
    served.says("Red.")
    names = ["photo.jpg"] + [f"{at}.jpg" for at in range(5)]
    for name in names[1:]:
        (files / name).write_bytes((files / "photo.jpg").read_bytes())
    pipe = f"'{sys.executable}' -m qwenvl caption {' '.join(names)} -q --url {served.url} | head -n 1"
    left = subprocess.run(pipe, shell=True, cwd=files, env=environment(), capture_output=True, text=True, check=False)
    assert (left.stderr, len(left.stdout.splitlines())) == ("", 1)


# -- many files ------------------------------------------------------------------------------------------------------
def test_names_folders_and_patterns_give_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "a/b/2.PNG", "a/notes.txt", "3.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    assert expanded(["a"], IMAGES) == ["a/1.jpg", "a/b/2.PNG"]
    assert expanded(["a/**/*", "3.jpg", "a/1.jpg", "<stdin>"], IMAGES) == ["a/1.jpg", "a/b/2.PNG", "3.jpg", "<stdin>"]
    assert expanded(["a/notes.txt", "https://x.org/y"], IMAGES) == ["a/notes.txt", "https://x.org/y"]
    with pytest.raises(UsageError, match="no files of a kind"):
        expanded(["*.pdf"], IMAGES)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_thousand_pictures_interrupted_and_resumed_give_a_thousand_results(served: Served, tmp_path: Path):
    """Of 32 x 32, 16 at a time; stopped by Ctrl-C, then by a kill that leaves half a line, then run to the end."""
    served.says("[]", chunks=1)
    folder = tmp_path / "photos"
    folder.mkdir()
    for at in range(1000):
        Image.new("RGB", (32, 32), (at % 256, at // 256, 0)).save(folder / f"{at:04}.png")
    out = tmp_path / "out.jsonl"
    ask = command(served, "detect", folder, "-l", "cat", "--out", out, "--jobs", 16, "--retries", 0)

    def stopped_at(lines: int, number: signal.Signals) -> int:
        process = subprocess.Popen(ask, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < lines):
            time.sleep(0.02)
        process.send_signal(number)
        _, words = process.communicate(timeout=30)
        assert number != signal.SIGINT or b"the same command goes on from here" in words
        return process.returncode

    assert stopped_at(300, signal.SIGINT) == exits.INTERRUPTED
    assert stopped_at(600, signal.SIGKILL) == -signal.SIGKILL
    before = len(lines_of(out))
    assert 600 <= before < 1000
    with out.open("a") as file:
        file.write('{"file": "half a li')

    done = subprocess.run(ask, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == exits.ANSWERED, done.stderr
    assert f"{before} had their answer already" in done.stderr
    results = lines_of(out)
    assert len(results) == 1000
    assert {line["file"] for line in results} == {str(path) for path in folder.iterdir()}
    assert all(line["result"]["object"] == "detection" for line in results)

    again = subprocess.run(ask, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == exits.ANSWERED
    assert lines_of(out) == results


def test_failures_are_tried_again_and_replaced(run: Run, served: Served, files: Path):
    served.says("I see nothing of the kind.")
    assert run("detect", "photo.jpg", "-l", "cat", "-o", "out.jsonl").code == exits.SOME_FAILED
    assert "error" in lines_of(files / "out.jsonl")[0]
    served.says(CAT)
    assert run("detect", "photo.jpg", "-l", "cat", "-o", "out.jsonl").code == exits.ANSWERED
    assert [line["result"]["count"] for line in lines_of(files / "out.jsonl")] == [1]


def test_answers_to_another_question_are_not_mixed_in(run: Run, served: Served, files: Path):
    served.says(CAT)
    assert run("detect", "photo.jpg", "-l", "cat", "-o", "out.jsonl").code == exits.ANSWERED
    other = run("detect", "photo.jpg", "-l", "dog", "-o", "out.jsonl")
    assert other.code == exits.USAGE
    assert "holds answers to another question" in other.words
    assert run("detect", "photo.jpg", "-l", "dog", "-o", "out.jsonl", "--overwrite").code == exits.ANSWERED
    assert [line["result"]["not_found"] for line in lines_of(files / "out.jsonl")] == [["dog"]]


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_file_cut_off_anywhere_keeps_its_whole_lines(tmp_path: Path, cut: int):
    asked = fingerprint("caption", {})
    line = json.dumps({"file": "a\u732b", "asked": asked, "result": {}}, ensure_ascii=False) + "\n"
    other = line.replace("a\u732b", "b")
    path = tmp_path / "out.jsonl"
    path.write_bytes(line.encode() + other.encode()[: max(0, len(other.encode()) - 1 - cut)])
    store = Store(path, asked, overwrite=False)
    assert store.done == {"a\u732b"}
    store.add(other.rstrip())
    store.close()
    assert [each["file"] for each in lines_of(path)] == ["a\u732b", "b"]
