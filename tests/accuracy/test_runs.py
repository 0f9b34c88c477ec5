"""A run asks every question once, goes on where it was stopped, and leaves figures, a table, plots and every answer."""

import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

import benchmarks.accuracy
from benchmarks.accuracy import asking
from benchmarks.accuracy.__main__ import read_options
from benchmarks.accuracy.items import Item, Record
from benchmarks.accuracy.perfect import PerfectEngine
from benchmarks.accuracy.run import Options, measure
from benchmarks.accuracy.suites import Wanted
from benchmarks.accuracy.suites.scenes import Sizes, items
from tests.accuracy.conftest import gateway_before, perfect_gateway

FEW = Wanted(Sizes(pictures=2, clips=0, long_clips=0, pages=0, screens=1), kinds=("detect", "count", "act"))
ROOT = Path(__file__).resolve().parents[2]


def options(url: str, out: Path, **more: Any) -> Options:
    return Options(url=url, out=out, wanted=FEW, quiet=True, **more)


async def test_a_run_leaves_figures_a_table_plots_and_every_answer(tmp_path: Path):
    async with perfect_gateway() as url:
        outcome = await measure(options(url, tmp_path))
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["figures"]["detect mAP@0.5"]["value"] == 1
    assert (figures["suite"], figures["benchmark"]) == ("scenes", "accuracy")
    assert "| detect mAP@0.5 | 1 |" in (tmp_path / "table.md").read_text()
    plots = sorted(file.name for file in (tmp_path / "plots").iterdir())
    assert plots == ["boxes.png", "counts.png", "overview.png"]
    for name in plots:
        with Image.open(tmp_path / "plots" / name) as plot:
            assert plot.width > 400
    lines = (tmp_path / "items.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(record.id for record in outcome.records)


async def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path):
    engine = PerfectEngine()
    async with gateway_before(engine) as gateway:
        first = await measure(options(gateway, tmp_path))
        answers = tmp_path / "items.jsonl"
        lines = answers.read_bytes().splitlines(keepends=True)
        answers.write_bytes(b"".join(lines[:-3]) + lines[-1][:20])  # killed while it wrote
        before = engine.stats()["requests"]
        second = await measure(options(gateway, tmp_path))
        assert engine.stats()["requests"] - before == 3
        assert {name: each.value for name, each in second.figures.items()} == {
            name: each.value for name, each in first.figures.items()
        }
        await measure(options(gateway, tmp_path, fresh=True))
        assert engine.stats()["requests"] - before == 3 + len(lines)


async def test_an_answer_to_what_is_no_longer_the_question_is_not_kept(tmp_path: Path):
    server = Server(said(200))
    known = {QUESTION.id: Record(QUESTION.id, QUESTION.kind, {"count": 3}, {}, {"objects": []})}
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(server), base_url="http://server") as client:
        (record,) = await asking.answers([QUESTION], client, tmp_path, known, model="model", concurrency=1)
    assert (record.truth, server.asked) == ({}, 1)


async def test_answers_of_another_model_are_not_mixed_in(tmp_path: Path):
    async with perfect_gateway() as url:
        await measure(options(url, tmp_path))
    async with gateway_before(PerfectEngine("another")) as gateway:
        with pytest.raises(asking.OtherRun, match="model"):
            await measure(options(gateway, tmp_path))


async def test_a_server_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(asking.Unreachable, match=r"127\.0\.0\.1:9\b"):
        await measure(options("http://127.0.0.1:9", tmp_path))


class Server:
    """Answers with the next of `responses`; the last one again and again."""

    def __init__(self, *responses: httpx2.Response) -> None:
        self.responses = list(responses)
        self.asked = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]


def said(status: int, code: str = "", **headers: str) -> httpx2.Response:
    body = {"objects": []} if status == 200 else {"error": {"code": code, "message": "no"}}
    return httpx2.Response(status, json=body, headers=headers)


QUESTION = Item("absent-1", "absent", "/v1/detect", lambda: {"image": "data:,"}, {}, {})


@pytest.mark.parametrize(
    ("responses", "error", "asked", "is_final"),
    [
        pytest.param([said(503, "overloaded", **{"retry-after": "0"}), said(200)], None, 2, True, id="busy once"),
        pytest.param([said(502, "answer_unreadable")], "answer_unreadable", 1, True, id="unreadable"),
        pytest.param([said(400, "limit_exceeded")], "limit_exceeded", 1, False, id="refused"),
        pytest.param([said(429, "slow", **{"retry-after": "0"})], "slow", asking.TRIES, False, id="busy for good"),
    ],
)
async def test_what_becomes_of_an_answer(
    responses: list[httpx2.Response], error: str | None, asked: int, is_final: bool
):
    server = Server(*responses)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(server), base_url="http://server") as client:
        record = await asking.asked(QUESTION, client, "model")
    assert (record.error, server.asked, record.is_final) == (error, asked, is_final)


def test_scenes_are_none_that_training_takes():
    """Training takes even seeds."""
    asked = list(items(Sizes(pictures=3, clips=2, long_clips=1, pages=2, screens=2)))
    assert {int(item.id.rpartition("-")[2]) % 2 for item in asked} == {1}
    assert len({item.id for item in asked}) == len(asked)


@pytest.mark.parametrize("wrong", [["--kinds", "detekt"], ["--concurrency", "0"], ["--suite", "imagenet"]])
def test_a_command_that_cannot_be_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        read_options(["--url", "http://127.0.0.1:8000", "--out", "out", *wrong])
    assert wrong[1] in capsys.readouterr().err


def test_the_command_says_in_a_sentence_what_is_wrong(tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks.accuracy", "--url", "http://127.0.0.1:9", "--out", str(tmp_path)]
    ended = subprocess.run([*command, "--pictures", "1"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("http://127.0.0.1:9 does not list its models")
    assert "Traceback" not in ended.stderr


MODULES = [module.name for module in pkgutil.walk_packages(benchmarks.accuracy.__path__, "benchmarks.accuracy.")]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_the_examples_of_its_docstrings_hold(name: str):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
