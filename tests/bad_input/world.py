"""A world of its own in which every address leads here, run in namespaces of its own by `World`.

    unshare -Urnm python -m tests.bad_input.world FOLDER

Whatever address the gateway under test connects to, on any of `PORTS`, this process takes the connection and knows
which it was: those of `PUBLIC` are web servers that give out `PAGES`; all others are noted as reached, which no row may
do. Names are answered by a name server on loopback, some of them differently each time. Rows come in and results go out
as lines of JSON.
"""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.bad_input.files import picture
from tests.bad_input.process import HELLO

ROOT = Path(__file__).parents[2]
PUBLIC = ("93.184.216.34", "93.184.216.35", "2606:2800:220:1::1")
PORTS = (80, 443, 22, 25, 6379, 8080, 9200)
GATEWAY_PORT = 8000
GOOD, GOOD_6 = PUBLIC[0], PUBLIC[2]
LIMITS = ["--media-max-bytes", "1048576", "--fetch-timeout-s", "1", "--media-workers", "1", "--batch-store", "off"]

ZONE: dict[str, list[list[str]]] = {
    # name: its answers, one after the other
    "good.example": [[GOOD]],
    "good6.example": [[GOOD_6]],
    "two-good.example": [[PUBLIC[1], GOOD]],
    "loopback.example": [["127.0.0.1"]],
    "loopback-high.example": [["127.255.255.254"]],
    "any.example": [["0.0.0.0"]],
    "private10.example": [["10.0.0.1"]],
    "private172.example": [["172.31.255.255"]],
    "private192.example": [["192.168.0.1"]],
    "carrier.example": [["100.64.0.1"]],
    "metadata.example": [["169.254.169.254"]],
    "metadata6.example": [["fd00:ec2::254"]],
    "benchmark.example": [["198.18.0.1"]],
    "documentation.example": [["203.0.113.7"]],
    "reserved.example": [["240.0.0.1"]],
    "loopback6.example": [["::1"]],
    "any6.example": [["::"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "compatible.example": [["::127.0.0.1"]],
    "nat64.example": [["64:ff9b::a9fe:a9fe"]],
    "6to4.example": [["2002:7f00:1::"]],
    "teredo.example": [["2001:0:7f00:1::"]],
    "local6.example": [["fe80::1"]],
    "unique6.example": [["fd12:3456::1"]],
    "site6.example": [["fec0::1"]],
    "mixed.example": [[GOOD, "10.0.0.1"]],
    "mixed-last.example": [[GOOD] * 20 + ["127.0.0.1"]],
    "mixed6.example": [[GOOD, "::1"]],
    "rebind.example": [[GOOD], ["127.0.0.1"]],
    "rebind-back.example": [["127.0.0.1"], [GOOD]],
    "rebind-metadata.example": [[GOOD], ["169.254.169.254"], ["169.254.169.254"]],
    "empty.example": [[]],
    "xn--bcher-kva.example": [["10.0.0.1"]],
}
SILENT = "silent.example"
"""The name server never answers for it, nor for names below it."""


# -- the name server -------------------------------------------------------------------------------------------------


class NameServer(asyncio.DatagramProtocol):
    """Answers from ZONE, with no time to live: each question is a new one."""

    def __init__(self) -> None:
        self.answers: dict[str, Iterator[list[str]]] = {}
        self.asked: list[str] = []

    def reset(self) -> None:
        self.answers = {name: cycle(found) for name, found in ZONE.items()}
        self._now: dict[str, list[str]] = {}
        self._kinds: dict[str, set[int]] = {}
        self.asked = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        name, end = _name(data, 12)
        kind = struct.unpack_from(">H", data, end)[0]
        if name == SILENT or name.endswith("." + SILENT):
            return
        if name not in self.answers:
            self._reply(data, end, [], 3, address)
            return
        # A and AAAA of one lookup belong together; the next lookup gets the next answer.
        seen = self._kinds.setdefault(name, set())
        if not seen or kind in seen:
            seen.clear()
            self._now[name] = next(self.answers[name])
            self.asked.append(name)
        seen.add(kind)
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        records = []
        for text in self._now[name] if family else []:
            if (":" in text) == (kind == 28):
                packed = socket.inet_pton(family or socket.AF_INET, text)
                records.append(struct.pack(">HHHLH", 0xC00C, kind, 1, 0, len(packed)) + packed)
        self._reply(data, end, records, 0, address)

    def _reply(self, question: bytes, end: int, records: list[bytes], code: int, address: Any) -> None:
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        self._transport.sendto(head + question[12 : end + 4] + b"".join(records), address)  # type: ignore[attr-defined]


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels = []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels).lower(), at + 1


# -- every other address ---------------------------------------------------------------------------------------------


class Everywhere:
    """Takes every connection."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        """Addresses and ports that no row may lead to."""
        self.pages: list[str] = []

    def reset(self) -> None:
        self.reached, self.pages = [], []

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("sockname")[:2]
        try:
            if address not in PUBLIC or port not in (80, 443):
                self.reached.append(f"{address} {port}")
                return
            if port == 443:
                return
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ")[1].decode()
            self.pages.append(target)
            await give(target, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


async def give(target: str, writer: asyncio.StreamWriter) -> None:
    """A page of the web."""
    url = urlsplit(target)
    if url.path == "/to":
        asked = parse_qs(url.query, keep_blank_values=True)
        status = asked.get("status", ["302"])[0]
        location = asked["url"][0].encode()
        writer.write(b"HTTP/1.1 %b Found\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % (status.encode(), location))
        return
    await PAGES[url.path](writer)


def whole(body: bytes, *lines: bytes, status: bytes = b"200 OK", length: int | None = None) -> Any:
    async def give(writer: asyncio.StreamWriter) -> None:
        size = b"" if length == -1 else b"content-length: %d\r\n" % (len(body) if length is None else length)
        writer.write(b"HTTP/1.1 %b\r\n%b%b\r\n%b" % (status, size, b"".join(line + b"\r\n" for line in lines), body))
        await writer.drain()

    return give


def endless(start: bytes, piece: bytes, every_s: float = 0) -> Any:
    async def give(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every_s)

    return give


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(20)


PNG = picture()
OK = b"HTTP/1.1 200 OK\r\n"
PAGES: dict[str, Any] = {
    "/good.png": whole(PNG),
    "/silence": silence,
    "/head-drips": endless(b"HTTP/1.1 200 O", b"K", 0.05),
    "/head-never-ends": endless(OK, b"x-more: " + b"y" * 1000 + b"\r\n"),
    "/one-long-header": endless(OK + b"x-long: ", b"y" * 4096),
    "/status-line-never-ends": endless(b"HTTP/1.1 200 ", b"y" * 4096),
    "/body-drips": endless(OK + b"content-length: 900000\r\n\r\n", b"\xff", 0.05),
    "/body-never-ends": endless(OK + b"\r\n", b"\xff" * 65536),
    "/chunks-never-end": endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"1000\r\n" + b"\xff" * 4096 + b"\r\n"),
    "/chunks-drip": endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n\xff\r\n", 0.05),
    "/a-chunk-of-a-terabyte": whole(b"10000000000\r\n" + b"\xff" * 100, b"transfer-encoding: chunked", length=-1),
    "/a-chunk-of-minus-one": whole(b"-1\r\n\xff\r\n", b"transfer-encoding: chunked", length=-1),
    "/chunk-extension-never-ends": endless(OK + b"transfer-encoding: chunked\r\n\r\n1;", b"y" * 4096),
    "/trailers-never-end": endless(OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: " + b"y" * 1000 + b"\r\n"),
    "/says-a-terabyte": whole(PNG, length=1 << 40),
    "/says-minus-one": whole(PNG, b"content-length: -5", length=-1),
    "/says-two-lengths": whole(PNG, b"content-length: 3", b"content-length: 70", length=-1),
    "/says-too-little": whole(PNG, length=20),
    "/says-too-much": whole(PNG, length=len(PNG) + 500),
    "/gzip": whole(b"\x1f\x8b" + bytes(50), b"content-encoding: gzip"),
    "/deflate": whole(bytes(50), b"content-encoding: deflate"),
    "/brotli": whole(bytes(50), b"content-encoding: br"),
    "/packed-chunks": whole(b"0\r\n\r\n", b"transfer-encoding: gzip, chunked", length=-1),
    "/continue-for-ever": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "/early-hints-for-ever": endless(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0.01),
    "/another-protocol": whole(b"", b"upgrade: websocket", b"connection: upgrade", status=b"101 Switching Protocols"),
    "/no-content": whole(b"", status=b"204 No Content"),
    "/part": whole(PNG[:30], b"content-range: bytes 0-29/100", status=b"206 Partial Content"),
    "/not-modified": whole(b"", status=b"304 Not Modified"),
    "/redirect-to-nothing": whole(b"", status=b"302 Found"),
    "/many-places": whole(b"", b"location: http://10.0.0.1/", status=b"300 Multiple Choices"),
    "/use-proxy": whole(b"", b"location: http://127.0.0.1/", status=b"305 Use Proxy"),
    "/refresh": whole(b"<html>", b"refresh: 0; url=http://127.0.0.1/"),
    "/sign-in": whole(b"", b"www-authenticate: Basic", status=b"401 Unauthorized"),
    "/proxy-sign-in": whole(b"", b"proxy-authenticate: NTLM", status=b"407 Proxy Authentication Required"),
    "/http-2": whole(b"", status=b"505 HTTP Version Not Supported"),
    "/no-http": endless(b"SSH-2.0-OpenSSH_9.6\r\n", b"\r\n", 0.05),
    "/tls": whole(b"\x16\x03\x01\x00\x05hello", status=b"\x16\x03\x01"),
    "/nothing": whole(b"", length=0),
    "/html": whole(b"<!doctype html><title>Sign in</title>"),
    "/script": whole(b"<?xml version='1.0'?><svg onload='alert(1)'/>"),
}


# -- the gateway in it -----------------------------------------------------------------------------------------------


def ask(url: str) -> dict[str, Any]:
    """A chat request about the picture at a URL."""
    content = [{"type": "image_url", "image_url": {"url": url}}]
    body = json.dumps({**HELLO, "messages": [{"role": "user", "content": content}]})
    connection = http.client.HTTPConnection("127.0.0.1", GATEWAY_PORT, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    error = told.get("error") or {}
    return {"status": answer.status, **{name: error.get(name) for name in ("code", "param", "message")}}


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def ready(child: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert child.poll() is None, "the gateway ended"
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", GATEWAY_PORT, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        await asyncio.sleep(0.05)
    raise TimeoutError("the gateway does not start")


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(folder: Path) -> None:
    """Serve rows until standard input ends."""
    _settle_in(folder)
    names, everywhere = NameServer(), Everywhere()
    names.reset()
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: names, ("127.0.0.1", 53))
    for port in PORTS:
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            await asyncio.start_server(everywhere.met, host, port, family=family)
    children = [_engine(folder), _gateway(folder)]
    try:
        await ready(children[1])
        await asyncio.to_thread(ask, "http://good.example/good.png")
        _say({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            names.reset()
            everywhere.reset()
            urls = json.loads(line)
            answers = await asyncio.gather(*(asyncio.to_thread(ask, url) for url in urls))
            pid = children[1].pid
            seen = {
                "reached": everywhere.reached,
                "pages": everywhere.pages,
                "names": names.asked,
                "peak_bytes": peak_bytes(pid),
                "files": len(os.listdir(f"/proc/{pid}/fd")),
                "alive": children[1].poll() is None,
            }
            _say({"answers": answers, **seen})
    finally:
        for child in children:
            child.kill()
            child.wait()


def _settle_in(folder: Path) -> None:
    """Every address is ours; names are asked here."""
    for words in (
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    files = {
        "resolv.conf": "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n",
        "hosts": "127.0.0.1 localhost house\n::1 localhost ip6-localhost\n10.0.0.1 intranet\n",
        "nsswitch.conf": "hosts: files dns\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        if not Path("/etc", name).exists():
            continue
        subprocess.run(["mount", "--bind", folder / name, Path("/etc", name)], check=True)


def _engine(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.overhead.mock", "--uds", str(folder / "engine")]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _gateway(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "server", "--port", str(GATEWAY_PORT), "--engine-url", f"unix:{folder / 'engine'}"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([*command, *LIMITS], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class World:
    """The same, seen from the test."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where namespaces cannot be had."""
        self.folder = folder
        command = ["unshare", "-Urnm", "--kill-child", sys.executable, "-m", "tests.bad_input.world", str(folder)]
        log = (folder / "world.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        if "ready" not in self._line():
            self.close()
            raise OSError((folder / "world.log").read_text()[-2000:])

    def ask(self, *urls: str) -> dict[str, Any]:
        """Ask the gateway about pictures, all at once; the answers, and what was seen meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(urls) + "\n")
        self._process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """The end of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {}
        return found


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
