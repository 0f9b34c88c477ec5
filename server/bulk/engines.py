"""What a bulk worker asks: engines over HTTP, or one of its own in its process."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from server.answering.asker import Asker
from server.answering.runs import Asks
from server.bulk.inside import InsideAsker, InsideEngine, launch
from server.engines.pool import Pool
from server.settings import Settings

READY_S = 600


class Engines(Protocol):
    """Whoever answers."""

    settings: Settings
    """As the model's pictures are to be shown."""

    async def start(self) -> None:
        """Wait for one that is ready."""

    async def close(self) -> None:
        """Let go of them."""

    def asker(self, row: str) -> Asks:
        """Who asks them on behalf of a row."""


class ByUrl:
    """Engines that run elsewhere."""

    def __init__(self, urls: Sequence[str], settings: Settings) -> None:
        self.settings, self._urls, self._pool = settings, urls, Pool(settings)

    async def start(self) -> None:
        """See `Engines`. Raises TimeoutError."""
        await self._pool.start(self._urls)
        async with asyncio.timeout(READY_S):
            while not self._pool.ready:  # noqa: ASYNC110  # an engine may be loading for minutes
                await asyncio.sleep(self.settings.engine_poll_s)

    async def close(self) -> None:
        """See `Engines`."""
        await self._pool.close()

    def asker(self, row: str) -> Asks:
        """See `Engines`."""
        return Asker(self._pool, self.settings, f"bulk-{row}".encode()[:128])


class Inside:
    """vLLM in this process."""

    def __init__(self, model: str, settings: Settings, threads: int) -> None:
        """`threads` is what it may use on a CPU."""
        self._launch = launch(model, settings, threads)
        self.settings = self._launch.settings

    async def start(self) -> None:
        """See `Engines`. Raises EngineDied."""
        self._engine = InsideEngine(self._launch)
        await self._engine.start()

    async def close(self) -> None:
        """See `Engines`."""
        await self._engine.close()

    def asker(self, row: str) -> Asks:
        """See `Engines`."""
        return InsideAsker(self._engine, self.settings)
