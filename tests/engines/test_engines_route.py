"""Operators take an engine out of use and put it back."""

import asyncio
from pathlib import Path

import httpx2

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.callers.keys import hashed
from tests.conftest import ASK, Running, until

CHAT = "/v1/chat/completions"


async def test_a_drained_engine_empties_while_others_work(running: Running) -> None:
    mocks = [Mock(behaviour=Behaviour(json_ms=200)), Mock()]
    urls = [await mock.listen() for mock in mocks]
    async with running(urls) as url, httpx2.AsyncClient(base_url=url) as client:
        first = asyncio.create_task(client.post(CHAT, json=ASK))
        await until(lambda: mocks[0].stats()["requests"] == 1)
        drained = (await client.post("/v1/engines/drain", json={"engine": urls[0]})).json()
        assert (drained["state"], drained["in_flight"]) == ("drained", 1)
        for _ in range(3):
            assert (await client.post(CHAT, json=ASK)).status_code == 200
        assert (await first).status_code == 200
        found = (await client.get("/v1/engines")).json()["data"]
        assert [(each["state"], each["in_flight"]) for each in found] == [("drained", 0), ("ready", 0)]
        assert mocks[0].stats()["requests"] == 1
        again = (await client.post("/v1/engines/undrain", json={"engine": urls[0]})).json()
        assert again["state"] == "ready"
    for mock in mocks:
        await mock.close()


async def test_an_engine_that_there_is_not_is_not_found(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/engines/drain", json={"engine": "http://127.0.0.1:1"})
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "engine"


async def test_only_operators_may(mock: Mock, running: Running, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(
        f'[[key]]\nname = "alice"\nhash = "{hashed("sk-alice")}"\n'
        f'[[key]]\nname = "olga"\nhash = "{hashed("sk-olga")}"\noperator = true\n'
    )
    async with (
        running([await mock.listen()], keys_file=str(keys)) as url,
        httpx2.AsyncClient(base_url=url) as client,
    ):
        heads = ({}, {"authorization": "Bearer sk-alice"}, {"authorization": "Bearer sk-olga"})
        assert [(await client.get("/v1/engines", headers=head)).status_code for head in heads] == [401, 403, 200]
