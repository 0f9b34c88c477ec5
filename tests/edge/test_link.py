"""What `server/edge/http.py` promises of a connection, over a real socket: it knows uvicorn's insides, and an upgrade
may change them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.edge.http import LimitedProtocol, Link, Outbox
from tests.conftest import ASK, Running, until

CHAT = "/v1/chat/completions"
STREAM = {**ASK, "stream": True}
ELSEWHERE = "127.0.0.2"


def request(body: Any = None, *, path: str = CHAT, method: str = "POST", version: str = "1.1", **headers: str) -> bytes:
    """The bytes of a request with a JSON body."""
    raw = b"" if body is None else json.dumps(body).encode()
    lines = {"host": "gateway", "content-type": "application/json", "content-length": str(len(raw)), **headers}
    head = f"{method} {path} HTTP/{version}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + raw


class Wire:
    """A client's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        status = int(head[0].split()[1])
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        if status < 200 or not has_body:
            return status, headers, b""
        if headers.get("transfer-encoding") != "chunked":
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return status, headers, body

    async def is_closed(self) -> bool:
        """Whether the server closes, without a byte more."""
        async with asyncio.timeout(5):
            return await self.reader.read(1) == b""

    def leave(self) -> None:
        self.writer.close()


@asynccontextmanager
async def connected(gateway: str) -> AsyncIterator[Wire]:
    """A connection to the gateway."""
    host, port = gateway.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture
async def wire(gateway: str) -> AsyncIterator[Wire]:
    """A connection to a gateway."""
    async with connected(gateway) as wire:
        yield wire


def code(body: bytes) -> Any:
    """Of an error."""
    return json.loads(body)["error"]["code"]


def said(body: bytes) -> str:
    """By the model, streamed or not."""
    if not body.startswith(b"data: "):
        return str(json.loads(body)["choices"][0]["message"]["content"])
    events = [json.loads(event[6:]) for event in body.split(b"\n\n") if event and event != b"data: [DONE]"]
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events)


# -- one connection, many requests -----------------------------------------------------------------------------------


async def test_a_connection_serves_answers_and_streams_and_the_other_paths_in_turn(wire: Wire) -> None:
    for body in (ASK, STREAM, ASK, STREAM):
        wire.send(request(body))
        assert said((await wire.answer())[2]) == "token0 token1 token2"
        wire.send(request(method="GET", path="/healthz"))
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["whole", "stream"])
async def test_requests_sent_at_once_are_answered_in_order(wire: Wire, body: dict[str, Any]) -> None:
    slow = {**body, "max_tokens": 2, "mock": {"json_ms": 100, "ttft_ms": 100}}
    wire.send(request(slow), request(body), request(method="GET", path="/healthz"), request({**ASK, "max_tokens": 1}))
    answers = [await wire.answer() for _ in range(4)]
    assert [status for status, _, _ in answers] == [200] * 4
    assert said(answers[0][2]) == "token0 token1"
    assert said(answers[1][2]) == "token0 token1 token2"
    assert json.loads(answers[2][2]) == {"status": "ok"}
    assert said(answers[3][2]) == "token0"


@pytest.mark.parametrize("body", [ASK, STREAM, {}], ids=["whole", "stream", "error"])
async def test_connection_close_is_honoured(wire: Wire, body: dict[str, Any]) -> None:
    wire.send(request(body, connection="close"))
    assert (await wire.answer())[1]["connection"] == "close"
    assert await wire.is_closed()


async def test_a_connection_on_which_nothing_more_is_asked_is_closed(mock: Mock, running: Running) -> None:
    async with running([await mock.listen()], idle_timeout_s=1) as url, connected(url) as wire:
        wire.send(request(ASK))
        assert "connection" not in (await wire.answer())[1]
        assert await wire.is_closed()


async def test_http_1_0_is_answered_and_closed(wire: Wire) -> None:
    wire.send(request(ASK, version="1.0"))
    assert said((await wire.answer())[2]) == "token0 token1 token2"
    assert await wire.is_closed()


async def test_an_answer_to_head_has_no_body_and_the_next_answer_is_not_taken_for_it(wire: Wire) -> None:
    wire.send(request(method="HEAD"))
    status, headers, _ = await wire.answer(has_body=False)
    assert status == 405
    assert int(headers["content-length"]) > 0
    wire.send(request(ASK))
    assert (await wire.answer())[0] == 200


async def test_an_error_after_the_whole_body_keeps_the_connection(wire: Wire) -> None:
    for _ in range(3):
        wire.send(request({**ASK, "n": 99}))
        assert (await wire.answer())[0] == 400
    wire.send(request(ASK))
    assert (await wire.answer())[0] == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/models"])
async def test_a_body_that_comes_after_a_refusal_was_due_does_not_end_the_connection(wire: Wire, path: str) -> None:
    for _ in range(2):
        head, body = request(ASK, path=path).split(b"\r\n\r\n")
        wire.send(head, b"\r\n\r\n")
        await asyncio.sleep(0.02)  # long enough for an answer that does not wait
        wire.send(body)
        assert (await wire.answer())[0] in {404, 405}


async def test_an_offer_to_speak_http_2_is_passed_over(wire: Wire) -> None:
    for _ in range(2):
        wire.send(request(ASK, connection="Upgrade, HTTP2-Settings", upgrade="h2c", **{"http2-settings": "AAMAAABk"}))
        assert (await wire.answer())[0] == 200


# -- bodies ----------------------------------------------------------------------------------------------------------


async def test_a_client_that_asks_first_is_told_to_go_on(wire: Wire) -> None:
    whole = request(ASK, expect="100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    wire.send(head, b"\r\n\r\n")
    assert (await wire.answer())[0] == 100
    wire.send(body)
    assert (await wire.answer())[0] == 200


async def test_a_client_that_asks_first_need_not_send_what_is_refused(mock: Mock, running: Running) -> None:
    async with running([await mock.listen()], max_body_bytes=1000) as url, connected(url) as wire:
        wire.send(request(expect="100-continue", **{"content-length": "1001"}))
        status, headers, body = await wire.answer()
        assert (status, code(body), headers["connection"]) == (413, "request_too_large", "close")
        assert await wire.is_closed()


@pytest.mark.parametrize(
    ("path", "framing"),
    [(CHAT, "content-length"), (CHAT, "transfer-encoding"), ("/v1/models", "content-length")],
)
async def test_a_client_that_still_sends_hears_that_it_is_too_much(
    mock: Mock, running: Running, path: str, framing: str
) -> None:
    piece = bytes(1 << 20)
    async with running([await mock.listen()], max_body_bytes=1 << 20) as url, connected(url) as wire:
        if framing == "content-length":
            wire.send(request(path=path, **{"content-length": str(32 << 20)}))
        else:
            head = request(path=path).replace(b"content-length: 0", b"transfer-encoding: chunked")
            wire.send(head)
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)

        async def send_on() -> None:
            for _ in range(32):
                wire.send(piece)
                await wire.writer.drain()

        sending = asyncio.create_task(send_on())
        status, _, body = await wire.answer()
        assert (status, code(body)) == (413, "request_too_large")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_body_that_stops_coming_is_a_408(mock: Mock, running: Running) -> None:
    async with running([await mock.listen()], body_timeout_s=0.1) as url, connected(url) as wire:
        wire.send(request(ASK)[:-1])
        status, headers, body = await wire.answer()
        assert (status, code(body), headers["connection"]) == (408, "request_timeout", "close")
        assert await wire.is_closed()


async def test_a_broken_chunk_is_a_400_while_the_body_is_awaited(wire: Wire) -> None:
    wire.send(request().replace(b"content-length: 0", b"transfer-encoding: chunked"), b"3\r\n{  \r\n")
    await asyncio.sleep(0)
    wire.send(b"not a size\r\n")
    status, _, body = await wire.answer()
    assert (status, code(body)) == (400, "malformed_request")
    assert await wire.is_closed()


# -- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("earlier", [0, 1], ids=["the first", "a later one"])
async def test_a_head_that_does_not_end_is_a_408(mock: Mock, running: Running, earlier: int) -> None:
    async with running([await mock.listen()], body_timeout_s=0.1) as url, connected(url) as wire:
        for _ in range(earlier):
            wire.send(request(ASK))
            assert (await wire.answer())[0] == 200
        wire.send(request(ASK)[:40])
        status, _, body = await wire.answer()
        assert (status, code(body)) == (408, "request_timeout")
        assert await wire.is_closed()


async def test_a_connection_on_which_nothing_is_asked_is_closed(mock: Mock, running: Running) -> None:
    async with running([await mock.listen()], body_timeout_s=0.1) as url, connected(url) as wire:
        assert await wire.is_closed()


@pytest.mark.parametrize("earlier", [0, 1], ids=["the first", "a later one"])
@pytest.mark.parametrize(
    "end", [pytest.param(b"\r\n\r\n", id="in one piece"), pytest.param(b"x" * 1_000_000, id="without end")]
)
async def test_a_head_that_is_too_long_is_a_431(wire: Wire, earlier: int, end: bytes) -> None:
    for _ in range(earlier):
        wire.send(request(ASK))
        assert (await wire.answer())[0] == 200
    wire.send(b"GET /healthz HTTP/1.1\r\nx-long: " + b"x" * 70_000 + end)
    status, _, body = await wire.answer()
    assert (status, code(body)) == (431, "headers_too_large")
    assert await wire.is_closed()


async def test_a_long_body_behind_a_short_head_is_no_long_head(wire: Wire) -> None:
    wire.send(*[request({**ASK, "user": "x" * 60_000})] * 4)
    assert [(await wire.answer())[0] for _ in range(4)] == [200] * 4


# -- what follows must not hurt what is under way --------------------------------------------------------------------


@pytest.mark.parametrize("after", [b"\x16\x03\x01 no HTTP\r\n\r\n", b"GET /" + b"x" * 200_000])
async def test_a_stream_goes_out_whole_whatever_follows_its_request(wire: Wire, after: bytes) -> None:
    wire.send(request({**STREAM, "mock": {"chunks": 20, "interval_ms": 5}}))
    assert await wire.reader.readuntil(b"token0")
    wire.send(after)
    rest = await wire.reader.read()
    assert rest.count(b"data: {") >= 19
    assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


# -- leaving ---------------------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_in_the_middle_of_its_body_gives_its_place_back(
    mock: Mock, running: Running
) -> None:
    async with running([await mock.listen()], max_concurrent=1) as url:
        async with connected(url) as wire:
            wire.send(request({**ASK, "user": "x" * 200_000})[:150_000])
            await until(lambda: _is_full(url))
        async with connected(url) as other:

            async def has_place() -> bool:
                other.send(request(ASK))
                return (await other.answer())[0] == 200

            await until(has_place)


async def _is_full(url: str) -> bool:
    async with connected(url) as wire:
        wire.send(request(ASK))
        return (await wire.answer())[0] == 429


@pytest.mark.parametrize("user", ["", "x" * 100_000, "x" * 2_000_000], ids=["small", "100 kB", "2 MB"])
@pytest.mark.parametrize("body", [ASK, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_while_the_engine_thinks_frees_it(
    wire: Wire, mock: Mock, body: dict[str, Any], user: str
) -> None:
    mock.behaviour = Behaviour(json_ms=60_000, ttft_ms=60_000)
    wire.send(request({**body, "metadata": {"long": user}}))
    await until(lambda: len(mock.running) == 1)
    wire.leave()
    await until(lambda: len(mock.aborts) == 1)


async def test_a_client_that_closes_its_half_is_gone(wire: Wire, mock: Mock) -> None:
    mock.behaviour = Behaviour(json_ms=60_000)
    wire.send(request(ASK))
    await until(lambda: len(mock.running) == 1)
    wire.writer.write_eof()
    await until(lambda: len(mock.aborts) == 1)


async def test_a_client_that_leaves_at_once_leaves_nothing_running(gateway: str, mock: Mock) -> None:
    mock.behaviour = Behaviour(json_ms=60_000)
    for _ in range(20):
        async with connected(gateway) as wire:
            wire.send(request(ASK))
            wire.leave()
            await wire.writer.wait_closed()
    async with connected(gateway) as wire:
        wire.send(request({**ASK, "mock": {"json_ms": 0.001}}))
        assert (await wire.answer())[0] == 200
    await until(lambda: not mock.running)


async def test_a_client_that_leaves_with_requests_waiting_frees_the_engine(
    wire: Wire, mock: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    wire.send(request({**STREAM, "mock": {"chunks": 1000, "interval_ms": 5}}), request(ASK))
    await wire.reader.readuntil(b"token0")
    wire.leave()
    await until(lambda: len(mock.aborts) == 1)
    assert not mock.running
    assert "Traceback" not in caplog.text


async def test_a_client_that_leaves_while_its_picture_is_fetched_ends_the_fetch(mock: Mock, running: Running) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    pictures = await asyncio.start_server(never_answers, ELSEWHERE, 0)
    port = pictures.sockets[0].getsockname()[1]
    content = [{"type": "image_url", "image_url": {"url": f"http://{ELSEWHERE}:{port}/a.png"}}]
    opened = {"fetch_allow_network": [f"{ELSEWHERE}/32"], "fetch_allow_port": [port]}
    async with pictures, running([await mock.listen()], **opened) as url, connected(url) as wire:
        wire.send(request({**ASK, "messages": [{"role": "user", "content": content}]}))
        async with asyncio.timeout(5):
            await asked.wait()
        wire.leave()
        async with asyncio.timeout(1):
            await left.wait()
    assert not mock.requests


async def test_a_client_that_leaves_while_its_picture_is_decoded_asks_nothing_of_the_engine(
    gateway: str, mock: Mock
) -> None:
    picture = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(1_000_000)).decode()
    content = [{"type": "image_url", "image_url": {"url": picture}}]
    async with connected(gateway) as wire:
        wire.send(request({**ASK, "messages": [{"role": "user", "content": content}]}))
        await wire.writer.drain()
    async with connected(gateway) as wire:
        wire.send(request(ASK))
        assert (await wire.answer())[0] == 200
    assert len(mock.requests) == 1


class Written:
    """A transport that only notes what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def is_closing(self) -> bool:
        return False


async def test_pieces_of_one_turn_of_the_loop_go_out_together_and_before_what_comes_later() -> None:
    transport = Written()
    protocol = SimpleNamespace(transport=transport, link=None, outbox=Outbox())
    scope = {"http_version": "1.1", "method": "POST"}
    cycle = SimpleNamespace(
        scope=scope, disconnected=False, more_body=False, keep_alive=True, message_event=asyncio.Event()
    )
    cycle.on_response = lambda: None
    link = Link(cast(LimitedProtocol, protocol), cast(RequestResponseCycle, cycle))
    link.write(b"one")
    link.write(b"three")
    assert transport.pieces == []
    await asyncio.sleep(0)
    assert transport.pieces == [b"3\r\none\r\n5\r\nthree\r\n"]
    link.write(b"last")
    link.end()
    assert transport.pieces[1:] == [b"4\r\nlast\r\n0\r\n\r\n"]
    await asyncio.sleep(0)
    assert len(transport.pieces) == 2
