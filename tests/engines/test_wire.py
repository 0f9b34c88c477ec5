"""Connections to one engine, at the edges of their lives."""

import asyncio

import pytest

from benchmarks.overhead.mock import Mock
from server.engines.wire import Wire
from server.errors import EngineUnavailable


async def test_a_connection_that_comes_when_all_are_closed_is_closed_too(mock: Mock) -> None:
    wire = Wire(await mock.listen())
    asking = asyncio.create_task(wire.request("GET", "/v1/models", b"", b""))
    await asyncio.sleep(0)  # it connects
    wire.close()
    with pytest.raises(EngineUnavailable, match="leaving"):
        await asking
    assert wire.busy == 0
