"""Requests that were made up: none gets a 5xx of ours, or no answer. `python -m benchmarks.fuzz` sends thousands."""

import asyncio

from benchmarks.fuzz.cases import fuzz
from benchmarks.overhead.mock import Mock
from tests.conftest import Running

BY_SCHEMA, MUTATED = 50, 250


async def test_made_up_requests_get_an_answer_and_no_5xx_of_ours(running: Running, mock: Mock) -> None:
    nowhere = {"fetch_allow_port": [1], "fetch_timeout_s": 1, "log_level": "error"}
    async with running([await mock.listen()], **nowhere) as url:
        found = await asyncio.to_thread(fuzz, url, 2, by_schema=BY_SCHEMA, mutated=MUTATED)
    assert found.wrong == []
    assert found.cases > MUTATED
    assert {200, 400} <= found.by_status.keys()
