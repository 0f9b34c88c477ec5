"""Requests and answers as the harness sends and reads them, against the mock engine and the known server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.load import measuring, report, server_side
from benchmarks.load.__main__ import host_at, measure, parser
from benchmarks.load.known import Connection, Known
from benchmarks.load.measuring import warm
from benchmarks.load.record import Record, read
from benchmarks.load.run import Run
from benchmarks.load.wire import Client, Exchange
from benchmarks.load.workloads import WORKLOADS, Shape, sessions
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import MODEL, Mock
from tests.conftest import Running

SMALL = Shape(model=MODEL, picture_wh=(64, 48), max_tokens=8, turns=2, clip_s=1)


@pytest.fixture
async def known() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(Known([0.01])), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def asked(url: str, workload: str, count: int = 2, shape: Shape = SMALL) -> list[Record]:
    client = Client(url)
    try:
        return (await Run(client).open_loop(sessions(workload, shape, count), [0.0] * count)).records
    finally:
        client.close()


CLICK = '{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [20, 20]}}'
ANSWERS = {
    "detect": "[]",
    "read-text": '[{"bbox_2d": [10, 10, 90, 40], "text_content": "a sign"}]',
    "extract": '{"total": "3", "date": "today"}',
    "act": f"<tool_call>{CLICK}</tool_call>",
    "parse-document": '<html><body><p data-bbox="10 10 90 40">a sign</p></body></html>',
    "localize-events": '[{"start_time": "00:00.00", "end_time": "00:01.00", "description": "a square moves"}]',
}


@pytest.mark.parametrize("workload", [*WORKLOADS, "mixed"])
async def test_every_workload_is_answered(mock: Mock, running: Running, workload: str) -> None:
    mock.behaviour = Behaviour(answer=ANSWERS.get(workload, "A sign."), chunks=4)
    async with running([await mock.listen()]) as url:
        records = await asked(url, workload)
    assert [record.error for record in records] == [""] * len(records)
    assert all(record.latency_ms > 0 for record in records)
    assert len(records) == (4 if workload in ("conversation", "agent") else len(records))


async def test_a_conversation_holds_what_was_said(mock: Mock) -> None:
    mock.behaviour = Behaviour(answer="A red sign.", chunks=3)
    await asked(await mock.listen(), "conversation", count=1)
    first, second = (json.loads(request.body) for request in list(mock.requests)[-2:])
    assert len(first["messages"]) == 1
    assert second["messages"][1] == {"role": "assistant", "content": "A red sign."}
    assert second["messages"][0] == first["messages"][0]


async def test_the_same_seed_sends_the_same_bytes_and_another_one_other_pixels() -> None:
    bodies = [[step([]).body for step in session.steps] for session in sessions("photo", SMALL, 3)]
    again = [[step([]).body for step in session.steps] for session in sessions("photo", SMALL, 3)]
    assert bodies == again
    pictures = {body["messages"][0]["content"][0]["image_url"]["url"] for (body,) in bodies}
    assert len(pictures) == 3


async def test_repeats_are_as_many_as_asked_for() -> None:
    half = Shape(model=MODEL, picture_wh=(32, 32), repeats=0.5)
    steps = [session.steps[0]([]) for session in sessions("photo", half, 60)]
    assert 18 < sum(step.repeats for step in steps) < 42
    urls = [step.body["messages"][0]["content"][0]["image_url"]["url"] for step in steps]
    assert len(set(urls)) < 50


@pytest.mark.parametrize("workload", ["photo", "document", "conversation", "agent"])
async def test_pictures_of_ones_own_are_sent_as_what_they_are(workload: str, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    first, second = (session.steps[0]([]) for session in sessions(workload, Shape(folder=tmp_path, turns=1), 2))
    assert first.body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert (first.pictures, first.megapixels) == (1, 0.06)
    assert (first.repeats, second.repeats) == (False, True)


async def test_a_clip_of_ones_own_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a.webm").write_bytes(b"own")
    step = sessions("clip", Shape(folder=tmp_path), 1)[0].steps[0]([])
    assert step.body["messages"][0]["content"][0]["video_url"]["url"] == "data:video/webm;base64,b3du"


async def test_a_folder_without_what_is_sent_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds none of what this workload sends \(.mp4"):
        sessions("clip", Shape(folder=tmp_path), 1)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (Behaviour(fault="status", status=503), "status 503"),
        (Behaviour(fault="die", after=2, chunks=6), "connection lost"),
        (Behaviour(fault="no_end", chunks=6), ""),
        (Behaviour(fault="error_event", after=1, chunks=6), "error in the stream"),
    ],
    ids=["refused", "cut off", "no end", "an error inside a stream of status 200"],
)
async def test_what_went_wrong_is_an_error(mock: Mock, behaviour: Behaviour, said: str) -> None:
    url = await mock.listen()
    mock.behaviour = behaviour
    (record, *_) = await asked(url, "text", count=1)
    assert record.error
    assert said in record.error
    assert record.ttft_ms is None or record.error


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_a_stream_is_read_however_its_lines_end_and_wherever_it_is_cut(end: bytes, field: str) -> None:
    events = [json.dumps({"choices": [{"delta": {field: word}}]}).encode() for word in ("one ", "two")]
    stream = b"".join(b"data: " + event + 2 * end for event in (*events, b"[DONE]"))
    exchange = Exchange(status=200, headers={"content-type": "text/event-stream"}, ended_s=9.0)
    exchange.pieces = [(at / 1000, stream[at : at + 1]) for at in range(len(stream))]
    record = Record(0, "text", 0.0)
    assert read(exchange, record, start_s=0.0, intended_s=0.0) == "one two"
    assert (record.error, record.output_tokens, len(record.itl_ms)) == ("", 2, 1)


async def test_a_server_that_is_not_there_is_an_error_and_no_crash() -> None:
    (record,) = await asked("http://127.0.0.1:9", "text", count=1)
    assert record.error.startswith("no connection")
    client = Client("http://127.0.0.1:9")
    assert "no connection" in await warm(client, sessions("text", SMALL, 1))


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no http or https URL"):
        Client("ftp://x")


async def test_pieces_are_timed_and_tokens_counted(known: str) -> None:
    (record,) = await asked(known, "text", count=1)
    assert record.ok
    assert record.output_tokens == 8
    assert len(record.itl_ms) == 7
    assert record.ttft_ms is not None
    assert record.ttft_ms < record.latency_ms
    assert record.tpot_ms == pytest.approx((record.latency_ms - record.ttft_ms) / 7)


async def test_a_closed_loop_never_has_more_at_once_than_asked(mock: Mock) -> None:
    client = Client(await mock.listen())
    outcome = await Run(client).closed_loop(sessions("text", SMALL, 40), concurrency=3, seconds=30)
    client.close()
    assert len(outcome.records) == 40
    assert max((count for _, count in outcome.in_flight), default=0) <= 3


async def test_an_open_loop_sends_what_is_due_while_others_wait(mock: Mock) -> None:
    mock.behaviour = Behaviour(ttft_ms=400, chunks=2)
    client = Client(await mock.listen())
    outcome = await Run(client).open_loop(sessions("text", SMALL, 12), [0.0] * 12)
    client.close()
    assert max(count for _, count in outcome.in_flight) == 12


async def test_nothing_is_sent_before_it_is_due(mock: Mock) -> None:
    client = Client(await mock.listen())
    outcome = await Run(client).open_loop(sessions("text", SMALL, 100), [at * 0.0047 for at in range(100)])
    client.close()
    assert min(record.lag_ms for record in outcome.records) >= 0


async def test_what_is_not_over_in_time_is_an_error(mock: Mock) -> None:
    mock.behaviour = Behaviour(ttft_ms=60_000)
    client = Client(await mock.listen())
    outcome = await Run(client).open_loop(sessions("text", SMALL, 2), [0.0, 0.0], grace_s=0.2)
    client.close()
    assert [record.error for record in outcome.records] == ["not over when the run ended"] * 2


async def test_the_gateways_own_stages_are_read(mock: Mock, running: Running) -> None:
    async with running([await mock.listen()]) as url:
        client = Client(url)
        before = await server_side.look(client)
        await Run(client).open_loop(sessions("photo", SMALL, 2), [0.0, 0.0])
        found = server_side.stages(before, await server_side.look(client))
        told = await server_side.about(client)
        client.close()
    assert found["gateway media"]["count"] == 2
    assert found["gateway media"]["mean_ms"] > 0
    assert MODEL in [model["id"] for model in told["models"]]


async def test_a_whole_run_leaves_every_file(mock: Mock, tmp_path: Path) -> None:
    words = ["--url", await mock.listen(), "--model", MODEL, "--workload", "mixed", "--picture", "64x48"]
    words += ["--rate", "20", "--rate", "40", "--seconds", "1", "--warmup-s", "0.2", "--out", str(tmp_path)]
    found = await measure(parser().parse_args([*words, "--slo", "ttft=5000"]), "command")
    assert [point["failed"] for point in found["points"]] == [0, 0]
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"requests-0.jsonl", "requests-1.jsonl", "summary.json", "report.md", "page.html", "latency.png"}
    lines = (tmp_path / "requests-1.jsonl").read_text().splitlines()
    assert len(lines) >= found["points"][1]["num_prompts"]
    assert json.loads(lines[0])["status"] == 200
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") >= 3
    assert "http://" not in page.replace(words[1], "")
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(found))


async def test_a_cards_clocks_are_looked_at_as_a_point_ends(
    mock: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "gpus", lambda: [{"clocks.sm": "1980 MHz"}])
    words = ["--url", await mock.listen(), "--model", MODEL, "--workload", "text", "--rate", "20", "--seconds", "0.3"]
    found = await measure(parser().parse_args([*words, "--warmup-s", "0", "--out", str(tmp_path)]), "command")
    assert found["points"][0]["gpu_clocks"] == ["1980 MHz"]


async def test_a_cards_share_the_dated_cost_and_the_caches_stand_in_the_table(
    mock: Mock, running: Running, tmp_path: Path
) -> None:
    async with running([await mock.listen()]) as url:
        words = ["--url", url, "--model", MODEL, "--workload", "text", "--concurrency", "2", "--seconds", "0.3"]
        words += ["--warmup-s", "0", "--gpus", "2", "--price-per-hour", "7.2", "--price-date", "2026-11-01"]
        found = await measure(parser().parse_args([*words, "--out", str(tmp_path)]), "command")
    found["points"][0]["caches"] = {"prefix cache": 0.25, "picture cache": None}
    told = report.markdown(found["points"], found["about"])
    header, row = (line.split(" | ") for line in told.splitlines() if line.startswith("|  |") and "---" not in line)
    cells = dict(zip(header, row, strict=True))
    assert float(cells["tokens/s/GPU"].replace(",", "")) == pytest.approx(
        float(cells["tokens/s"].replace(",", "")) / 2, rel=0.02
    )
    assert float(cells["cost of 1,000"]) == pytest.approx(2 / float(cells["requests/s"].replace(",", "")), rel=0.02)
    assert cells["caches hit"] == "prefix 25%"
    assert "cost at 7.2 an hour, the price of 2026-11-01" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--picture", "big"], "WIDTHxHEIGHT"),
        (["--price-per-hour", "2"], "--price-date"),
        (["--slo", "x=1"], "service level"),
        (["--mix", "film=1"], "no share"),
    ],
)
async def test_what_cannot_be_asked_is_said_in_a_sentence(
    mock: Mock, words: list[str], said: str, tmp_path: Path
) -> None:
    options = parser().parse_args(["--url", await mock.listen(), "--model", MODEL, "--out", str(tmp_path), *words])
    with pytest.raises(ValueError, match=said):
        await measure(options, "command")


@pytest.mark.parametrize("workload", ["photo", "clip", "parse-document"])
async def test_media_may_lie_where_the_server_fetches_them(
    mock: Mock, running: Running, tmp_path: Path, unused_tcp_port: int, workload: str
) -> None:
    mock.behaviour = Behaviour(answer=ANSWERS.get(workload, "A sign."), chunks=4)
    allowed = {"fetch_allow_network": ["127.0.0.1/32"], "fetch_allow_port": [unused_tcp_port]}
    where = f"127.0.0.1:{unused_tcp_port}"
    async with running([await mock.listen()], **allowed) as url:
        words = ["--url", url, "--model", MODEL, "--workload", workload, "--picture", "64x48", "--clip-s", "1"]
        words += ["--concurrency", "1", "--seconds", "0.5", "--warmup-s", "0", "--host-at", where]
        with host_at(where) as hosted:
            found = await measure(parser().parse_args([*words, "--out", str(tmp_path)]), "command", hosted)
    point = found["points"][0]
    assert point["completed"] > 0
    assert point["failed"] == 0
    fetched = next(stage for name, stage in point["server_stages"].items() if name.endswith("fetch"))
    assert fetched["count"] >= point["completed"]
    assert found["workload"]["hosted"] == where


def test_a_place_that_is_taken_or_none_is_refused(unused_tcp_port: int) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        host_at("9100")
    with (
        host_at(f"127.0.0.1:{unused_tcp_port}"),
        pytest.raises(ValueError, match="nothing can be served at"),
        host_at(f"127.0.0.1:{unused_tcp_port}"),
    ):
        pass
