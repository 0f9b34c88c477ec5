"""`openai`'s client drives files and batches unchanged."""

from typing import Any

import openai
import pytest

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import MODEL, Mock
from server.__main__ import RED_DISC
from tests.batches.conftest import CHAT, Caller, jsonl, line
from tests.conftest import Running, until


async def test_every_line_of_a_file_is_answered_in_its_order(caller: Caller) -> None:
    batch = await caller.ended(await caller.batch([line(f"q{number}") for number in range(40)], metadata={"for": "x"}))
    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 40, "completed": 40, "failed": 0}
    assert batch.metadata == {"for": "x"}
    assert batch.model == MODEL
    answers = await caller.answers(batch.output_file_id)
    assert [answer["custom_id"] for answer in answers] == [f"q{number}" for number in range(40)]
    for answer in answers:
        assert answer["error"] is None
        assert answer["response"]["status_code"] == 200
        assert answer["response"]["body"]["choices"][0]["message"]["content"]
    assert len({answer["id"] for answer in answers}) == 40
    assert batch.usage is not None
    assert batch.usage.output_tokens == 40 * 3


async def test_pictures_schemas_and_refused_requests_may_be_mixed(caller: Caller, mock: Mock) -> None:
    picture: Any = [{"type": "image_url", "image_url": {"url": RED_DISC}}]
    lines = [
        line("text"),
        line("picture", messages=[{"role": "user", "content": picture}]),
        line("too many", n=99),
        line("unknown model", model="gpt-17"),
    ]
    batch = await caller.ended(await caller.batch(lines))
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 4, "completed": 2, "failed": 2}
    good = await caller.answers(batch.output_file_id)
    assert [answer["custom_id"] for answer in good] == ["text", "picture"]
    bad = await caller.answers(batch.error_file_id)
    assert [(each["custom_id"], each["response"]["status_code"]) for each in bad] == [
        ("too many", 400),
        ("unknown model", 404),
    ]
    assert bad[0]["response"]["body"]["error"]["code"] == "limit_exceeded"
    assert any(b"data:image/" in request.body for request in mock.requests)


async def test_a_batch_may_ask_a_task(caller: Caller, mock: Mock) -> None:
    mock.behaviour = Behaviour(answer='[{"bbox_2d": [10, 10, 60, 60], "label": "disc"}]')
    asked = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/detect",
        "body": {"model": MODEL, "image": RED_DISC, "labels": ["disc"]},
    }
    batch = await caller.ended(await caller.batch([asked], endpoint="/v1/detect"))
    answers = await caller.answers(batch.output_file_id)
    assert answers[0]["response"]["body"]["objects"][0]["label"] == "disc"


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ([line("a"), line("a")], "duplicate_custom_id", 2),
        ([line("a", url="/v1/completions")], "mismatched_endpoint", 1),
        ([line("a"), {"custom_id": "b"}], "invalid_method", 2),
        ([line("a"), "just text"], "invalid_request", 2),
        ([line("a", stream=True)], "invalid_value", 1),
        ([line(f"q{number}") for number in range(12)], "too_many_requests", 11),
        ([], "empty_file", None),
    ],
)
async def test_a_file_that_is_no_input_fails_the_batch_and_says_which_line(
    mock: Mock, running: Running, store: str, lines: list[object], code: str, number: int | None
) -> None:
    async with running([await mock.listen()], batch_store=store, batch_max_requests=10) as url, Caller(url) as caller:
        batch = await caller.ended(await caller.batch(lines))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, number)
    assert mock.stats()["requests"] == 0


async def test_a_cancelled_batch_keeps_what_is_answered_and_asks_no_more(caller: Caller, mock: Mock) -> None:
    lines = [line(f"q{number}", mock={"fault": "stall"} if number >= 5 else {}) for number in range(200)]
    batch = await caller.batch(lines)
    await until(lambda: len(mock.running) == 16)
    cancelling = await caller.client.batches.cancel(batch.id)
    assert cancelling.status == "cancelling"
    batch = await caller.ended(batch)
    assert batch.status == "cancelled"
    assert [answer["custom_id"] for answer in await caller.answers(batch.output_file_id)] == [f"q{n}" for n in range(5)]
    unasked = await caller.answers(batch.error_file_id)
    assert [each["custom_id"] for each in unasked] == [f"q{number}" for number in range(5, 200)]
    assert {each["error"]["code"] for each in unasked} == {"batch_cancelled"}
    await until(lambda: not mock.running)  # the engine was told
    with pytest.raises(openai.BadRequestError, match="cannot be cancelled"):
        await caller.client.batches.cancel(batch.id)


async def test_a_batch_whose_time_is_over_gives_what_it_has(caller: Caller, mock: Mock) -> None:
    lines = [line("quick"), line("slow", mock={"fault": "stall"})]
    batch = await caller.ended(await caller.batch(lines, window="1s"))
    assert batch.status == "expired"
    assert [answer["custom_id"] for answer in await caller.answers(batch.output_file_id)] == ["quick"]
    late = await caller.answers(batch.error_file_id)
    assert [(each["custom_id"], each["error"]["code"]) for each in late] == [("slow", "batch_expired")]
    await until(lambda: not mock.running)


async def test_a_request_that_is_turned_away_is_asked_again(caller: Caller, mock: Mock) -> None:
    mock.behave({"fault": "status", "status": 503}, times=3)
    batch = await caller.ended(await caller.batch([line(f"q{number}") for number in range(6)]))
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 6


async def test_a_failure_of_the_engine_is_tried_three_times_and_then_told(caller: Caller, mock: Mock) -> None:
    mock.behaviour = Behaviour(fault="status", status=500)
    batch = await caller.ended(await caller.batch([line("a")]))
    assert batch.request_counts is not None
    assert batch.request_counts.failed == 1
    assert (await caller.answers(batch.error_file_id))[0]["response"]["status_code"] == 502
    assert mock.stats()["requests"] == 3


async def test_files_are_listed_read_and_deleted(caller: Caller) -> None:
    files = [await caller.upload([line(name)]) for name in ("a", "b", "c")]
    listed = [file.id async for file in caller.client.files.list(limit=2)]
    assert listed == [file.id for file in reversed(files)]
    assert [file.id async for file in caller.client.files.list(order="asc", purpose="batch")] == [f.id for f in files]
    assert (await caller.client.files.content(files[0].id)).content == jsonl([line("a")])
    assert (await caller.client.files.retrieve(files[0].id)).filename == "in.jsonl"
    assert (await caller.client.files.delete(files[0].id)).deleted
    with pytest.raises(openai.NotFoundError):
        await caller.client.files.retrieve(files[0].id)


async def test_a_file_of_many_chunks_comes_back_as_it_was(caller: Caller) -> None:
    data = bytes(range(256)) * 12_000
    file = await caller.client.files.create(file=("x.bin", data), purpose="user_data")
    assert file.bytes == len(data)
    assert (await caller.client.files.content(file.id)).content == data


async def test_batches_are_listed_the_newest_first_page_by_page(caller: Caller) -> None:
    made = [await caller.batch([line("a")]) for _ in range(3)]
    assert [batch.id async for batch in caller.client.batches.list(limit=2)] == [batch.id for batch in reversed(made)]


async def test_what_is_one_callers_is_nobody_elses(mock: Mock, running: Running, store: str) -> None:
    async with (
        running([await mock.listen()], batch_store=store, api_key=["sk-alice", "sk-bob"]) as url,
        Caller(url, "sk-alice") as alice,
        Caller(url, "sk-bob") as bob,
    ):
        batch = await alice.ended(await alice.batch([line("a")]))
        assert batch.output_file_id is not None
        for asked in (
            bob.client.batches.retrieve(batch.id),
            bob.client.batches.cancel(batch.id),
            bob.client.files.content(batch.output_file_id),
            bob.client.files.delete(batch.input_file_id),
        ):
            with pytest.raises(openai.NotFoundError):
                await asked
        assert [file.id async for file in bob.client.files.list()] == []
        with pytest.raises(openai.NotFoundError):
            await bob.client.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h")


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        ({"batch_file_max_bytes": 1000}, 413, "request_too_large"),
        ({"batch_files_max_bytes": 1000}, 400, "limit_exceeded"),
    ],
)
async def test_a_file_that_is_too_much_is_refused_and_nothing_is_kept(
    mock: Mock, running: Running, store: str, settings: dict[str, int], status: int, code: str
) -> None:
    async with running([await mock.listen()], batch_store=store, **settings) as url, Caller(url) as caller:
        with pytest.raises(openai.APIStatusError) as refused:
            await caller.upload([line("x" * 500) for _ in range(20)])
        assert (refused.value.status_code, refused.value.code) == (status, code)
        assert [file.id async for file in caller.client.files.list()] == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"input_file_id": "file-none"}, "file_id"),
    ],
)
async def test_a_batch_that_cannot_be_is_refused(caller: Caller, change: dict[str, Any], param: str) -> None:
    file = await caller.upload([line("a")])
    asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **change}
    with pytest.raises(openai.APIStatusError) as refused:
        await caller.client.batches.create(**asked)
    assert refused.value.param == param


async def test_a_request_that_somebody_waits_for_goes_before_those_of_a_batch(
    mock: Mock, running: Running, store: str
) -> None:
    mock.behaviour = Behaviour(json_ms=100)
    few = {"max_in_flight": 4, "batch_parallel": 40}
    async with running([await mock.listen()], batch_store=store, **few) as url, Caller(url) as caller:
        batch = await caller.batch([line(f"q{number}") for number in range(40)])
        await until(lambda: len(mock.running) == 4)
        messages: Any = [{"role": "user", "content": "now"}]
        await caller.client.chat.completions.create(model=MODEL, messages=messages, max_tokens=3, timeout=10)
        assert mock.stats()["finished"] < 20
        assert (await caller.ended(batch)).status == "completed"


async def test_without_a_store_there_are_no_files(mock: Mock, running: Running) -> None:
    async with running([await mock.listen()], batch_store="off") as url, Caller(url) as caller:
        with pytest.raises(openai.NotFoundError):
            await caller.upload([line("a")])
