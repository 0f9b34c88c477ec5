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
Measured = Callable[..., Awaitable[Outcome]]
"""measured(kinds, pictures=, clips=, ...) -> what the harness made of the gateway's answers."""


@asynccontextmanager
async def gateway_before(engine: Mock, **settings: Any) -> AsyncIterator[str]:
    """The base URL of a gateway, stopped to its last process at the end."""
    options = {"media_workers": 1, "access_log": False, "log_level": "warning", **settings}
    server = create_server(Settings(port=0, **options), [await engine.listen()])
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        await engine.close()


@asynccontextmanager
async def perfect_gateway() -> AsyncIterator[str]:
    """The base URL of a gateway whose engine never errs."""
    async with gateway_before(PerfectEngine(), **PIXELS) as url:
        yield url


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    """Starts engine and gateway, runs the harness against them, and stops them."""

    async def measured(*kinds: str, **counts: int) -> Outcome:
        none = {"pictures": 0, "clips": 0, "long_clips": 0, "pages": 0, "screens": 0}
        wanted = Wanted(sizes=Sizes(**{**none, **counts}), kinds=kinds)
        async with perfect_gateway() as url:
            return await measure(Options(url=url, out=tmp_path / "run", wanted=wanted, quiet=True))

    return measured
