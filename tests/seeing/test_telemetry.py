"""What can be seen from outside: metrics, the line a request, usage, the status page, traces."""

import asyncio
import gzip
import html.parser
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from benchmarks.overhead.mock import Mock
from server.callers.keys import hashed
from server.seeing import logs
from tests.conftest import ASK, Running, until

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAADgAAAA4AQMAAACSSKldAAAAA1BMVEUAgIBxQSaxAAAADklEQVR42mNgGAVDGQAAAcAA"
    "Ab8Xq8EAAAAASUVORK5CYII="
)
LOOK = {
    **ASK,
    "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}],
}
STREAM = {**ASK, "stream": True, "max_tokens": 5, "stream_options": {"include_usage": True}}
KEYS = "".join(
    f'[[key]]\nname = "{name}"\nhash = "{hashed("sk-" + name)}"\n{more}\n'
    for name, more in (("root", "operator = true"), ("alice", ""))
)


@pytest.fixture
async def keyed(running: Running, mock: Mock, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Alice's client of a gateway with two keys; `root` is an operator's."""
    path = tmp_path / "keys.toml"
    path.write_text(KEYS)
    async with (
        running([await mock.listen()], keys_file=str(path)) as url,
        httpx2.AsyncClient(base_url=url, timeout=20, headers={"authorization": "Bearer sk-alice"}) as client,
    ):
        yield client


ROOT = {"authorization": "Bearer sk-root"}


async def samples(client: httpx2.AsyncClient) -> dict[str, float]:
    """Every sample of /metrics by its name and labels."""
    lines = (await client.get("/metrics")).text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


async def grown(client: httpx2.AsyncClient, do: Callable[[], Any]) -> dict[str, float]:
    """What `do` adds to the samples."""
    before = await samples(client)
    await do()
    after = await samples(client)
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


# -- metrics ---------------------------------------------------------------------------------------------------------


async def test_a_stream_has_a_time_to_its_first_token_and_one_between_them(
    mock: Mock, client: httpx2.AsyncClient
) -> None:
    mock.behave({"interval_ms": 5})
    found = await grown(client, lambda: client.post("/v1/chat/completions", json=STREAM))
    path = '{path="/v1/chat/completions"}'
    assert found[f"qvl_time_to_first_token_seconds_count{path}"] == 1
    assert found[f"qvl_time_per_output_token_seconds_count{path}"] == 1
    assert 0.004 < found[f"qvl_time_per_output_token_seconds_sum{path}"] < 0.5
    assert found['qvl_caller_tokens_total{caller="anyone",kind="completion"}'] == 5
    assert found['qvl_stage_seconds_count{stage="engine"}'] == 1


async def test_a_picture_is_decoded_and_its_tokens_are_counted(client: httpx2.AsyncClient) -> None:
    found = await grown(client, lambda: client.post("/v1/chat/completions", json=LOOK))
    assert found['qvl_stage_seconds_count{stage="decode"}'] == 1
    assert found['qvl_visual_tokens_total{path="/v1/chat/completions"}'] == 4
    assert found['qvl_caller_tokens_total{caller="anyone",kind="visual"}'] == 4
    assert 'qvl_time_to_first_token_seconds_count{path="/v1/chat/completions"}' not in found


async def test_a_tasks_warnings_loops_and_reading_are_counted(mock: Mock, client: httpx2.AsyncClient) -> None:
    mock.behave({"answer": "a red cat " * 400})
    found = await grown(client, lambda: client.post("/v1/caption", json={"image": PICTURE}))
    assert found['qvl_loops_cut_total{path="/v1/caption"}'] == 1
    assert found['qvl_stage_seconds_count{stage="read"}'] == 1
    assert found['qvl_caller_tokens_total{caller="anyone",kind="completion"}'] > 10
    assert any(name.startswith('qvl_warnings_total{code="') for name in found)


async def test_labels_are_ours_whatever_a_caller_makes_up(client: httpx2.AsyncClient) -> None:
    async def do() -> None:
        await client.get("/made-up/by?a=caller")
        await client.post("/v1/chat/completions", json={**ASK, "model": "made-up-by-a-caller"})
        await client.request("BREW", "/v1/models", headers={"authorization": "Bearer made-up"})

    assert [name for name in await grown(client, do) if "made-up" in name] == []


# -- the line --------------------------------------------------------------------------------------------------------


async def lines_of(running: Running, mock: Mock, capsys: pytest.CaptureFixture[str], **changes: Any) -> list[str]:
    """What is logged of a good request with a picture, a bad one and an unknown path."""
    async with (
        running([await mock.listen()], access_log=True, **changes) as url,
        httpx2.AsyncClient(base_url=url, timeout=20) as client,
    ):
        await client.post("/v1/chat/completions?key=hidden", json=LOOK, headers={"x-request-id": "mine-1"})
        await client.post("/v1/chat/completions", json={**ASK, "n": 99})
        await client.get("/a%0AGET%20/forged")
        lines: list[str] = []

        def written() -> bool:
            lines.extend(capsys.readouterr().err.splitlines())
            return len(lines) == 3

        await until(written)
    return lines


async def test_a_request_is_one_line_of_text(running: Running, mock: Mock, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, odd = await lines_of(running, mock, capsys)
    assert re.fullmatch(r"POST /v1/chat/completions 200 \d+\.\dms id=mine-1 caller=anyone tokens=\d+\+\d+", good)
    assert re.fullmatch(r"POST /v1/chat/completions 400 \S+ id=\S+ caller=anyone code=limit_exceeded", bad)
    assert re.fullmatch(r"GET /a%0AGET%20/forged 404 \S+ id=\S+ caller=- code=not_found", odd)


async def test_a_request_is_one_object_of_json_on_demand(
    running: Running, mock: Mock, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, odd = map(orjson.loads, await lines_of(running, mock, capsys, log_format="json"))
    assert (good["request_id"], good["status"], good["caller"], good["visual_tokens"]) == ("mine-1", 200, "anyone", 4)
    assert good["stages_ms"].keys() == {"decode", "engine"}
    assert good["duration_ms"] >= good["stages_ms"]["engine"]
    assert (bad["code"], bad["level"], bad["event"]) == ("limit_exceeded", "info", "request")
    assert odd["path"] == "/a\nGET /forged"
    assert "hidden" not in str(good)


def test_the_programs_own_messages_are_json_too() -> None:
    record = logging.LogRecord("server.pool", logging.ERROR, "", 1, "engine %s\nis gone", ("one",), None)
    told = orjson.loads(logs.JsonFormatter().format(record))
    assert (told["level"], told["logger"], told["message"]) == ("error", "server.pool", "engine one\nis gone")


# -- usage -----------------------------------------------------------------------------------------------------------


async def test_a_key_sees_what_it_has_used_and_an_operators_what_all_have(keyed: httpx2.AsyncClient) -> None:
    await keyed.post("/v1/chat/completions", json=LOOK)
    await keyed.post("/v1/chat/completions", json=STREAM)
    await keyed.post("/v1/chat/completions", json={**ASK, "n": 99})
    used = (await keyed.get("/v1/usage")).json()
    others = await keyed.get("/v1/usage", params={"of": "root"})
    seen = (await keyed.get("/v1/usage", params={"of": "alice"}, headers=ROOT)).json()
    total = used["total"]
    assert (used["object"], used["caller"], total["requests"], total["errors"]) == ("usage", "alice", 3, 1)
    assert (total["completion_tokens"], total["visual_tokens"]) == (8, 4)
    results = used["data"][0]["results"]
    assert {(each["path"], bool(each["model"])) for each in results} == {
        ("/v1/chat/completions", False),
        ("/v1/chat/completions", True),
    }
    assert others.status_code == 403
    assert seen["total"]["requests"] == 5
    assert "alice" in seen["callers"]


# -- the status page -------------------------------------------------------------------------------------------------


class Elements(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_status_page_shows_engines_queue_errors_and_runs_nothing(running: Running, mock: Mock) -> None:
    mock.behave({"fault": "status"}, times=1)
    async with (
        running([await mock.listen()]) as url,
        httpx2.AsyncClient(base_url=url, timeout=20) as client,
    ):
        failed = await client.post("/v1/chat/completions", json=ASK, headers={"x-request-id": "the-one-that-failed"})
        page = await client.get("/status")
        told = (await client.get("/status?format=json")).json()
    elements = Elements(page.text)
    assert failed.status_code == 502
    for expected in ("1 of 1", "engines ready", "the-one-that-failed", "engine_failed", url.rpartition(":")[0][:7]):
        assert expected in elements.text
    assert {"script", "img", "iframe", "link", "form"}.isdisjoint(elements.tags)
    assert [name for name in elements.attributes if name.startswith("on") or name in ("href", "src")] == []
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert told["errors"][0]["request_id"] == "the-one-that-failed"
    assert told["places"]["all"] == 1024


async def test_the_status_page_is_for_operators_and_a_browser_is_asked_for_the_key(keyed: httpx2.AsyncClient) -> None:
    stranger = await keyed.get("/status", headers={"authorization": ""})
    alice = await keyed.get("/status")
    root = await keyed.get("/status", auth=("anybody", "sk-root"), headers={"authorization": ""})
    assert (stranger.status_code, alice.status_code) == (401, 403)
    assert stranger.headers["www-authenticate"].startswith("Basic ")
    assert alice.json()["error"]["scope"] == "operator"
    assert root.status_code == 200
    assert "sk-" not in root.text


def test_what_the_page_shows_is_escaped() -> None:
    from server.seeing.status_page import page

    evil = "<script>alert('x')</script>"
    engine = {"engine": evil, "ready": True, "state": evil, "reason": evil, "in_flight": 1, "models": [evil]}
    error = {"time": evil, "status": 500, "code": evil, "route": evil, "caller": evil, "request_id": evil}
    used = {
        "caller": evil,
        "total": dict.fromkeys(("requests", "errors", "prompt_tokens", "completion_tokens", "visual_tokens"), 1),
    }
    caller = {"name": evil, "priority": evil, "places": 1, "waiting": 0, "share": 1.0}
    text = page(
        {
            "version": evil, "time": evil, "uptime_s": 1, "engines": [engine], "places": {"taken": 0, "all": 1},
            "queue": {"waiting": 0}, "pulse": {"slot_s": 10, "slots": [(1, 1, 1)]}, "callers": [caller],
            "errors": [error], "usage": [used],
        }
    )  # fmt: skip
    assert "script" not in Elements(text).tags
    assert "<script" not in text


# -- traces ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[Any]]]:
    """(URL, spans that came) of something that takes OTLP over HTTP."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans: list[Any] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head.lower())
                body = await reader.readexactly(int(length[1]) if length else 0)
                body = gzip.decompress(body) if b"content-encoding: gzip" in head.lower() else body
                sent = ExportTraceServiceRequest.FromString(body)
                for resource in sent.resource_spans:
                    for scope in resource.scope_spans:
                        spans.extend(scope.spans)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", spans
    finally:
        server.close()


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_request_is_a_trace_from_the_caller_through_us_to_the_engine(running: Running, mock: Mock) -> None:
    async with (
        collector() as (endpoint, spans),
        running([await mock.listen()], otlp_endpoint=endpoint, api_key=["sk-hidden"]) as url,
        httpx2.AsyncClient(base_url=url, timeout=20, headers={"authorization": "Bearer sk-hidden"}) as client,
    ):
        headers = {"traceparent": PARENT, "tracestate": "a=b", "x-request-id": "mine"}
        await client.post("/v1/chat/completions?key=hidden", json=LOOK, headers=headers)
        await client.post("/v1/caption", json={"image": PICTURE})
        await client.post("/v1/chat/completions", json=ASK, headers={"traceparent": PARENT[:-1] + "0"})
        await until(lambda: len(spans) >= 7)
    ours = [span for span in spans if span.trace_id.hex() == PARENT[3:35]]
    by_name = {span.name: span for span in ours}
    root = by_name["POST /v1/chat/completions"]
    assert root.parent_span_id.hex() == PARENT[36:52]
    assert by_name.keys() == {"POST /v1/chat/completions", "decode", "engine"}
    assert {by_name[name].parent_span_id for name in ("decode", "engine")} == {root.span_id}
    assert root.start_time_unix_nano <= by_name["decode"].start_time_unix_nano < by_name["engine"].end_time_unix_nano
    told = {each.key: each.value for each in root.attributes}
    assert told["qwenvl.request_id"].string_value == "mine"
    assert told["http.response.status_code"].int_value == 200
    assert told["qwenvl.visual_tokens"].int_value == 4
    assert "hidden" not in str(spans)
    first, task, _ = mock.requests
    assert first.header(b"traceparent") == f"00-{PARENT[3:35]}-{root.span_id.hex()}-01".encode()
    assert first.header(b"tracestate") == b"a=b"
    captioned = next(span for span in spans if span.name == "POST /v1/caption")
    assert task.header(b"traceparent") == f"00-{captioned.trace_id.hex()}-{captioned.span_id.hex()}-01".encode()
    assert {span.name for span in spans if span.trace_id == captioned.trace_id} >= {"decode", "engine", "read"}


async def test_a_failure_is_an_error_in_its_trace(running: Running, mock: Mock) -> None:
    mock.behave({"fault": "status"})
    async with (
        collector() as (endpoint, spans),
        running([await mock.listen()], otlp_endpoint=endpoint) as url,
        httpx2.AsyncClient(base_url=url, timeout=20) as client,
    ):
        await client.post("/v1/chat/completions", json=ASK)
        await until(lambda: len(spans) >= 2)
    root = next(span for span in spans if span.name.startswith("POST"))
    assert (root.status.code, root.status.message) == (2, "engine_failed")


async def test_without_a_collector_a_callers_trace_passes_through_as_it_is(
    mock: Mock, client: httpx2.AsyncClient
) -> None:
    await client.post("/v1/chat/completions", json=ASK, headers={"traceparent": PARENT})
    await client.post("/v1/caption", json={"image": PICTURE}, headers={"traceparent": PARENT})
    assert [request.header(b"traceparent") for request in mock.requests] == [PARENT.encode()] * 2


def test_without_a_collector_nothing_of_opentelemetrys_machinery_is_loaded() -> None:
    look = "import server.app, sys; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"
