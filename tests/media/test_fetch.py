"""Fetching on a caller's word: what is refused, what is cut off, and that the address checked is the address used."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server.errors import CallerError, InvalidValue, MediaTooLarge, UrlForbidden, UrlUnreachable
from server.media.fetch import Fetcher
from server.settings import Settings

PICTURE = b"\x89PNG and the rest"
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[int]]]:
    """serve(answer) -> the port of a server that meets each request head with `answer(head, writer)`."""
    servers = []

    async def serve(answer: Answer) -> int:
        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        servers.append(await asyncio.start_server(met, "127.0.0.1", 0))
        return servers[-1].sockets[0].getsockname()[1]

    yield serve
    for server in servers:
        server.close()


def answering(head: str, body: bytes = b"") -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    return answer


def found(body: bytes = PICTURE) -> Answer:
    return answering(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)


def opened(port: int, **changes: object) -> Settings:
    """Settings that open this machine and one port, as a test server needs it."""
    options = {"fetch_allow_network": ["127.0.0.0/8"], "fetch_allow_port": [port], "fetch_timeout_s": 5, **changes}
    return Settings(**options)


async def fetched(settings: Settings, url: str, limit_bytes: int = 1000, **seams: object) -> bytes:
    file = io.BytesIO()
    length = await Fetcher(settings, **seams).fetch(url, file, limit_bytes, param="image", noun="image")
    assert length == len(file.getvalue())
    return file.getvalue()


async def refusal(settings: Settings, url: str, **seams: object) -> CallerError:
    with pytest.raises(CallerError) as caught:
        await fetched(settings, url, **seams)
    assert caught.value.param == "image"
    return caught.value


async def test_what_the_server_gives_is_written_whole(serve):
    port = await serve(found(b"x" * 1000))

    assert await fetched(opened(port), f"http://127.0.0.1:{port}/a.png?token=secret") == b"x" * 1000


async def test_the_request_asks_for_no_compression_and_sends_no_cookie(serve):
    heads = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head.lower())
        writer.write(b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: /two\r\n\r\n" if len(heads) == 1 else b"")
        await found()(head, writer) if len(heads) == 2 else None

    port = await serve(answer)

    assert await fetched(opened(port), f"http://127.0.0.1:{port}/one?a=b#part") == PICTURE
    assert heads[0].startswith(b"get /one?a=b http/1.1\r\n")
    assert heads[1].startswith(b"get /two http/1.1\r\n")
    assert all(b"accept-encoding: identity" in head and b"cookie" not in head for head in heads)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://172.16.0.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0.0.0.0/",
        "http://255.255.255.255/",
        "http://224.0.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::a00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://134744072/",
        "http://user:password@8.8.8.8/",
        "http://8.8.8.8:22/",
        "https://8.8.8.8:8443/",
        "http://\uff11\uff12\uff17.0.0.1/",
    ],
)
async def test_urls_that_lead_inwards_or_are_odd_are_refused_without_a_connection(url):
    error = await refusal(Settings(), url)

    assert type(error) in (UrlForbidden, InvalidValue)
    assert "secret" not in error.message


@pytest.mark.parametrize("url", ["http://", "http:///a.png", "http://exa mple.com/", "http://[::1/", "http://a:99999/"])
async def test_what_is_no_url_is_said_to_be_none(url):
    error = await refusal(Settings(), url)

    assert error.code in ("invalid_value", "url_forbidden")


async def test_one_private_address_among_public_ones_is_enough_to_refuse():
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    error = await refusal(Settings(), "http://both.example/", resolve=resolve)

    assert error.message == "image leads to both.example, which is not on the public Internet"


async def test_a_name_server_that_changes_its_mind_changes_nothing(serve):
    port = await serve(found())
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    assert await fetched(opened(port), f"http://rebind.example:{port}/", resolve=resolve) == PICTURE
    assert answers == [["10.0.0.1"]]  # asked once, and connected to what was checked


async def test_the_host_header_names_the_host_and_not_the_address(serve):
    heads = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        await found()(head, writer)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    port = await serve(answer)
    await fetched(opened(port), f"http://pictures.example:{port}/", resolve=resolve)

    assert f"host: pictures.example:{port}\r\n".encode() in heads[0].lower()


async def test_the_tls_handshake_names_the_host_and_not_the_address():
    hellos = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hellos.append(await reader.read(4096))
        writer.close()

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with await asyncio.start_server(met, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(opened(port), f"https://pictures.example:{port}/", resolve=resolve)

    assert type(error) is UrlUnreachable
    assert b"pictures.example" in hellos[0]


async def test_the_second_address_is_tried_when_the_first_does_not_answer(serve):
    port = await serve(found())

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    assert await fetched(opened(port), f"http://two.example:{port}/", resolve=resolve) == PICTURE


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "ftp://8.8.8.8/",
        "gopher://8.8.8.8/",
        "//10.0.0.1/",
    ],
)
async def test_a_redirect_is_checked_like_the_first_url(serve, target):
    port = await serve(answering(f"HTTP/1.1 302 Found\nLocation: {target}"))
    settings = opened(port, fetch_allow_port=[port, 80, 21], fetch_allow_network=["127.0.0.1/32"])

    assert type(await refusal(settings, f"http://127.0.0.1:{port}/")) is UrlForbidden


async def test_redirects_are_counted(serve):
    port = await serve(answering("HTTP/1.1 301 Moved\nLocation: /again"))

    error = await refusal(opened(port, fetch_max_redirects=2), f"http://127.0.0.1:{port}/")

    assert error.message == "image leads over more than 2 redirects"


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500, 503])
async def test_any_answer_but_a_file_is_named_by_its_status(serve, status):
    port = await serve(answering(f"HTTP/1.1 {status} Something\nContent-Length: 0"))

    error = await refusal(opened(port), f"http://127.0.0.1:{port}/path?key=secret")

    assert error.message == f"image is answered with status {status} by 127.0.0.1"
    assert type(error) is UrlUnreachable


async def test_a_length_that_is_declared_too_long_is_refused_at_once(serve):
    port = await serve(answering("HTTP/1.1 200 OK\nContent-Length: 99999999999"))

    error = await refusal(opened(port), f"http://127.0.0.1:{port}/")

    assert type(error) is MediaTooLarge
    assert error.details == {"limit": 1000, "value": 99999999999}


async def test_a_body_without_end_is_cut_off_at_the_limit(serve):
    sent = 0

    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()

    port = await serve(endless)

    assert type(await refusal(opened(port), f"http://127.0.0.1:{port}/")) is MediaTooLarge
    assert sent < 50_000_000


async def test_a_body_shorter_than_declared_is_not_taken_for_a_file(serve):
    port = await serve(answering("HTTP/1.1 200 OK\nContent-Length: 500", b"only this"))

    assert type(await refusal(opened(port), f"http://127.0.0.1:{port}/")) is UrlUnreachable


async def test_a_slow_body_ends_at_the_deadline(serve):
    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    port = await serve(slow)

    error = await refusal(opened(port, fetch_timeout_s=0.2), f"http://127.0.0.1:{port}/")

    assert error.message == "image was not fetched within 0.2 s"


async def test_a_compressed_answer_is_refused_because_it_may_be_a_bomb(serve):
    port = await serve(answering("HTTP/1.1 200 OK\nContent-Encoding: gzip", b"\x1f\x8b"))

    error = await refusal(opened(port), f"http://127.0.0.1:{port}/")

    assert error.message == "image is sent by 127.0.0.1 with content-encoding gzip, unasked"


@pytest.mark.parametrize(
    "garbage", [b"", b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", b"\x16\x03\x01"]
)
async def test_an_answer_that_is_not_http_is_unreachable(serve, garbage):
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)

    port = await serve(answer)

    assert type(await refusal(opened(port), f"http://127.0.0.1:{port}/")) is UrlUnreachable


async def test_a_name_without_address_and_a_closed_port_are_unreachable(serve):
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    error = await refusal(Settings(), "https://nowhere.example/a?key=secret", resolve=resolve)
    assert error.message == "image leads to nowhere.example, which has no address"
    assert type(await refusal(opened(1), "http://127.0.0.1:1/")) is UrlUnreachable


async def test_proxies_of_the_environment_are_not_used(serve, monkeypatch):
    port = await serve(found())
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    assert await fetched(opened(port), f"http://127.0.0.1:{port}/") == PICTURE


async def test_leaving_ends_the_fetch(serve):
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        try:
            await writer.wait_closed()
        finally:
            closed.set()

    port = await serve(answer)
    task = asyncio.create_task(fetched(opened(port), f"http://127.0.0.1:{port}/"))
    await arrived.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
