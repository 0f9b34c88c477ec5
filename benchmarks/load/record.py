"""One request as it is kept: a line of JSON. And how an exchange becomes one."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from benchmarks.load.wire import Exchange

EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
"""Between two server-sent events: vLLM and this server end lines with a line feed, others as the standard lets them."""


@dataclass(slots=True)
class Record:
    """Times are milliseconds. Latencies run from the moment the request was meant to be sent, so that neither a client
    nor a server that falls behind can hide it; `lag_ms` is how late it was sent.
    """

    index: int
    workload: str
    intended_s: float
    """From the run's start."""
    session: int = 0
    turn: int = 0
    lag_ms: float = 0.0
    connect_ms: float = 0.0
    upload_ms: float = 0.0
    head_ms: float = 0.0
    """From the request's last byte to the answer's head."""
    ttft_ms: float | None = None
    latency_ms: float = 0.0
    ended_s: float = 0.0
    itl_ms: list[float] = field(default_factory=list)
    """Between pieces of the answer that hold text."""
    prompt_tokens: int = 0
    visual_tokens: int = 0
    output_tokens: int = 0
    pictures: int = 0
    megapixels: float = 0.0
    sent_bytes: int = 0
    repeats: bool = False
    """Whether its pictures were sent before."""
    status: int = 0
    finish_reason: str | None = None
    error: str = ""
    request_id: str | None = None
    timing: str | None = None
    """The answer's `server-timing` header."""

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def tpot_ms(self) -> float | None:
        """Time of each token after the first, as `vllm bench serve` counts it."""
        if self.ttft_ms is None or self.output_tokens < 2:
            return None
        return (self.latency_ms - self.ttft_ms) / (self.output_tokens - 1)

    def line(self) -> bytes:
        return orjson.dumps(asdict(self)) + b"\n"


def read(exchange: Exchange, record: Record, *, start_s: float, intended_s: float) -> str:
    """Fill `record` from an exchange that is over; the answer's text. Both moments are of `time.perf_counter`."""
    record.lag_ms = _ms(exchange.began_s - intended_s)
    record.connect_ms = _ms(max(0.0, exchange.connected_s - exchange.began_s))
    record.upload_ms = _ms(max(0.0, exchange.sent_s - exchange.connected_s)) if exchange.sent_s else 0.0
    record.head_ms = _ms(max(0.0, exchange.head_s - exchange.sent_s)) if exchange.head_s else 0.0
    record.latency_ms = _ms(exchange.ended_s - intended_s)
    record.ended_s = exchange.ended_s - start_s
    record.status = exchange.status
    record.request_id = exchange.headers.get("x-request-id")
    record.timing = exchange.headers.get("server-timing")
    if exchange.error:
        record.error = exchange.error
        return ""
    if exchange.status != 200:
        record.error = f"status {exchange.status}: {_said(exchange.body)}"
        return ""
    if exchange.headers.get("content-type", "").startswith("text/event-stream"):
        return _stream(exchange, record, intended_s)
    return _whole(exchange, record, intended_s)


def _whole(exchange: Exchange, record: Record, intended_s: float) -> str:
    """An answer in one piece: its first token is its last."""
    try:
        answer = orjson.loads(exchange.body)
    except orjson.JSONDecodeError:
        record.error = "the answer is not JSON"
        return ""
    record.ttft_ms = _ms(exchange.ended_s - intended_s)
    _count(record, answer.get("usage"))
    choices = answer.get("choices") or [{}]
    record.finish_reason = answer.get("finish_reason") or choices[0].get("finish_reason")
    return str((choices[0].get("message") or {}).get("content") or "")


def _stream(exchange: Exchange, record: Record, intended_s: float) -> str:
    """Server-sent events, each with the time of the piece that completed it."""
    texts: list[str] = []
    last_s, rest, done = 0.0, b"", False
    for came_s, piece in exchange.pieces:
        *events, rest = EVENT_END.split(rest + piece)
        for event in events:
            data = _data(event)
            if data == b"[DONE]":
                done = True
            if data is None or data == b"[DONE]":
                continue
            text = _event(data, record)
            if text:
                if record.ttft_ms is None:
                    record.ttft_ms = _ms(came_s - intended_s)
                else:
                    record.itl_ms.append(_ms(came_s - last_s))
                last_s = came_s
                texts.append(text)
    if last_s:
        record.latency_ms = _ms(last_s - intended_s)  # as vllm bench serve: until the last piece of text
    if not done and not record.error:
        record.error = "the stream ended without [DONE]"
    if record.ttft_ms is None and not record.error:
        record.error = "the stream held no text"
    record.output_tokens = record.output_tokens or len(texts)
    return "".join(texts)


def _data(event: bytes) -> bytes | None:
    for line in event.splitlines():
        if line.startswith(b"data:"):
            return line[5:].strip()
    return None


def _event(data: bytes, record: Record) -> str:
    """The text of one event; errors, usage and finish reasons go into the record."""
    try:
        event: dict[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError:
        record.error = "an event is not JSON"
        return ""
    if "error" in event:
        record.error = f"error in the stream: {_said(data)}"
        return ""
    _count(record, event.get("usage"))
    for choice in event.get("choices") or []:
        record.finish_reason = choice.get("finish_reason") or record.finish_reason
        delta = choice.get("delta") or {}
        thought = delta.get("reasoning_content") or delta.get("reasoning")  # a caller sees it come, too
        return str(delta.get("content") or thought or choice.get("text") or "")
    return "" if "choices" in event else "item"  # of this server's tasks: an item, or the result


def _count(record: Record, usage: Any) -> None:
    if isinstance(usage, dict):
        record.prompt_tokens = int(usage.get("prompt_tokens") or 0)
        record.output_tokens = int(usage.get("completion_tokens") or 0)
        details = (usage.get("prompt_tokens_details") or {}).get("multimodal_tokens") or {}
        record.visual_tokens = sum(int(count) for count in details.values()) if isinstance(details, dict) else 0


def _said(body: bytes) -> str:
    try:
        error = orjson.loads(body)["error"]
        return str(error.get("message", error) if isinstance(error, dict) else error)[:200]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
