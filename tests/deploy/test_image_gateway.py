"""The Dockerfile's gateway target: each RUN is executed in a fresh Debian root, and what comes out serves a picture."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from benchmarks.overhead.mock import Mock
from server.__main__ import RED_DISC
from tests.conftest import ASK, until
from tests.deploy.conftest import ROOT, Built
from tests.deploy.dockerfile import Context, parse

pytestmark = pytest.mark.timeout(900)
STAGES = parse((ROOT / "Dockerfile").read_text(), {})


@pytest.fixture(scope="module")
def image(build_image: Callable[..., Built]) -> Built:
    return build_image("gateway", REVISION="0123abc")


def inside(image: Built, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command prints that runs as the image's user."""
    return subprocess.run(image.command({}, *words), capture_output=True, text=True, timeout=60, check=False)


@asynccontextmanager
async def served(image: Built, engine_url: str, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The image's own entry point, on the network of this machine."""
    settings = {
        "QVL_HOST": "127.0.0.1",
        "QVL_PORT": str(port),
        "QVL_ENGINE_URL": engine_url,
        "QVL_MEDIA_WORKERS": "1",
        "QVL_ENGINE_POLL_S": "0.1",
    }
    process = await asyncio.create_subprocess_exec(*image.command(settings))
    url = f"http://127.0.0.1:{port}"

    async def is_ready() -> bool:
        assert process.returncode is None, "the gateway ended"
        await asyncio.sleep(0.1)
        async with httpx2.AsyncClient() as client:
            try:
                return (await client.get(f"{url}/readyz")).status_code == 200
            except httpx2.TransportError:
                return False

    try:
        await until(is_ready, timeout_s=60)
        yield process, url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def test_every_run_step_of_the_gateway_was_executed(image: Built) -> None:
    written = {
        name: [step.value for step in stage.instructions if step.word == "RUN"]
        for name, stage in STAGES.items()
        if name in ("python", "gateway-packages", "gateway")
    }
    assert image.runs == written
    assert all(written.values())


async def test_the_image_serves_a_picture_from_a_root_that_cannot_be_written(
    image: Built, mock: Mock, unused_tcp_port: int
) -> None:
    async with served(image, await mock.listen(), unused_tcp_port) as (process, url), httpx2.AsyncClient() as client:
        content = [{"type": "image_url", "image_url": {"url": RED_DISC}}, {"type": "text", "text": "What is it?"}]
        ask = {**ASK, "messages": [{"role": "user", "content": content}]}
        answer = await client.post(f"{url}/v1/chat/completions", json=ask, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-model-input-size"] == "112x112"
        assert b"data:image/" in mock.requests[-1].body
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Uid:\t10001\t10001" in status
        health = [*image.image["healthcheck"]]
        check = await asyncio.create_subprocess_exec(*image.command({"QVL_PORT": str(unused_tcp_port)}, *health))
        assert await check.wait() == 0


async def test_the_health_check_fails_where_nothing_answers(image: Built, unused_tcp_port: int) -> None:
    words = image.command({"QVL_PORT": str(unused_tcp_port)}, *image.image["healthcheck"])
    check = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    _, said = await check.communicate()
    assert check.returncode == 1
    assert b"/healthz" in said


def test_nobody_can_write_beside_tmp(image: Built) -> None:
    for path in ("/app/x", "/opt/gateway/x", "/var/tmp/x"):
        assert inside(image, "sh", "-c", f"touch {path}").returncode != 0
    assert inside(image, "sh", "-c", "touch /tmp/x").returncode == 0


def test_no_tool_to_fetch_or_install_with_is_left(image: Built) -> None:
    found = inside(image, "sh", "-c", "command -v pip curl wget gcc git; python -c 'import pip'")
    assert (found.stdout, found.returncode) == ("", 1)
    assert "No module named 'pip'" in found.stderr


def test_it_stays_small_and_holds_no_torch(image: Built) -> None:
    layers = image.image["layers"]
    du = subprocess.run(["du", "-cm", "--max-depth=0", *layers], capture_output=True, text=True, check=True)
    assert int(du.stdout.split()[-2]) < 520, du.stdout  # MiB
    assert not any(Path(layer, "opt/gateway/lib/python3.11/site-packages/torch").exists() for layer in layers)


def test_its_labels_say_what_it_is(image: Built) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.image["labels"].items()}
    assert labels["title"] == "qwenvl-gateway"
    assert labels["revision"] == "0123abc"


def test_the_build_context_is_what_the_dockerfile_copies() -> None:
    context = Context(ROOT)
    assert context.files("server")
    assert context.files("scripts/locks/gateway.txt")
    for kept_out in (".git/HEAD", ".venv/pyvenv.cfg", "tests/conftest.py", "README.md", "server/__pycache__/app.pyc"):
        assert not context.holds(kept_out), kept_out
