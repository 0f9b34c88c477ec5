"""A gateway before the engine that never errs, shown as small as the demo checkpoint is, and a run of the harness."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.perfect import PerfectEngine
from benchmarks.accuracy.run import Options, Outcome, measure
from benchmarks.accuracy.suites import Wanted
from benchmarks.accuracy.suites.scenes import Sizes
from benchmarks.overhead.mock import Mock
from demo.shape import IMAGE_PIXELS, VIDEO_PIXELS
from server.app import create_server
from server.settings import Settings
from tests.conftest import until

PIXELS = {
    "image_min_pixels": IMAGE_PIXELS[0],
    "image_max_pixels": IMAGE_PIXELS[1],
    "video_min_pixels": VIDEO_PIXELS[0],
    "video_max_pixels": VIDEO_PIXELS[1],
}
"""What `scripts/serve` takes from the demo checkpoint's processor."""
SCENES = Sizes(pictures=20, clips=4, long_clips=1, pages=2, screens=3)
"""Those that a perfect model is measured on, and each mistake."""
Measured = Callable[..., Awaitable[Outcome]]
"""measured(*kinds) -> what the harness makes of the gateway's answers about SCENES; all kinds if none is named."""


@asynccontextmanager
async def gateway(engine_url: str, **settings: Any) -> AsyncIterator[str]:
    """The base URL of a gateway, stopped to its last process at the end."""
    options = {"media_workers": 1, "access_log": False, "log_level": "warning", **settings}
    server = create_server(Settings(port=0, **options), [engine_url])
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def gateway_before(engine: Mock, **settings: Any) -> AsyncIterator[str]:
    """The base URL of a gateway before a mock, both stopped at the end."""
    try:
        async with gateway(await engine.listen(), **settings) as url:
            yield url
    finally:
        await engine.close()


@asynccontextmanager
async def perfect_gateway() -> AsyncIterator[str]:
    """The base URL of a gateway whose engine never errs."""
    async with gateway_before(PerfectEngine(), **PIXELS) as url:
        yield url


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    """Starts engine and gateway, runs the harness against them, and stops them."""

    async def measured(*kinds: str) -> Outcome:
        async with perfect_gateway() as url:
            return await measure(Options(url, tmp_path / "run", wanted=Wanted(SCENES, kinds=kinds), quiet=True))

    return measured
