"""`python -m server fit` as it is typed."""

import json
from pathlib import Path

import pytest

from server.sizing.cards import find_card
from server.sizing.command import main


def test_an_answer_is_a_table_that_ends_in_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "7B", "--gpu", "L4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Qwen/Qwen2.5-VL-7B-Instruct (bf16) on L4: fits\n")
    assert "KV cache" in out
    assert "python -m server --model Qwen/Qwen2.5-VL-7B-Instruct" in out


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "72B", "--gpu", "H100", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "does_not_fit"


def test_a_folder_is_sized(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(dict(find_card("7B").config)))
    assert main(["--model", str(tmp_path), "--gpu", "L4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["licence"] is None


def test_a_card_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "3B", "--card"]) == 0
    assert "commercial use: no" in capsys.readouterr().out


def test_a_card_is_shown_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "72B-AWQ", "--card", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["base"] == "Qwen/Qwen2.5-VL-72B-Instruct"


@pytest.mark.parametrize("arguments", [["--model", "7B"], ["--model", "7B", "--gpu", "Voodoo 2"], ["--model", "GPT"]])
def test_a_question_that_cannot_be_is_answered_in_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
