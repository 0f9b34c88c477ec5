"""One real vLLM for the whole session, started by the launcher that production uses, on a tiny checkpoint."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from server.engines.checkpoints import RANDOM, ROOT
from server.engines.launcher import EngineProcess, launch
from server.engines.profiles import choose_model
from server.settings import Settings

ENGINE_PYTHON = ROOT / ".venv-engine" / "bin" / "python"
LOG = ROOT / ".cache" / "engine-tests.log"
START_TIMEOUT_S = 240
PIXELS = ("image_min_pixels", "image_max_pixels", "video_min_pixels", "video_max_pixels")


@pytest.fixture(scope="session")
def engine_settings() -> Settings:
    """As a gateway with default settings has them: the tiny checkpoint's own pixel limits do not narrow them."""
    model = choose_model([])[0]
    if model == str(RANDOM):
        build_random()
    default = {name: Settings.model_fields[name].default for name in PIXELS}
    return Settings(model=model, engine_python=str(ENGINE_PYTHON), **default)


def build_random() -> None:
    """Makes the checkpoint with random weights where it is missing."""
    if not (RANDOM / "config.json").is_file():
        build = [ENGINE_PYTHON, ROOT / "demo" / "build.py", "--out", RANDOM]
        subprocess.run(build, check=True, capture_output=True, timeout=120)


@contextmanager
def running_engine(settings: Settings, log_file: Path) -> Iterator[tuple[EngineProcess, Settings]]:
    """An engine's process, ready, and the settings of a gateway before it; its supervisor runs in a thread with a loop
    of its own.
    """
    loop = uvloop.new_event_loop()  # as in production: asyncio's own waits for the pipes of a process, too
    thread = threading.Thread(target=loop.run_forever, name="engine supervisor", daemon=True)
    thread.start()
    log_file.parent.mkdir(exist_ok=True)
    process, fitted = launch(settings)
    with log_file.open("w") as log:
        process.on_log = lambda line: print(line, file=log, flush=True)
        try:
            asyncio.run_coroutine_threadsafe(process.start(), loop).result()
            asyncio.run_coroutine_threadsafe(process.wait_ready(), loop).result(START_TIMEOUT_S)
            yield process, fitted
        finally:
            try:
                asyncio.run_coroutine_threadsafe(process.stop(), loop).result(60)
            finally:
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
                loop.close()


@pytest.fixture(scope="session")
def engine_process(engine_settings: Settings) -> Iterator[EngineProcess]:
    """The engine's process, ready."""
    with running_engine(engine_settings, LOG) as (process, _):
        yield process


@pytest.fixture(scope="session")
def engine_url(engine_process: EngineProcess) -> str:
    """`unix:/path` of the real engine."""
    return engine_process.url


@pytest.fixture
def engine_socket(engine_process: EngineProcess) -> Path:
    """The same as a path, for clients that take one."""
    return Path(engine_process.url.removeprefix("unix:"))


@pytest.fixture(scope="session")
def random_url(engine_settings: Settings) -> Iterator[str]:
    """URL of an engine with random weights, for forced tool calls: those end a string soon. The demo checkpoint, never
    taught to call a tool, goes on until its tokens are used up.
    """
    build_random()
    settings = engine_settings.model_copy(update={"model": str(RANDOM)})
    with running_engine(settings, ROOT / ".cache" / "random-engine.log") as (engine, _):
        yield engine.url
