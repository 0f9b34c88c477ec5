"""A server whose latencies are known: what a harness must find. Speaks just enough of chat completions to be asked.

    python -m benchmarks.load.known --port 9090 --count 1500 --stall-at 20 --stall-s 2

The time to first token of the n-th request is the n-th of a list that is known beforehand (`delays`); then come pieces
at even steps. At `stall_at` seconds after the first request the whole process stands still for `stall_s`.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Sequence

import httptools
import orjson
import uvloop

MEDIAN_S, SIGMA = 0.2, 0.45
PIECES, STEP_S = 8, 0.02
PORT = 9090


def delays(count: int, seed: int = 0) -> list[float]:
    """Times to first token in seconds: a log-normal distribution's own quantiles, in a seeded order.

    >>> found = delays(1001)
    >>> round(statistics.median(found), 3), round(sorted(found)[990], 3)
    (0.2, 0.565)
    """
    normal = statistics.NormalDist(0, SIGMA)
    found = [MEDIAN_S * 2.718281828459045 ** normal.inv_cdf((index + 0.5) / count) for index in range(count)]
    random.Random(seed).shuffle(found)
    return found


def expected(moments: Sequence[float], waits: Sequence[float], stall_at: float, stall_s: float) -> list[float]:
    """What requests sent at `moments` must see, in seconds: all that falls into the stall waits for its end.

    >>> expected([0.0, 1.0, 2.5], [0.2, 0.2, 0.2], stall_at=1.1, stall_s=2)
    [0.2, 2.1, 0.8]
    """
    begin, end = moments[0] + stall_at, moments[0] + stall_at + stall_s
    found = []
    for moment, wait in zip(moments, waits, strict=True):
        due = moment + wait
        if begin <= moment < end:
            due = end + wait  # read only then, and made to wait from then on
        elif moment < begin <= due < end:
            due = end
        found.append(round(due - moment, 9))
    return found


class Known:
    """The server."""

    def __init__(self, waits: Sequence[float], *, stall_at: float = 0.0, stall_s: float = 0.0) -> None:
        self._waits, self._stall_at, self._stall_s = waits, stall_at, stall_s
        self._asked = 0

    def begin(self) -> float:
        """The next request's time to first token; the first one starts the clock of the stall."""
        if self._asked == 0 and self._stall_s:
            asyncio.get_running_loop().call_later(self._stall_at, time.sleep, self._stall_s)
        wait = self._waits[self._asked % len(self._waits)]
        self._asked += 1
        return wait


class Connection(asyncio.Protocol):
    """One client's connection; requests on it come one after the other."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._body = bytearray()
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        came_s, loop = time.perf_counter(), asyncio.get_running_loop()
        if b"chat/completions" not in self._path:
            self._write(
                _whole({"object": "list", "data": [{"id": "known", "object": "model", "max_model_len": 32768}]})
            )
        else:
            wait = self._known.begin()
            late_s = time.perf_counter() - came_s
            loop.call_later(max(0.0, wait - late_s), self._piece, 0)
        self._body.clear()
        self._parser = httptools.HttpRequestParser(self)

    def _piece(self, number: int) -> None:
        if number == 0:
            self._write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self._write(_chunk(_event(number)))
        if number + 1 < PIECES:
            asyncio.get_running_loop().call_later(STEP_S, self._piece, number + 1)
        else:
            self._write(_chunk(_usage()) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)  # type: ignore[attr-defined]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(number: int) -> bytes:
    choice = {"index": 0, "delta": {"content": f"w{number} "}, "finish_reason": None}
    return b"data: %b\n\n" % orjson.dumps({"id": "known", "object": "chat.completion.chunk", "choices": [choice]})


def _usage() -> bytes:
    usage = {"prompt_tokens": 16, "completion_tokens": PIECES, "total_tokens": 16 + PIECES}
    return b"data: %b\n\n" % orjson.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage})


def _whole(answer: object) -> bytes:
    body = orjson.dumps(answer)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def serve(port: int, known: Known) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(known), "127.0.0.1", port)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stall-at", type=float, default=0.0)
    parser.add_argument("--stall-s", type=float, default=0.0)
    options = parser.parse_args()
    known = Known(delays(options.count, options.seed), stall_at=options.stall_at, stall_s=options.stall_s)
    uvloop.run(serve(options.port, known))


if __name__ == "__main__":
    main()
