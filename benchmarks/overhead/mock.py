"""A mock engine with vLLM's OpenAI surface, fast enough to measure gateways: the one fake at the engine seam.

    python -m benchmarks.overhead.mock --port 9001 --interval-ms 20 --chunks 50

In a test: `mock = Mock(); url = await mock.listen(port=0)`, then `mock.behaviour`, `mock.requests`, `mock.stats()`, and
`await mock.close()`. Over HTTP the same is at `/mock/stats`, `/mock/requests`, `/mock/aborts`, `/mock/behaviour`,
`/mock/refuse` and `/mock/reset`. What can be set is in `behaviour.py`.
"""

import argparse
import asyncio
import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
import uvloop

from benchmarks.overhead import surface
from benchmarks.overhead.answers import STREAM_HEAD, Question, completion, failure, http, pieces, words
from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.stream import Stream, Ticker, finish_reason, token_count, word
from benchmarks.overhead.wire import Connection, Request

MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"


class BadQuestion(ValueError):
    """A body that vLLM would refuse; `args` are its answer's status, message, type and param."""


class Asked:
    """A request that the engine is working on."""

    __slots__ = ("_mock", "connection", "stream", "tag", "timer")

    def __init__(self, mock: "Mock", connection: Connection, tag: str) -> None:
        self._mock = mock
        self.connection = connection
        self.tag = tag
        self.stream: Stream | None = None
        self.timer: asyncio.TimerHandle | None = None

    def stalled(self) -> bool:
        """It will never end by itself."""
        return self.stream.stalled if self.stream is not None else self.timer is None

    def abandon(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.stream is not None:
            self.stream.leave()
        self._mock.aborted(self)


def pictures(body: dict[str, Any]) -> Iterator[int]:
    """A hash of each picture and clip of a chat request."""
    for message in body.get("messages") or ():
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            for kind in ("image_url", "video_url"):
                if kind in part:
                    yield hash(part[kind]["url"])


class Mock:
    """The engine's state: what runs, what was counted, how the next request is met."""

    def __init__(self, model: str = MODEL, behaviour: Behaviour | None = None, keep_requests: int = 64) -> None:
        self.model = model
        self.behaviour = behaviour or Behaviour()
        self.requests: deque[Request] = deque(maxlen=keep_requests)
        self.aborts: list[dict[str, Any]] = []
        self.running: set[Asked] = set()
        self.connections: set[Connection] = set()
        self.healthy = True
        self._first: Behaviour = self.behaviour
        self._once = 0
        self._tickers: dict[float, Ticker] = {}
        self._server: asyncio.Server | None = None
        self._address: tuple[str, int] | str = ""
        self._asked = self._finished = self._steps = 0
        self._shown: set[int] = set()

    # -- listening --------------------------------------------------------------------------------------------------
    async def listen(self, host: str = "127.0.0.1", port: int = 0, uds: str | None = None) -> str:
        """Start to accept; the base URL, `http://host:port` or `unix:/path`."""
        loop = asyncio.get_running_loop()
        if uds is not None:
            self._server = await loop.create_unix_server(self._connection, uds, backlog=2048)
            self._address = uds
            return f"unix:{uds}"
        self._server = await loop.create_server(self._connection, host, port, backlog=2048)
        port = self._server.sockets[0].getsockname()[1]
        self._address = (host, port)
        return f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop to accept and cut every connection, as a killed engine does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.transport.abort()
        while self.connections:
            await asyncio.sleep(0)

    async def refuse(self, for_s: float) -> None:
        """Be away: connections are cut and new ones refused, for `for_s` seconds."""
        await self.close()
        await asyncio.sleep(for_s)
        if isinstance(self._address, str):
            await self.listen(uds=self._address)
        else:
            await self.listen(*self._address)

    def _connection(self) -> Connection:
        return Connection(self.serve, self.connections)

    # -- answering --------------------------------------------------------------------------------------------------
    def serve(self, connection: Connection, request: Request) -> None:
        path, _, query = request.url.partition(b"?")
        if path in (b"/v1/chat/completions", b"/v1/completions"):
            self.requests.append(request)
            try:
                self._ask(connection, request, query, chat=path != b"/v1/completions")
            except BadQuestion as refusal:
                connection.transport.write(http(refusal.args[0], failure(*refusal.args)))
            except ValueError as exc:  # a behaviour that there is not
                connection.transport.write(http(400, failure(400, str(exc), "BadRequestError")))
            return
        connection.transport.write(surface.answer(self, path, request))

    def _ask(self, connection: Connection, request: Request, query: bytes, chat: bool) -> None:
        question, behaviour = self._read(request, query, chat)
        self._asked += 1
        if behaviour.fault == "refuse":
            connection.transport.close()
            return
        if behaviour.fault == "status":
            body = failure(behaviour.status, "EngineCore encountered an issue.", "InternalServerError")
            connection.transport.write(http(behaviour.status, body))
            return
        if question.stream:
            self._stream(connection, question, behaviour)
        elif behaviour.json_ms or behaviour.fault == "stall":
            self._answer_later(connection, question, behaviour)
        else:
            self._answer(connection, question, behaviour)

    def _read(self, request: Request, query: bytes, chat: bool) -> tuple[Question, Behaviour]:
        if request.method != "POST":
            raise BadQuestion(405, "Method Not Allowed", "MethodNotAllowedError")
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError as exc:
            raise BadQuestion(400, f"JSON decode error: {exc}", "BadRequestError") from exc
        if not isinstance(body, dict):
            raise BadQuestion(400, "Input should be a valid dictionary", "BadRequestError")
        model = body.get("model") or self.model
        if model != self.model:
            raise BadQuestion(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
        behaviour = self._behaviour_now().overlaid(body.get("mock") or {})
        header = request.header(b"x-mock")
        for text in (query, header):
            if text:
                behaviour = behaviour.overlaid(dict(parse_qsl(text.decode())))
        question = Question(
            model=model,
            chat=chat,
            stream=bool(body.get("stream")),
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            tag=str(body.get("user") or body.get("seed") or ""),
            said=str(body["messages"][-1]["content"]) if body.get("continue_final_message") else "",
            pictures=tuple(pictures(body)) if behaviour.picture_ms else (),
        )
        return question, behaviour

    def _behaviour_now(self) -> Behaviour:
        if self._once == 0:
            return self.behaviour
        now, self._once = self.behaviour, self._once - 1
        if self._once == 0:
            self.behaviour = self._first
        return now

    def _answer(self, connection: Connection, question: Question, behaviour: Behaviour) -> None:
        count = token_count(question, behaviour)
        text = behaviour.answer.removeprefix(question.said) or words(count, word(question, behaviour), question.said)
        tokens = len(pieces(text, count)) if behaviour.answer else count
        body = completion(question, self._new_id(question), text, tokens, finish_reason(question, tokens))
        self._steps += 1
        self._finished += 1
        whole = http(200, body)
        if behaviour.fault == "die":
            connection.transport.write(whole[: -len(body) // 2])
            connection.transport.close()
        else:
            connection.transport.write(whole)

    def _answer_later(self, connection: Connection, question: Question, behaviour: Behaviour) -> None:
        asked = self._begin(connection, question)
        if behaviour.fault == "stall":
            return

        def answer() -> None:
            self._end(asked)
            self._finished -= 1  # _answer counts it
            self._answer(connection, question, behaviour)

        asked.timer = asyncio.get_running_loop().call_later(behaviour.json_ms / 1000, answer)

    def _stream(self, connection: Connection, question: Question, behaviour: Behaviour) -> None:
        asked = self._begin(connection, question)
        stream = Stream(
            connection.transport,
            question,
            behaviour,
            self._new_id(question),
            self._ticker(behaviour.interval_ms),
            lambda: self._end(asked),
        )
        asked.stream = stream
        connection.transport.write(STREAM_HEAD)
        wait_ms = behaviour.ttft_ms + behaviour.picture_ms * len(set(question.pictures) - self._shown)
        self._shown.update(question.pictures)
        if wait_ms:
            asked.timer = asyncio.get_running_loop().call_later(wait_ms / 1000, stream.open)
        else:
            stream.open()

    def _new_id(self, question: Question) -> str:
        return f"{'chatcmpl' if question.chat else 'cmpl'}-{self._asked:032x}"

    def _ticker(self, interval_ms: float) -> Ticker | None:
        if not interval_ms:
            return None
        if interval_ms not in self._tickers:
            self._tickers[interval_ms] = Ticker(interval_ms / 1000, self._step)
        return self._tickers[interval_ms]

    # -- counting ---------------------------------------------------------------------------------------------------
    def _step(self) -> None:
        self._steps += 1

    def _begin(self, connection: Connection, question: Question) -> Asked:
        asked = Asked(self, connection, question.tag)
        self.running.add(asked)
        connection.work = asked
        return asked

    def _end(self, asked: Asked) -> None:
        self.running.discard(asked)
        asked.connection.work = None
        self._finished += 1

    def aborted(self, asked: Asked) -> None:
        """The client of `asked` left; the moment is noted, in nanoseconds of CLOCK_MONOTONIC."""
        self.running.discard(asked)
        self.aborts.append({"tag": asked.tag, "at_ns": time.monotonic_ns(), "stream": asked.stream is not None})

    def steps(self) -> int:
        """Steps made; where work waits that is not stuck, at least one more than at the last look."""
        if any(not asked.stalled() for asked in self.running):
            self._steps += 1
        return self._steps

    def stats(self) -> dict[str, int]:
        return {
            "requests": self._asked,
            "running": len(self.running),
            "finished": self._finished,
            "aborted": len(self.aborts),
            "connections": len(self.connections),
            "steps": self._steps,
        }

    def reset(self) -> None:
        """Forget what was counted and kept, cut what is in progress, and behave as at the start."""
        for asked in tuple(self.running):
            asked.abandon()
            asked.connection.work = None
            asked.connection.transport.abort()
        self.behaviour, self._once = self._first, 0
        self.requests.clear()
        self.aborts.clear()
        self._asked = self._finished = 0

    def behave(self, changes: dict[str, Any], times: int = 0) -> None:
        """Behave as at the start except for `changes`; for the next `times` requests, 0: from now on."""
        self.behaviour, self._once = self._first.overlaid(changes), times


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead.mock", description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the line printed names it")
    parser.add_argument("--uds", help="path of a Unix socket to listen on instead")
    parser.add_argument("--allowed-local-media-path", help="as the launcher gives it; nothing is read")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--keep-requests", type=int, default=64, help="requests kept for /mock/requests")
    for field in fields(Behaviour):
        flag = "--" + field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(flag, action="store_true")
        else:
            assert field.default is not MISSING
            assert isinstance(field.type, type)
            parser.add_argument(flag, type=field.type, default=field.default)
    return parser


async def run(options: argparse.Namespace) -> None:
    behaviour = Behaviour(**{name: getattr(options, name) for name in asdict(Behaviour())})
    mock = Mock(options.model, behaviour, options.keep_requests)
    if options.uds:
        Path(options.uds).unlink(missing_ok=True)
    print(f"listening on {await mock.listen(options.host, options.port, options.uds)}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await mock.close()


if __name__ == "__main__":
    uvloop.run(run(arguments().parse_args()))
