"""The launch profile starts a real vLLM that does what the gateway relies on, and that comes back when it is killed."""

import base64
import io
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from server.engines.guard import family
from server.engines.hardware import Gpu
from server.engines.launcher import EngineProcess
from server.engines.profiles import profile
from server.settings import Settings
from tests.conftest import until
from tests.engine.conftest import ENGINE_PYTHON

pytestmark = pytest.mark.engine


@pytest.fixture
async def engine(engine_socket: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that speaks to the engine itself."""
    transport = httpx2.AsyncHTTPTransport(uds=str(engine_socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://engine", timeout=60) as client:
        yield client


def jpeg(width: int, height: int) -> str:
    stream = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


def image_part(width: int, height: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg(width, height)}"}}


def frames_part(count: int, width: int, height: int) -> dict[str, Any]:
    frames = ",".join([jpeg(width, height)] * count)
    return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}


async def ask(engine: httpx2.AsyncClient, *parts: dict[str, Any], **options: Any) -> httpx2.Response:
    content = [*parts, {"type": "text", "text": "What is it?"}]
    body = {"model": "qwen2.5-vl", "messages": [{"role": "user", "content": content}], "max_tokens": 2, **options}
    return await engine.post("/v1/chat/completions", json=body)


def visual_tokens(answer: httpx2.Response) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    tokens: dict[str, int] = answer.json()["usage"]["prompt_tokens_details"]["multimodal_tokens"]
    return tokens


async def test_it_is_listed_under_its_name_and_its_alias(engine: httpx2.AsyncClient) -> None:
    models = (await engine.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["qwen2.5-vl-demo", "qwen2.5-vl"]


async def test_it_counts_the_visual_tokens_of_a_picture_already_at_size(engine: httpx2.AsyncClient) -> None:
    assert visual_tokens(await ask(engine, image_part(112, 84))) == {"image": 12}
    assert visual_tokens(await ask(engine, image_part(1316, 728))) == {"image": 1222}


async def test_it_keeps_every_frame_of_a_clip_at_the_size_sent(engine: httpx2.AsyncClient) -> None:
    settings = Settings()
    width, height = 392, 280
    assert settings.video_min_pixels <= width * height <= settings.video_max_pixels
    answer = await ask(engine, frames_part(40, width, height))
    assert visual_tokens(answer) == {"video": 20 * width * height // 784}


async def test_it_takes_the_largest_clip_that_the_gateway_sends(engine: httpx2.AsyncClient) -> None:
    """Its encoder cache holds `video_max_tokens`; a smaller one refuses the request."""
    width, height = 336, 308
    tokens_a_pair = width * height // 784
    frames = 2 * (Settings().video_max_tokens // tokens_a_pair)
    answer = await ask(engine, frames_part(frames, width, height), max_tokens=1)
    assert visual_tokens(answer) == {"video": frames // 2 * tokens_a_pair}


async def test_it_fetches_nothing(engine: httpx2.AsyncClient) -> None:
    answer = await ask(engine, {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/secret.png"}})
    assert answer.status_code == 400
    assert "allowed domains" in answer.text


async def test_a_grammar_leaves_no_room_for_blanks(engine: httpx2.AsyncClient) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    answer = await ask(engine, response_format=form, max_tokens=20)
    assert answer.json()["choices"][0]["message"]["content"] in ('{"a":true}', '{"a":false}')


async def test_our_request_id_comes_back(engine: httpx2.AsyncClient) -> None:
    answer = await engine.get("/v1/models", headers={"x-request-id": "ours-1"})
    assert answer.headers["x-request-id"] == "ours-1"


async def test_its_folder_holds_all_its_files(engine_process: EngineProcess) -> None:
    """What vLLM writes to the temporary folder goes when it goes."""
    assert any((engine_process.folder / "tmp").iterdir())


def test_vllm_knows_every_flag_of_every_profile() -> None:
    """Those for GPUs too, though nothing but its parser sees them here."""
    kinds = [[], [Gpu("L4", 22.5)], [Gpu("T4", 15.0, compute=7.5)], [Gpu("A100", 79.6, count=4)]]
    profiles = [profile("Qwen/Qwen2.5-VL-72B-Instruct", gpus, Settings()).args[2:] for gpus in kinds]
    code = """
import json, sys
try:
    from vllm.entrypoints.common.cli_args import make_arg_parser  # 0.33
except ImportError:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for arguments in json.load(sys.stdin):
    print(parser.parse_args([*arguments, "--uds", "/tmp/x"]).served_model_name)
"""
    parsed = subprocess.run(
        [ENGINE_PYTHON, "-c", code],
        input=json.dumps(profiles),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert parsed.returncode == 0, parsed.stderr[-2000:]
    assert len(parsed.stdout.splitlines()) == len(kinds)


async def test_killed_it_comes_back_by_itself(engine: httpx2.AsyncClient, engine_process: EngineProcess) -> None:
    """The last of this file: for half a minute there is no engine."""
    members = family(engine_process.pid or 0)
    (core,) = (pid for pid, command in members.items() if command.startswith("VLLM::EngineCore"))
    before = engine_process.restarts
    os.kill(core, signal.SIGKILL)
    await until(lambda: engine_process.state == "starting", timeout_s=60)
    await until(lambda: engine_process.state == "ready", timeout_s=150)
    assert engine_process.restarts == before + 1
    assert "EngineCore" in (engine_process.reason or "")
    assert not any(pid in family(engine_process.pid or 0) for pid in members)
    assert (await ask(engine, image_part(84, 84))).status_code == 200
