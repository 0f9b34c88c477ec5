"""A task over a manifest: every row once, whatever is killed, whichever rows are bad; on Ray the same."""

import asyncio
import base64
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import MODEL, Mock
from server.__main__ import RED_DISC
from server.bulk.manifest import shards
from server.bulk.run import Job, Progress, run_here
from server.errors import InvalidValue
from tests.conftest import until

DISC = '[{"bbox_2d": [10, 10, 60, 60], "label": "disc"}]'


def write(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file = folder / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob("part-*.parquet")):
        found += pq.read_table(file).to_pylist()
    return found


def job(manifest: Path, out: Path, engine: str, **changes: Any) -> Job:
    options: dict[str, Any] = {
        "settings": {"media_workers": 1, "engine_poll_s": 0.05},
        "engine_urls": [engine],
        "task": "detect",
        "manifest": str(manifest),
        "out": str(out),
        "rows_a_shard": 8,
        "at_once": 8,
        "common": {"labels": ["disc"], "model": MODEL},
        **changes,
    }
    return Job(**options)


async def run(job: Job) -> list[str]:
    said: list[str] = []
    await run_here(job, Progress(said.append))
    return said


async def test_every_row_has_its_result_in_the_order_of_the_manifest(mock: Mock, tmp_path: Path) -> None:
    mock.behaviour = Behaviour(answer=DISC)
    manifest = write(tmp_path, ({"id": f"p{number}", "image": RED_DISC} for number in range(20)))
    said = await run(job(manifest, tmp_path / "out", await mock.listen()))
    rows = read(tmp_path / "out")
    assert [row["id"] for row in rows] == [f"p{number}" for number in range(20)]
    result = json.loads(rows[0]["result"])
    assert result["objects"][0]["label"] == "disc"
    assert result["image"] == {"width": 112, "height": 112}
    assert said[-1] == "20 rows, 0 with an error"


async def test_a_bad_row_is_a_row_with_an_error_and_costs_no_other(mock: Mock, tmp_path: Path) -> None:
    mock.behaviour = Behaviour(answer=DISC)
    picture = tmp_path / "disc.png"
    picture.write_bytes(base64.b64decode(RED_DISC.partition(",")[2]))
    rows = [
        {"id": "file", "image": "disc.png"},
        {"id": "missing", "image": "no-such.png"},
        {"id": "not a picture", "image": "data:image/png;base64,AAAA"},
        {"id": "no field", "image": RED_DISC, "colour": "red"},
        {"id": "inward", "image": "http://127.0.0.1/x.png"},
        {"id": "good", "image": RED_DISC},
    ]
    await run(job(write(tmp_path, rows), tmp_path / "out", await mock.listen()))
    found = {row["id"]: (row["status"], row["error_code"]) for row in read(tmp_path / "out")}
    assert found == {
        "file": ("ok", None),
        "missing": ("error", "file_unreadable"),
        "not a picture": ("error", "image_unreadable"),
        "no field": ("error", "unknown_parameter"),
        "inward": ("error", "url_forbidden"),
        "good": ("ok", None),
    }


async def test_a_second_run_does_nothing_and_a_missing_shard_is_made_again(mock: Mock, tmp_path: Path) -> None:
    mock.behaviour = Behaviour(answer=DISC)
    manifest = write(tmp_path, ({"id": f"p{number}", "image": RED_DISC} for number in range(20)))
    wanted = job(manifest, tmp_path / "out", await mock.listen())
    await run(wanted)
    first = mock.stats()["requests"]
    assert await run(wanted) == []
    (tmp_path / "out/part-000001.parquet").unlink()
    await run(wanted)
    assert mock.stats()["requests"] == first + 8
    assert len(read(tmp_path / "out")) == 20


async def test_a_manifest_in_parquet_is_read_alike(mock: Mock, tmp_path: Path) -> None:
    mock.behaviour = Behaviour(answer=DISC)
    manifest = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "image": [RED_DISC] * 2, "mode": ["box", None]}), manifest)
    await run(job(manifest, tmp_path / "out", await mock.listen()))
    assert [row["status"] for row in read(tmp_path / "out")] == ["ok", "ok"]


@pytest.mark.parametrize("rows", [[{"image": "x"}], [{"id": "a"}, {"id": "a"}]], ids=["no id", "the same id twice"])
def test_a_manifest_whose_rows_cannot_be_told_apart_is_refused(rows: list[dict[str, str]], tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="of the manifest has no id"):
        list(shards(str(write(tmp_path, rows)), 8))


def command(manifest: Path, out: Path, engine: str, *more: str) -> list[str]:
    fields = ["--field", 'labels=["disc"]', "--field", f"model={MODEL}"]
    words = ["--task", "detect", "--manifest", str(manifest), "--out", str(out), "--engine-url", engine, *fields]
    return [sys.executable, "-m", "server.bulk", *words, "--shard-rows", "4", "--at-once", "4", *more]


async def test_a_run_that_is_killed_twice_ends_with_every_row_once(mock: Mock, tmp_path: Path) -> None:
    mock.behaviour = Behaviour(answer=DISC, interval_ms=20)
    manifest = write(tmp_path, ({"id": f"p{number}", "image": RED_DISC} for number in range(80)))
    out = tmp_path / "out"
    words = command(manifest, out, await mock.listen())
    for shards_there in (3, 8):
        killed = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
        await until(lambda: len(list(out.glob("part-*"))) >= shards_there, timeout_s=60)  # noqa: B023
        killed.kill()
        await killed.wait()
    finished = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    _, said = await finished.communicate()
    assert finished.returncode == 0, said
    assert Counter(row["id"] for row in read(out)) == Counter(f"p{number}" for number in range(80))
    assert b"done: " in said


@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: the extra `bulk`")
async def test_on_ray_the_same_comes_out(mock: Mock, tmp_path: Path) -> None:
    mock.behaviour = Behaviour(answer=DISC)
    manifest = write(tmp_path, ({"id": f"p{number}", "image": RED_DISC} for number in range(20)))
    words = command(manifest, tmp_path / "out", await mock.listen(), "--ray", "local")
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()[-3000:]
    assert [row["id"] for row in read(tmp_path / "out")] == [f"p{number}" for number in range(20)]
    assert {row["status"] for row in read(tmp_path / "out")} == {"ok"}
