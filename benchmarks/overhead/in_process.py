"""What a request and a chunk cost the gateway's own code: the whole app, with nothing behind its two transports.

    python -m benchmarks.overhead.in_process [--rounds 15] [--realtime] [--profile json|stream] [--only json|stream]

uvicorn's protocol, the edge, the hot path, the pool and the wire run as they do in `python -m server`, with a key,
limits, metrics, the access line and streams that can go on elsewhere; but what they write is thrown away, and what
they read was made before. So there is no kernel in the figures, and with `--realtime` 3% can be seen where
`benchmarks.overhead.run` sees 10. About 2 us of a request and 0.2 of a chunk are this driver's; caches are warmer than
between the system calls of a real server.

Prints CPU time of this thread, in microseconds, median and least of the rounds; then what a full garbage collection
costs, with what lives as long as the process left to it and kept from it (`server.__main__.spare_the_collector`).
"""

import argparse
import asyncio
import contextlib
import cProfile
import gc
import json
import os
import pstats
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson
import uvloop
from pydantic import SecretStr

from benchmarks.overhead import cpu
from benchmarks.overhead.answers import STREAM_HEAD, ChunkWriter, Question, completion, http, words
from benchmarks.overhead.columns import TOKENS, stream_body, text_body
from benchmarks.overhead.load import Target
from benchmarks.overhead.mock import MODEL
from benchmarks.overhead.rivals import API_KEY
from benchmarks.overhead.run import commit, machine
from server.__main__ import spare_the_collector
from server.app import Server, create_server
from server.edge.http import LimitedProtocol
from server.settings import Settings

CONNECTIONS = 32
STREAMS = 128
REQUESTS = 4000
WAVES = 8
"""Times that STREAMS streams are opened, fed and ended in a round."""
ENGINE_PORT = 1
ENGINE_URL = f"http://127.0.0.1:{ENGINE_PORT}"

QUESTION = Question(MODEL, chat=True, stream=True, include_usage=True, max_tokens=TOKENS, tag="")
JSON_ANSWER = http(200, completion(QUESTION, "chatcmpl-1", words(8), 8, "length"))
CONTROL = {
    b"/health": http(200, b""),
    b"/metrics": http(200, b""),
    b"/v1/models": http(200, orjson.dumps({"data": [{"id": MODEL, "object": "model"}]})),
}
_writer = ChunkWriter(QUESTION, "chatcmpl-1")
STREAM_BEGIN = STREAM_HEAD + _writer.role()
CHUNKS = [_writer.content(b"%016x" % number) for number in range(TOKENS)]
STREAM_END = b"".join(_writer.end("length", TOKENS, include_usage=True))


class NullTransport(asyncio.Transport):
    """A socket's place, with nobody at its other end."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 2), "sockname": ("127.0.0.1", 3)}.get(name, default)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


class EngineEnd(NullTransport):
    """The gateway's connection to an engine that answers everything at once, and goes on with streams when told."""

    def __init__(self, loop: "Loop", protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self.feed: Callable[[bytes], None] = protocol.data_received
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        asked = bytes(data)
        if asked.startswith(b"GET "):
            self._loop.call_soon(self.feed, CONTROL[asked.split(b" ", 2)[1]])
        elif b'"stream":true' in asked:
            self._loop.streams.append(self)
            self._loop.call_soon(self.feed, STREAM_BEGIN)
        else:
            self._loop.call_soon(self.feed, JSON_ANSWER)


class Loop(uvloop.Loop):
    """The loop of production, on which every connection out leads to an `EngineEnd`."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[EngineEnd] = []
        """Of engines that were asked for a stream."""

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], *_: object, **__: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        protocol = factory()
        return EngineEnd(self, protocol), protocol


class ClientEnd(NullTransport):
    """A client's connection: `on_write` hears what it is sent."""

    def __init__(self, server: Server, loop: Loop) -> None:
        super().__init__()
        self.on_write: Callable[[ClientEnd, bytes], None] = lambda client, data: None
        make = cast("type[LimitedProtocol]", server.config.http_protocol_class)
        self.protocol = make(config=server.config, server_state=server.server_state, app_state={}, _loop=loop)
        self.protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.on_write(self, cast(bytes, data))


class Bench:
    """The gateway, its clients and what is measured on them."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.server = create_server(
            Settings(api_key=[SecretStr(API_KEY)], batch_store="off", engine_poll_s=3600), [ENGINE_URL]
        )
        self.server.config.load()
        self._clients: list[ClientEnd] = []
        target = Target("127.0.0.1", ENGINE_PORT, API_KEY)
        self._json = target.request(text_body(MODEL))
        self._stream = target.request(stream_body(MODEL))

    async def start(self) -> None:
        """Open the engine."""
        await self.server.pool.start([ENGINE_URL])
        self._clients = [ClientEnd(self.server, self._loop) for _ in range(STREAMS)]

    async def close(self) -> None:
        """Close the engine."""
        for client in self._clients:
            client.protocol.connection_lost(None)
        await self.server.pool.close()

    async def json(self, requests: int = REQUESTS) -> float:
        """CPU seconds of one whole answer, CONNECTIONS clients asking again as soon as they have theirs."""
        done = self._loop.create_future()
        left = requests
        sent = 0

        def answered(client: ClientEnd, data: bytes) -> None:
            nonlocal left, sent
            assert data.startswith(b"HTTP/1.1 200"), data
            left -= 1
            if not left:
                done.set_result(None)
            if sent < requests:
                sent += 1
                self._loop.call_soon(client.protocol.data_received, self._json)

        began_s = time.thread_time()
        for client in self._clients[: min(CONNECTIONS, requests)]:
            client.on_write = answered
            sent += 1
            self._loop.call_soon(client.protocol.data_received, self._json)
        await done
        return (time.thread_time() - began_s) / requests

    async def open_streams(self, streams: int) -> None:
        """Until each has its first event."""
        for client in self._clients[:streams]:
            client.on_write = lambda client, data: None
            self._loop.call_soon(client.protocol.data_received, self._stream)
        await self._until(lambda: len(self._loop.streams) == streams)
        await self._turns(8)

    async def stream(self, waves: int = WAVES, streams: int = STREAMS) -> tuple[float, float]:
        """CPU seconds of a chunk; of a stream without its chunks."""
        chunks_s = total_s = 0.0
        for _ in range(waves):
            began_s = time.thread_time()
            await self.open_streams(streams)
            opened_s = time.thread_time()
            for chunk in CHUNKS:
                for engine in self._loop.streams:
                    engine.feed(chunk)
                await asyncio.sleep(0)  # what came in one turn goes out at its end
            fed_s = time.thread_time()
            await self.end_streams()
            total_s += time.thread_time() - began_s
            chunks_s += fed_s - opened_s
        count = waves * streams
        return chunks_s / count / TOKENS, (total_s - chunks_s) / count

    async def end_streams(self) -> None:
        """Until all are over."""
        streams, self._loop.streams = self._loop.streams, []
        for engine in streams:
            engine.feed(STREAM_END)
        await self._until(lambda: not self.server.server_state.tasks)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0)

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def collections(self) -> dict[str, float]:
        """Seconds of a full collection with streams open, and what it looks at."""
        await self.open_streams(STREAMS)
        figures: dict[str, float] = {}
        for name in ("all", "new"):
            figures[f"objects_{name}"] = len(gc.get_objects())
            figures[f"collection_{name}_ms"] = min(_collection_s() for _ in range(5)) * 1000
            if name == "all":
                await self.end_streams()
                spare_the_collector()
                await self.open_streams(STREAMS)
        await self.end_streams()
        return figures


def _collection_s() -> float:
    began_s = time.thread_time()
    gc.collect()
    return time.thread_time() - began_s


@contextlib.contextmanager
def running(loop: Loop) -> Iterator[Bench]:
    """A gateway, warm; what it writes to its log is not kept."""
    with contextlib.ExitStack() as stack:
        stack.callback(loop.close)
        asyncio.set_event_loop(loop)
        stack.enter_context(contextlib.redirect_stderr(stack.enter_context(open(os.devnull, "w"))))  # noqa: PTH123

        async def made() -> Bench:
            bench = Bench(loop)
            await bench.start()
            return bench

        bench = loop.run_until_complete(made())
        stack.callback(lambda: loop.run_until_complete(bench.close()))
        yield bench


def profiled(loop: Loop, bench: Bench, what: str) -> None:
    """Print the functions that take the most time, the profiler's own time among it."""
    profiler = cProfile.Profile()
    profiler.enable()
    loop.run_until_complete(bench.json() if what == "json" else bench.stream())
    profiler.disable()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(45)


def measured(loop: Loop, bench: Bench, rounds: int, only: str = "") -> dict[str, list[float]]:
    """Microseconds of each round."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        if only in ("", "json"):
            found.setdefault("JSON request", []).append(loop.run_until_complete(bench.json()) * 1e6)
        if only in ("", "stream"):
            chunk_s, stream_s = loop.run_until_complete(bench.stream())
            found.setdefault("streamed chunk", []).append(chunk_s * 1e6)
            found.setdefault("stream without its chunks", []).append(stream_s * 1e6)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead.in_process", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=["json", "stream"], default="", help="measure nothing else")
    parser.add_argument("--profile", choices=["json", "stream"], help="print where the time goes instead")
    parser.add_argument("--realtime", action="store_true", help="preempt all else on this core; needs root")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    before = machine()
    loop = Loop()
    figures: dict[str, dict[str, float]] = {}
    with running(loop) as bench, contextlib.ExitStack() as stack:
        loop.run_until_complete(bench.json())
        loop.run_until_complete(bench.stream())
        collector = loop.run_until_complete(bench.collections())
        if options.realtime:
            stack.enter_context(cpu.realtime([os.getpid()]))
        if options.profile:
            profiled(loop, bench, options.profile)
            return
        for name, rounds in measured(loop, bench, options.rounds, options.only).items():
            figures[name] = {"median_us": statistics.median(rounds), "least_us": min(rounds)}
    print("| what | median us | least us |\n| --- | --- | --- |")
    for name, figure in figures.items():
        print(f"| {name} | {figure['median_us']:.2f} | {figure['least_us']:.2f} |")
    print("\n| a full collection looks at | ms |\n| --- | --- |")
    print(f"| all {collector['objects_all']:,.0f} objects | {collector['collection_all_ms']:.1f} |")
    new = collector["objects_new"]
    print(f"| the {new:,.0f} that came after the start | {collector['collection_new_ms']:.2f} |\n")
    line = {
        "benchmark": "overhead in process",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "command": shlex.join(["python", "-m", "benchmarks.overhead.in_process", *sys.argv[1:]]),
        "machine": before,
        "figures": figures,
        "collector": collector,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
