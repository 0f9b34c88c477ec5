"""Two workers are one server to its callers: limits, places, usage, metrics, engines and batches are of both."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from server.__main__ import RED_DISC
from tests.batches.conftest import Caller, line
from tests.conftest import ASK, until
from tests.workers.conftest import Started, header

CHAT = "/v1/chat/completions"
SLOW: dict[str, Any] = {**ASK, "max_tokens": 30_000, "stream": True, "mock": {"interval_ms": 20}}
Clients = list[httpx2.AsyncClient]


async def metric(client: httpx2.AsyncClient, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


@asynccontextmanager
async def streaming(client: httpx2.AsyncClient, name: str) -> AsyncIterator[httpx2.Response]:
    """An answer under way, until the end of the `with`."""
    async with client.stream("POST", CHAT, json=SLOW, headers=header(name)) as answer:
        assert answer.status_code == 200
        yield answer


async def empty(client: httpx2.AsyncClient) -> bool:
    """Whether nothing is under way on any worker."""
    return await metric(client, "qvl_requests_in_flight") == 0


async def test_connections_are_spread_evenly(keyed: Started) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(httpx2.AsyncClient(base_url=keyed.url)) for _ in range(10)]
        answers = [await client.get("/healthz") for client in clients]
    found = Counter(answer.headers["x-request-id"].partition("-")[0] for answer in answers)
    assert sorted(found.values()) == [5, 5]


async def test_connections_that_do_not_stay_are_spread_too(keyed: Started) -> None:
    found = set()
    for _ in range(4):
        async with httpx2.AsyncClient(base_url=keyed.url) as client:
            found.add((await client.get("/healthz")).headers["x-request-id"].partition("-")[0])
    assert len(found) == 2


async def test_requests_a_minute_are_counted_over_all_workers(clients: Clients) -> None:
    asked = [client.post(CHAT, json=ASK, headers=header("minute")) for client in clients for _ in range(5)]
    answers = [await answer for answer in asked]
    assert Counter(answer.status_code for answer in answers) == {200: 6, 429: 4}
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:6]] == list("543210")


async def test_tokens_a_minute_are_counted_over_all_workers(clients: Clients) -> None:
    async def asked(client: httpx2.AsyncClient) -> tuple[int, int]:
        answer = await client.post(CHAT, json=ASK, headers=header("tokens"))
        return answer.status_code, int(answer.headers["x-ratelimit-remaining-tokens"])

    one, other = clients
    assert await asked(one) == (200, 35)  # 25 are estimated of 60; it turns out to be 20

    async def is_settled() -> bool:
        status, left = await asked(other)
        return (status, left) == (429, 20)

    await until(is_settled)
    assert await asked(one) == (429, 20)


async def test_a_key_has_its_requests_at_once_over_all_workers(clients: Clients) -> None:
    one, other = clients
    async with streaming(one, "few"), AsyncExitStack() as stack:
        third = await stack.enter_async_context(httpx2.AsyncClient(base_url=str(one.base_url), timeout=30))
        async with streaming(other, "few"):
            refused = await third.post(CHAT, json=ASK, headers=header("few"))
        assert refused.status_code == 429
        assert "it may have 2" in refused.json()["error"]["message"]

        async def is_let_in() -> bool:
            return (await third.post(CHAT, json=ASK, headers=header("few"))).status_code == 200

        await until(is_let_in)


async def test_places_and_queue_are_those_of_all_workers(keyed: Started) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx2.AsyncClient(base_url=keyed.url, timeout=30)) for _ in range(7)
        ]
        streams = AsyncExitStack()
        async with streams:
            for client in clients[:4]:
                await streams.enter_async_context(streaming(client, "used"))
            fifth = asyncio.create_task(clients[4].post(CHAT, json=ASK, headers=header("used")))

            async def waits() -> bool:
                return await metric(clients[6], "qvl_requests_waiting") == 1

            await until(waits)
            assert await metric(clients[6], "qvl_requests_in_flight") == 4
            sixth = await clients[5].post(CHAT, json=ASK, headers=header("used"))
            assert sixth.status_code in {429, 503}  # 429 where other keys were here a moment ago
            status = (await clients[6].get("/status?format=json", headers=header("operator"))).json()
            assert status["places"] == {"taken": 4, "all": 4, "requests": 4}
            assert status["queue"]["waiting"] == 1
            assert status["errors"][0]["request_id"] == sixth.headers["x-request-id"]
        assert (await fifth).status_code == 200
        await until(lambda: empty(clients[6]))


async def test_a_request_that_leaves_while_it_waits_gives_its_turn_back(keyed: Started) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx2.AsyncClient(base_url=keyed.url, timeout=30)) for _ in range(6)
        ]
        async with AsyncExitStack() as streams:
            for client in clients[:4]:
                await streams.enter_async_context(streaming(client, "used"))
            fifth = asyncio.create_task(clients[4].post(CHAT, json=ASK, headers=header("used")))

            async def waiting(count: int) -> bool:
                return await metric(clients[5], "qvl_requests_waiting") == count

            await until(lambda: waiting(1))
            fifth.cancel()
            await until(lambda: waiting(0))
        await until(lambda: empty(clients[5]))


async def test_any_worker_tells_the_metrics_and_the_usage_of_all(clients: Clients) -> None:
    one, other = clients
    labels = {"path": CHAT, "status": "200"}
    before = await metric(one, "qvl_requests_total", **labels)
    timed = await metric(one, "qvl_request_duration_seconds_count", path=CHAT)
    used = (await one.get("/v1/usage", headers=header("used"))).json()

    def chats(report: dict[str, Any]) -> int:
        results = [each for day in report["data"] for each in day["results"] if each["path"] == CHAT]
        return sum(each["requests"] for each in results)

    for client in (one, one, one, other, other):
        assert (await client.post(CHAT, json=ASK, headers=header("used"))).status_code == 200
    for client in clients:
        assert await metric(client, "qvl_requests_total", **labels) == before + 5
        assert await metric(client, "qvl_request_duration_seconds_count", path=CHAT) == timed + 5
        assert await metric(client, "qvl_places", kind="all") == 4
        report = (await client.get("/v1/usage", headers=header("used"))).json()
        assert chats(report) == chats(used) + 5
    page = (await one.get("/status", headers=header("operator"))).text
    assert "1 of 1" in page
    assert "used" in page


async def test_an_engine_is_drained_for_all_workers_by_asking_one(clients: Clients, engine_url: str) -> None:
    one, other = clients
    operator = header("operator")
    drained = await one.post("/v1/engines/drain", json={"engine": engine_url}, headers=operator)
    try:
        assert drained.json()["state"] == "drained"
        assert (await other.get("/v1/engines", headers=operator)).json()["data"][0]["state"] == "drained"
        assert (await other.get("/readyz")).status_code == 503
        assert (await other.post(CHAT, json=ASK, headers=header("used"))).status_code == 503
    finally:
        again = await other.post("/v1/engines/undrain", json={"engine": engine_url}, headers=operator)
    assert again.json()["state"] == "ready"
    assert (await one.post(CHAT, json=ASK, headers=header("used"))).status_code == 200
    nowhere = await one.post("/v1/engines/drain", json={"engine": "http://nowhere"}, headers=operator)
    assert nowhere.status_code == 404


async def test_an_idempotency_key_holds_over_all_workers(clients: Clients, engine_url: str) -> None:
    one, other = clients
    headers = {**header("used"), "idempotency-key": "a-1"}
    body = {"image": RED_DISC}
    async with httpx2.AsyncClient(base_url=engine_url) as engine:
        before = (await engine.get("/mock/stats")).json()["requests"]
        first = await one.post("/v1/caption", json=body, headers=headers)
        assert first.status_code == 200, first.text
        again = await other.post("/v1/caption", json=body, headers=headers)
        both = await asyncio.gather(
            *(
                client.post("/v1/caption", json=body, headers={**headers, "idempotency-key": "a-2"})
                for client in clients
            )
        )
        after = (await engine.get("/mock/stats")).json()["requests"]
    assert again.json() == first.json()
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert both[0].json() == both[1].json()
    assert after == before + 2
    reused = await other.post("/v1/caption", json={**body, "length": "long"}, headers=headers)
    assert reused.json()["error"]["code"] == "idempotency_key_reused"


async def test_a_batch_is_worked_off_once_whichever_worker_is_asked(keyed: Started, engine_url: str) -> None:
    async with Caller(keyed.url, "batches") as caller, httpx2.AsyncClient(base_url=engine_url) as engine:
        before = (await engine.get("/mock/stats")).json()["requests"]
        batches = [await caller.batch([line(f"q{number}") for number in range(3)]) for _ in range(2)]
        for batch in batches:
            ended = await caller.ended(batch, timeout_s=60)
            assert ended.status == "completed"
            answers = await caller.answers(ended.output_file_id)
            assert [each["custom_id"] for each in answers] == ["q0", "q1", "q2"]
        assert (await engine.get("/mock/stats")).json()["requests"] == before + 6
