"""The server on a real Ray Serve: whole answers, streams, tasks, errors, clients that leave, engines that die."""

import asyncio
import contextlib
import io
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import yaml

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.cpu import tree
from benchmarks.overhead.mock import MODEL, Mock
from benchmarks.overhead.processes import free_ports
from demo import scenes
from tests.conftest import ASK, until
from tests.tasks.common import uri

ROOT = Path(__file__).resolve().parents[1]
SERVE = ROOT / ".venv-bulk/bin/serve"
CHAT = "/v1/chat/completions"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not SERVE.exists(), reason="there is no .venv-bulk: scripts/bulk --help makes it"),
]


class OnRay:
    """The application while it runs."""

    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid

    async def is_ready(self) -> bool:
        try:
            async with httpx2.AsyncClient(base_url=self.url, timeout=5) as client:
                return (await client.get("/readyz")).status_code == 200
        except httpx2.HTTPError:
            return False

    def engines(self) -> list[int]:
        """Processes of vLLM."""
        return [pid for pid in tree(self.pid) if b"vllm.entrypoints" in _words(pid)]


def _words(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@asynccontextmanager
async def on_ray(folder: Path, **arguments: Any) -> AsyncIterator[OnRay]:
    """`serve run` with the file that operators get, on a free port and with other arguments; nothing is left of it."""
    config = yaml.safe_load((ROOT / "deploy/ray/serve.yaml").read_text())
    port = free_ports(1)[0]
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    config["applications"][0]["args"] = {"cpus": 1, **arguments}
    (folder / "serve.yaml").write_text(yaml.safe_dump(config))
    with (folder / "serve.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            SERVE, "run", folder / "serve.yaml", stdout=log, stderr=log, cwd=ROOT
        )
        here = OnRay(f"http://127.0.0.1:{port}", process.pid)
        try:
            await until(lambda: _is_up(here, process, folder / "serve.log"), timeout_s=240)
            yield here
        finally:
            left = tree(process.pid)
            process.send_signal(signal.SIGINT)
            await process.wait()
            await until(lambda: not any(_words(pid) for pid in left), timeout_s=60)


async def _is_up(here: OnRay, process: asyncio.subprocess.Process, log: Path) -> bool:
    assert process.returncode is None, log.read_text(errors="replace")[-3000:]
    await asyncio.sleep(0.3)
    return await here.is_ready()


async def test_answers_streams_errors_and_leaving_are_as_without_ray(tmp_path: Path, mock: Mock) -> None:
    mock.behaviour = Behaviour(own_words=True, interval_ms=20, json_ms=20)
    async with on_ray(tmp_path, engine_url=await mock.listen()) as here:
        client = openai.AsyncOpenAI(base_url=f"{here.url}/v1", api_key="none", max_retries=0)
        hello: Any = {"model": MODEL, "messages": ASK["messages"]}
        whole = await client.chat.completions.create(**hello, max_tokens=2)
        assert whole.choices[0].message.content == "token0 token1"
        stream = await client.chat.completions.create(**hello, max_tokens=3, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "token0 token1 token2"
        with pytest.raises(openai.BadRequestError) as wrong:
            await client.chat.completions.create(**hello, temperature="hot")
        assert (wrong.value.param, wrong.value.code) == ("temperature", "invalid_value")
        endless = await client.chat.completions.create(**hello, max_tokens=5000, stream=True)
        await anext(aiter(endless))
        assert len(mock.running) == 1
        await endless.close()
        await until(lambda: not mock.running, timeout_s=5)
        await client.close()


@pytest.mark.engine
async def test_each_replica_has_an_engine_that_sees_and_comes_back_when_it_dies(tmp_path: Path) -> None:
    scene = scenes.picture(7, (640, 480), (2, 4))
    shown = io.BytesIO()
    scene.image.save(shown, "PNG")
    asked = {"image": uri(shown.getvalue()), "labels": sorted({thing.label for thing in scene.objects})}
    async with (
        on_ray(tmp_path, model="demo/checkpoint") as here,
        httpx2.AsyncClient(base_url=here.url, timeout=60) as client,
    ):
        found = (await client.post("/v1/detect", json=asked)).json()
        assert len(found["objects"]) == len(scene.objects), json.dumps(found)
        (engine, *_) = here.engines()
        os.kill(engine, signal.SIGKILL)
        await until(lambda: engine not in here.engines(), timeout_s=20)
        await until(here.is_ready, timeout_s=120)
        assert (await client.post("/v1/detect", json=asked)).json()["objects"] == found["objects"]
