"""Workers that die are replaced, a parent that dies takes them along, and whoever is told to stop finishes first."""

import asyncio
import os
import shlex
import signal
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.__main__ import RED_DISC
from server.engines.guard import family
from server.settings import Settings
from server.workers import parent
from server.workers.parent import QUIET_S
from tests.conftest import ASK, until
from tests.workers.conftest import ROOT, START_S, alive, engine, one_each, serving, spawned, wait_until
from tests.workers.test_workers import CHAT, metric

PICTURE: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": RED_DISC}}]}]


def stream_of(tokens: int, interval_ms: int) -> dict[str, Any]:
    """A request whose answer takes a while."""
    return {**ASK, "max_tokens": tokens, "stream": True, "mock": {"interval_ms": interval_ms}}


def worker_of(answer: httpx2.Response, workers: Iterable[int]) -> int:
    """Process id of the worker that an answer came from: it has the other end of the connection."""
    port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}")}
    return next(pid for pid in workers if ends & {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()})


async def whole(client: httpx2.AsyncClient, begun: "asyncio.Event", tokens: int = 30) -> str:
    """A stream's text, to its end; `begun` when its first bytes are here."""
    text = ""
    async with client.stream("POST", CHAT, json=stream_of(tokens, 50)) as answer:
        async for piece in answer.aiter_text():
            text += piece
            begun.set()
    return text


async def begun_streams(clients: Sequence[httpx2.AsyncClient]) -> list["asyncio.Task[str]"]:
    """A stream to each, whose first bytes are here."""
    begun = [asyncio.Event() for _ in clients]
    streams = [asyncio.create_task(whole(*pair)) for pair in zip(clients, begun, strict=True)]
    for each in begun:
        await each.wait()
    return streams


async def test_a_worker_that_is_killed_is_replaced_and_the_others_do_not_notice(
    engine_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, engine_url=engine_url) as server:
        async with AsyncExitStack() as stack:
            one, other = await one_each(server.url, stack)
            for client in (one, other):
                assert (await client.post(CHAT, json=ASK)).status_code == 200
            asked = await metric(one, "qvl_requests_total", path=CHAT)  # what is shown once is never taken back
            begun = asyncio.Event()
            stream = asyncio.create_task(whole(one, begun))
            await begun.wait()
            before = set(server.workers())
            victim = worker_of(await other.get("/healthz"), before)
            os.kill(victim, signal.SIGKILL)
            codes = []
            while set(server.workers()) == before or len(server.workers()) < 2 or len(codes) < 20:
                async with httpx2.AsyncClient(base_url=server.url, timeout=30) as fresh:
                    codes.append((await fresh.post(CHAT, json=ASK)).status_code)
            assert set(codes) == {200}
            assert (await stream).rstrip().endswith("data: [DONE]")
            assert victim not in server.workers()
            asked += len(codes) + 1

            async def is_counted() -> bool:
                return await metric(one, "qvl_requests_total", path=CHAT) == asked

            await until(is_counted)
            pair = await one_each(server.url, stack)  # the new one takes its part
            assert len(pair) == 2


async def test_a_crowd_that_connects_while_no_worker_looks_is_served_in_the_end(
    engine_url: str, tmp_path: Path
) -> None:
    crowd = 700  # more than two doors hold
    with serving(tmp_path, engine_url=engine_url) as server, ExitStack() as stack:
        for pid in server.workers():
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)
        async with AsyncExitStack() as connections:
            address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
            pairs = []
            for _ in range(crowd):
                reader, writer = await asyncio.open_connection(*address)
                connections.callback(writer.close)
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
                pairs.append((reader, writer))
            stack.close()
            async with asyncio.timeout(60):
                answers = [await reader.read() for reader, _ in pairs]
        assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200")] == []


async def test_a_worker_that_hangs_is_passed_over(engine_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, engine_url=engine_url) as server, ExitStack() as stack:
        stuck, *_ = server.workers()
        os.kill(stuck, signal.SIGSTOP)
        stack.callback(os.kill, stuck, signal.SIGCONT)
        await asyncio.sleep(QUIET_S + 1)
        async with AsyncExitStack() as connections:
            for _ in range(4):
                fresh = await connections.enter_async_context(httpx2.AsyncClient(base_url=server.url, timeout=30))
                assert (await fresh.post(CHAT, json=ASK)).status_code == 200
            assert await metric(fresh, "qvl_workers") == 2  # told by the one for both


async def test_a_worker_that_hangs_for_long_is_replaced(
    engine_url: str, tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "HUNG_S", 5)
    settings = Settings(workers=2, port=unused_tcp_port, media_workers=1, batch_store=str(tmp_path), leave_delay_s=0)
    server = parent.Parent(settings, [engine_url])
    serving_it = asyncio.create_task(server.serve())
    try:
        await asyncio.wait_for(server.listening.wait(), START_S)

        def workers() -> set[int]:
            return {pid for pid, command in family(os.getpid()).items() if " server worker " in command}

        before = workers()
        hung = min(before)
        os.kill(hung, signal.SIGSTOP)
        await until(lambda: hung not in workers() and len(workers()) == 2, timeout_s=START_S)
    finally:
        server.should_exit = True
        await serving_it
    assert not workers()


async def test_a_parent_that_is_killed_leaves_nothing(engine_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, engine_url=engine_url) as server:
        processes = server.processes()
        assert len(server.workers()) == 2
        assert len(processes) >= 4  # and what decodes
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not alive(processes))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_streams_of_all_workers_finish_when_the_server_is_stopped(
    number: signal.Signals, engine_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, engine_url=engine_url, leave_delay_s=0.5) as server:
        processes = server.processes()
        async with AsyncExitStack() as stack:
            clients = await one_each(server.url, stack)
            streams = await begun_streams(clients)
            server.process.send_signal(number)
            for stream in streams:
                text = await stream
                assert text.rstrip().endswith("data: [DONE]")
                assert '"error"' not in text
            await until(lambda: server.process.poll() is not None)
        assert server.process.poll() == 0
        assert alive(processes) == []


async def test_while_it_leaves_readiness_is_off_on_all_workers_and_requests_are_still_taken(
    engine_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, engine_url=engine_url, leave_delay_s=20) as server:
        async with AsyncExitStack() as stack:
            clients = await one_each(server.url, stack)
            server.process.terminate()

            async def is_off(client: httpx2.AsyncClient) -> bool:
                return (await client.get("/readyz")).status_code == 503

            for client in clients:
                await until(lambda client=client: is_off(client))  # type: ignore[misc]
            for _ in range(4):
                async with httpx2.AsyncClient(base_url=server.url, timeout=30) as fresh:
                    assert (await fresh.post(CHAT, json=ASK)).status_code == 200
            server.process.send_signal(signal.SIGINT)  # in a hurry, after all
            await until(lambda: server.process.poll() is not None)


async def test_what_takes_too_long_is_told_so(engine_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, engine_url=engine_url, leave_limit_s=0.5) as server:
        async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
            begun = asyncio.Event()
            stream = asyncio.create_task(whole(client, begun, tokens=20_000))
            await begun.wait()
            server.process.terminate()
            text = await stream
            assert "server_leaving" in text
        await until(lambda: server.process.poll() is not None)


async def test_a_worker_that_is_told_to_stop_finishes_and_is_replaced(engine_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, engine_url=engine_url) as server:
        before = set(server.workers())
        async with AsyncExitStack() as stack:
            clients = await one_each(server.url, stack)
            streams = await begun_streams(clients)
            os.kill(min(before), signal.SIGTERM)
            for stream in streams:
                assert (await stream).rstrip().endswith("data: [DONE]")

            async def answers() -> bool:
                async with httpx2.AsyncClient(base_url=server.url, timeout=30) as fresh:
                    assert (await fresh.get("/readyz")).status_code == 200
                return len(set(server.workers()) - before) == 1 and len(server.workers()) == 2

            await until(answers)


async def test_an_engine_of_our_own_is_shared_and_takes_files(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"  # one that has "vLLM"
    interpreter.write_text(
        "#!/bin/sh\n"
        'while [ $# -gt 1 ]; do case "$1" in --uds) uds=$2;; --served-model-name) model=$2;; esac; shift; done\n'
        f"cd {shlex.quote(str(ROOT))} && "
        f'exec {sys.executable} -m benchmarks.overhead.mock --uds "$uds" --model "$model"\n'
    )
    interpreter.chmod(interpreter.stat().st_mode | stat.S_IXUSR)
    with serving(tmp_path, engine_python=interpreter) as server:
        processes = server.processes()
        assert sum("overhead.mock" in command for command in processes.values()) == 1
        async with AsyncExitStack() as stack:
            clients = await one_each(server.url, stack)
            urls = {(await client.get("/v1/engines")).json()["data"][0]["engine"] for client in clients}
            socket = urls.pop().removeprefix("unix:")
            assert not urls
            for client in clients:
                answer = await client.post(CHAT, json={**ASK, "model": "qwen2.5-vl", "messages": PICTURE})
                assert answer.status_code == 200, answer.text
            transport = httpx2.AsyncHTTPTransport(uds=socket)
            async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as direct:
                asked = (await direct.get("/mock/requests")).text
            assert asked.count("file://") == 2
        server.process.terminate()
        await until(lambda: server.process.poll() is not None)
        assert server.process.poll() == 0
        assert alive(processes) == []


def test_a_port_that_is_taken_is_said(engine_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, engine_url=engine_url) as server:
        port = server.url.rpartition(":")[2]
        log = tmp_path / "second.log"
        words = ["server", f"--engine-url={engine_url}", f"--port={port}", "--workers=2", "--batch-store=off"]
        with spawned(log, *words) as second:
            assert second.wait(START_S) == 1
        assert f"cannot listen on 127.0.0.1:{port}" in log.read_text()


def test_workers_that_cannot_start_end_the_server(tmp_path: Path) -> None:
    with engine(tmp_path) as engine_url:
        log = tmp_path / "server.log"
        words = [f"--engine-url={engine_url}", "--port=0", "--workers=2", "--batch-store=postgresql://me:secret@host/b"]
        with spawned(log, "server", *words) as server:
            assert server.wait(START_S) == 1
        assert "cannot start" in log.read_text()


def test_the_workers_own_command_is_not_for_people(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with spawned(log, "server", "worker") as process:
        assert process.wait(START_S) == 2
    assert "which starts it with --workers" in log.read_text()
