"""The engine is killed under load: each request ends soon, in an answer or in words, and service comes back."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass

import httpx2
import pytest

from server.engines.guard import family
from server.engines.launcher import EngineProcess
from tests.conftest import running_gateway, until

pytestmark = pytest.mark.engine
CALLERS = 16
END_S = 5


@dataclass
class Ending:
    """How one request ended."""

    stream: bool
    status: int
    text: str

    @property
    def well_formed(self) -> bool:
        """A whole answer, OpenAI's error object, or a stream whose last event before `[DONE]` is one or the other."""
        if self.status != 200:
            return bool(json.loads(self.text)["error"]["code"]) and self.status in {502, 503, 504}
        if not self.stream:
            return bool(json.loads(self.text)["choices"])
        events = [event.removeprefix("data: ") for event in self.text.split("\n\n") if event]
        return events[-1] == "[DONE]" and all(json.loads(event) for event in events[:-1])

    @property
    def whole(self) -> bool:
        return self.status == 200 and '"error"' not in self.text


async def ask(client: httpx2.AsyncClient, stream: bool, tokens: int) -> Ending:
    body = {
        "model": "qwen2.5-vl",
        "messages": [{"role": "user", "content": "count"}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": stream,
    }
    answer = await client.post("/v1/chat/completions", json=body)
    return Ending(stream, answer.status_code, answer.text)


async def test_a_killed_engine_loses_no_request_without_a_word(engine_process: EngineProcess) -> None:
    async with (
        running_gateway([engine_process.url]) as url,
        httpx2.AsyncClient(base_url=url, timeout=60, limits=httpx2.Limits(max_connections=64)) as client,
    ):
        assert (await ask(client, stream=False, tokens=2)).whole
        before = engine_process.restarts
        callers = [asyncio.create_task(ask(client, stream=index % 2 == 0, tokens=4000)) for index in range(CALLERS)]
        await asyncio.sleep(1)  # all of them are with the engine, the streams in full flow
        members = family(engine_process.pid or 0)
        (api,) = (pid for pid, command in members.items() if "vllm.entrypoints" in command and "spawn" not in command)
        os.kill(api, signal.SIGKILL)
        async with asyncio.timeout(END_S):
            endings = [await caller for caller in callers]
            late = [await ask(client, stream=index % 2 == 0, tokens=4) for index in range(4)]
        for ending in [*endings, *late]:
            assert ending.well_formed, ending
        assert not any(ending.whole for ending in late)
        assert (await client.get("/readyz")).status_code == 503

        async def back() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(back, timeout_s=200)
        assert engine_process.restarts == before + 1
        assert (await ask(client, stream=True, tokens=4)).whole
