"""One mock engine and one gateway for all tests of a file: starting them costs more than most tests."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from tests.tasks.common import gateway_before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Mock]:
    engine = Mock()
    await engine.listen()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(engine: Mock) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of one gateway for all tests of this file."""
    async with gateway_before(engine) as client:
        yield client


@pytest.fixture
def mock(engine: Mock) -> Mock:
    """The engine, as if new."""
    engine.behaviour = Behaviour()
    engine.requests.clear()
    engine.aborts.clear()
    return engine
