"""Pools before mock engines, without a gateway around them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson
import pytest

from benchmarks.overhead.mock import MODEL, Mock
from server.engines.answer import Answer
from server.engines.pool import Pool
from server.engines.work import PLAIN, Work
from server.settings import Settings

JSON = b"content-type: application/json\r\n"
Pooled = Callable[..., AbstractAsyncContextManager["Few"]]


class Few:
    """Some mock engines and a pool before them."""

    def __init__(self, pool: Pool, mocks: list[Mock], urls: list[str]) -> None:
        self.pool, self.mocks, self.urls = pool, mocks, urls

    async def ask(self, work: Work = PLAIN, **fields: Any) -> Answer:
        """One chat request; the answer is still open."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, **fields}
        return await self.pool.ask("POST", "/v1/chat/completions", orjson.dumps(body), JSON, MODEL, work)

    async def asked(self, work: Work = PLAIN, **fields: Any) -> int:
        """The status of one chat request's answer, which is closed again."""
        answer = await self.ask(work, **fields)
        answer.close()
        return answer.status

    def counts(self) -> list[int]:
        """Requests that each engine was asked."""
        return [mock.stats()["requests"] for mock in self.mocks]

    def states(self) -> list[str]:
        return [member.state for member in self.pool.engines]


@pytest.fixture
def pooled() -> Pooled:
    """pooled(count, **settings) -> Few."""

    @asynccontextmanager
    async def pooled(count: int = 2, **changes: Any) -> AsyncIterator[Few]:
        mocks = [Mock() for _ in range(count)]
        urls = [await mock.listen() for mock in mocks]
        pool = Pool(Settings(**{"engine_poll_s": 0.05, "engine_slow_start_s": 0.01, **changes}))
        await pool.start(urls)
        try:
            yield Few(pool, mocks, urls)
        finally:
            await pool.close()
            for mock in mocks:
                await mock.close()

    return pooled
