"""Public suites of OpenAI compatibility through the gateway, before the real engine, with whatever its model says.

Random weights say it: they end a string soon. The demo checkpoint, asked to call a tool, which it was never taught,
writes on until its tokens are used up, and then there is no call for anyone to read.
`python -m benchmarks.conformance` sets the same beside the bare engine.
"""

import asyncio

import pytest

from benchmarks.conformance.suites import CANARY, COMPLY, SUITES, Outcome, canary_is_missing
from tests.conftest import Running

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]  # random weights may take long to end an answer

NOT_OURS = {
    "chat-reasoning-summary": "skipped by the suite: it is for models that reason",
    "reasoning-summary": "skipped by the suite: it is for models that reason",
    "streaming-response": "events of /v1/responses are the engine's bytes",
    "streaming-usage": "events of /v1/responses are the engine's bytes",
}


async def failures(engine_url: str, running: Running, *suites: str) -> list[Outcome]:
    """What did not pass and should; the suites run at once, because a batch costs the engine little more."""
    async with running([engine_url], engine_timeout_s=300) as url:
        runs = [asyncio.to_thread(SUITES[suite], url, "qwen2.5-vl", "none") for suite in suites]
        found = await asyncio.gather(*runs)
    return [one for run in found for one in run if one.status not in {"passed", "warned"} and one.test not in NOT_OURS]


async def test_llm_comply_finds_openais_schemas(random_url: str, running: Running) -> None:
    suites = f"llm-comply {COMPLY} openai-chat", f"llm-comply {COMPLY} open-responses"
    assert await failures(random_url, running, *suites) == []


@pytest.mark.skipif(bool(canary_is_missing()), reason=canary_is_missing() or "installed")
async def test_compatcanary_finds_an_openai_server(random_url: str, running: Running) -> None:
    assert await failures(random_url, running, f"compatcanary {CANARY} modern") == []
