"""What the engine's container starts with, and its health check; the image itself is built where it is asked for."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from benchmarks.overhead.mock import Mock
from deploy.image import engine, heartbeat
from server.__main__ import RED_DISC
from server.engines.hardware import Gpu
from server.settings import Settings
from tests.conftest import until
from tests.deploy.conftest import ROOT, Built

HEARTBEAT = ROOT / "deploy/image/heartbeat.py"


@pytest.fixture
def settings() -> Settings:
    return Settings(engine_python=sys.executable)


def last(args: list[str], flag: str) -> str:
    """The value that counts."""
    return [args[place + 1] for place, word in enumerate(args) if word == flag][-1]


def test_the_container_starts_what_the_gateway_itself_would_start_on_these_cards(settings: Settings) -> None:
    found = engine.launch(settings, [Gpu("NVIDIA H100", 79.6, count=2)], shutdown_timeout_s=45)
    assert last(found.args, "--model") == "Qwen/Qwen2.5-VL-32B-Instruct-AWQ"
    assert last(found.args, "--max-num-seqs") == "128"
    assert any("80 GB" in reason for reason in found.reasons)


def test_it_listens_for_the_gateway_and_lets_running_requests_finish(settings: Settings) -> None:
    found = engine.launch(settings, [Gpu("NVIDIA L4", 22.5)], shutdown_timeout_s=45)
    assert (last(found.args, "--host"), last(found.args, "--port")) == ("0.0.0.0", "8000")
    assert last(found.args, "--shutdown-timeout") == "45"


def test_a_model_too_large_for_one_card_is_divided_and_its_vision_tower_is_not(settings: Settings) -> None:
    settings = settings.model_copy(update={"model": "Qwen/Qwen2.5-VL-72B-Instruct"})
    found = engine.launch(settings, [Gpu("NVIDIA A100", 79.6, count=4)], shutdown_timeout_s=45)
    assert last(found.args, "--tensor-parallel-size") == "4"
    assert last(found.args, "--mm-encoder-tp-mode") == "data"


def test_the_engines_key_is_in_no_argument() -> None:
    settings = Settings(engine_python=sys.executable, engine_api_key="sk-secret")  # type: ignore[arg-type]
    found = engine.launch(settings, [Gpu("NVIDIA L4", 22.5)], shutdown_timeout_s=45)
    assert found.env["VLLM_API_KEY"] == "sk-secret"
    assert "sk-secret" not in " ".join([*found.args, *found.reasons])


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"QVL_MODL": "x"}, "QVL_MODL: no such setting"),
        ({"QVL_MODEL": "/no/such/folder"}, "model /no/such/folder is not a folder here"),
    ],
)
def test_a_mistake_ends_the_container_in_a_sentence(variables: dict[str, str], said: str) -> None:
    env = {"PATH": "/usr/bin", "PYTHONPATH": str(ROOT), "QVL_ENGINE_PYTHON": sys.executable, **variables}
    command = [sys.executable, str(ROOT / "deploy/image/engine.py")]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_engines_own_packages_are_enough_to_choose_the_flags() -> None:
    python = ROOT / ".venv-engine/bin/python"
    if not python.exists():
        pytest.skip("no .venv-engine: scripts/test makes it")
    env = {
        "PATH": "/usr/bin",
        "PYTHONPATH": str(ROOT),
        "QVL_MODEL": "/no/such/folder",
        "QVL_ENGINE_PYTHON": str(python),
    }
    command = [str(python), str(ROOT / "deploy/image/engine.py")]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "model /no/such/folder is not a folder here" in ended.stderr


async def check(url: str, state: Path, stall_s: float = 60) -> tuple[int | None, str]:
    """One call of the health check: its exit status and what it says."""
    words = [sys.executable, "-S", str(HEARTBEAT), "--url", url, "--state", str(state), "--stall-s", str(stall_s)]
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_an_engine_that_answers_and_has_nothing_to_do_is_well(mock: Mock, tmp_path: Path) -> None:
    url = await mock.listen()
    for _ in range(2):
        assert await check(url, tmp_path / "state", stall_s=0) == (0, "")


async def test_an_engine_that_is_not_there_is_not_well(tmp_path: Path, unused_tcp_port: int) -> None:
    status, said = await check(f"http://127.0.0.1:{unused_tcp_port}", tmp_path / "state")
    assert status == 1
    assert "/health" in said


def test_an_engine_with_work_and_no_steps_is_not_well_once_it_has_stood_long_enough(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert heartbeat.idle_s(state, work=2, steps=7, now_s=100) == 0
    assert heartbeat.idle_s(state, work=2, steps=7, now_s=170) == 70
    assert heartbeat.idle_s(state, work=2, steps=8, now_s=171) == 0
    assert heartbeat.idle_s(state, work=0, steps=8, now_s=300) == 0
    assert heartbeat.idle_s(state, work=1, steps=8, now_s=301) == 1


def test_a_state_file_of_a_former_life_is_no_stall(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("half a li")
    assert heartbeat.idle_s(state, work=2, steps=7, now_s=100) == 0
    assert heartbeat.idle_s(state, work=2, steps=7, now_s=5) == 0  # the machine was started anew


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("ENGINE_IMAGE"), reason="3.5 GB and ten minutes; ENGINE_IMAGE=1 asks for it")
async def test_the_cpu_engines_image_sees_a_picture(build_image: Callable[..., Built], unused_tcp_port: int) -> None:
    image = build_image("engine-cpu", TORCH_INDEX=os.environ.get("TORCH_INDEX", ""))
    command = image.command({"QVL_PORT": str(unused_tcp_port)})
    process = await asyncio.create_subprocess_exec(*command)
    url = f"http://127.0.0.1:{unused_tcp_port}"

    async def is_up() -> bool:
        assert process.returncode is None, "the engine ended"
        await asyncio.sleep(0.1)
        async with httpx2.AsyncClient() as client:
            try:
                return (await client.get(f"{url}/health")).status_code == 200
            except httpx2.TransportError:
                return False

    try:
        await until(is_up, timeout_s=1500)
        content = [{"type": "image_url", "image_url": {"url": RED_DISC}}, {"type": "text", "text": "What is it?"}]
        ask = {"messages": [{"role": "user", "content": content}], "max_tokens": 4}
        async with httpx2.AsyncClient() as client:
            answer = await client.post(f"{url}/v1/chat/completions", json=ask, timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["prompt_tokens"] > 4
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
