"""vLLM in a worker's own process: pieces read as over HTTP, and, where `.venv-bulk` is, rows that see."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.bulk.pictures import accuracy, pictures
from server.bulk.inside import _piece, launch
from server.settings import Settings
from server.tasks.confidence import Token

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-bulk/bin/python"


def said(text: str, tokens: list[tuple[int, str, float]], finish_reason: str | None = None) -> Any:
    """What vLLM gives out after a few steps."""
    logprobs = [{token: SimpleNamespace(decoded_token=word, logprob=sure)} for token, word, sure in tokens]
    ids = [token for token, _, _ in tokens]
    output = SimpleNamespace(text=text, token_ids=ids, logprobs=logprobs, finish_reason=finish_reason)
    return SimpleNamespace(outputs=[output], finished=finish_reason is not None, prompt_token_ids=[0] * 7)


def test_an_answers_tokens_come_with_their_text_and_its_end_is_no_part_of_it() -> None:
    piece = _piece(said("ab", [(5, "a", -0.5), (6, "b", float("-inf")), (9, "<|im_end|>", -0.1)], "stop"), spent=3)
    assert piece.tokens == [Token("a", -0.5), Token("b", -9999.0)]
    assert piece.finish_reason == "stop"
    assert piece.usage == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_tokens_that_are_parts_of_a_character_are_one_for_all_of_a_piece() -> None:
    piece = _piece(said("é", [(5, "�", -1.0), (6, "�", -3.0)]), spent=2)
    assert piece.tokens == [Token("é", -2.0)]
    assert piece.usage is None


def test_it_is_started_as_the_servers_own_engine_is_but_for_more_rows_on_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.bulk.inside.detect_gpus", list)
    found = launch(str(ROOT / "demo/checkpoint"), Settings(engine_args="--seed 3"), threads=1)
    assert found.names[0] == "qwen2.5-vl-demo"
    assert found.env["OMP_NUM_THREADS"] == "1"
    assert found.args[found.args.index("--max-num-seqs") + 1] == "256"
    assert found.args.count("--max-num-seqs") == 1
    assert found.args[-2:] == ["--seed", "3"]
    assert found.settings.image_max_pixels == 224 * 224


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.skipif(not PYTHON.exists(), reason="there is no .venv-bulk: scripts/bulk --help makes it")
@pytest.mark.parametrize("ray", [(), ("--ray", "local", "--workers", "1")], ids=["here", "on Ray"])
async def test_a_manifest_is_answered_without_a_server(ray: tuple[str, ...], tmp_path: Path) -> None:
    shown = pictures(tmp_path / "scenes", 12, "qwen2.5-vl-demo")
    words = ["--task", "detect", "--manifest", shown.manifest, "--out", tmp_path / "out", "--shard-rows", 5, *ray]
    command = [str(word) for word in (PYTHON, "-m", "server.bulk", *words, "--model", ROOT / "demo/checkpoint")]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, heard = await process.communicate()
    assert process.returncode == 0, heard.decode()[-3000:]
    rows = [row for file in sorted((tmp_path / "out").glob("part-*")) for row in pq.read_table(file).to_pylist()]
    assert [row["id"] for row in rows] == [item.id for item in shown.items]
    assert {row["status"] for row in rows} == {"ok"}
    assert accuracy(shown.items, {row["id"]: json.loads(row["result"]) for row in rows})["detect mAP@0.5"] > 0.6
