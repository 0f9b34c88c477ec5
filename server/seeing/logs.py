"""What is written to stderr: a line a request, and the program's own messages; as text or, for machines, as JSON.

A line holds names and numbers: the key's name, never the key; the path, never its query; an error's code, never what
the caller sent.
"""

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import orjson

from server.exchange import Exchange

Format = Literal["text", "json"]
BATCH_S = 0.25
"""A write for each line would cost as much as parsing a request's JSON."""
MESSAGE = "%(levelname)s %(name)s: %(message)s"


class AccessLog:
    """One line a request, written in batches."""

    def __init__(self, *, enabled: bool, form: Format) -> None:
        self._line = _json if form == "json" else _text
        self._enabled = enabled
        self._lines: list[str] = []

    def add(self, exchange: Exchange, duration_s: float) -> None:
        """Note a finished request."""
        if not self._enabled:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(BATCH_S, self.flush)
        self._lines.append(self._line(exchange, duration_s))

    def flush(self) -> None:
        """Write what is noted."""
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write("".join(lines))
            sys.stderr.flush()


def _text(exchange: Exchange, duration_s: float) -> str:
    line = (
        f"{exchange.method} {_one_line(exchange.path)} {exchange.status} {duration_s * 1000:.1f}ms "
        f"id={exchange.id.decode()} caller={exchange.caller}"
    )
    if exchange.code:
        line += f" code={exchange.code}"
    if exchange.prompt_tokens or exchange.completion_tokens:
        line += f" tokens={exchange.prompt_tokens}+{exchange.completion_tokens}"
    return line + "\n"


def _json(exchange: Exchange, duration_s: float) -> str:
    return orjson.dumps(facts(exchange, duration_s)).decode() + "\n"


def facts(exchange: Exchange, duration_s: float) -> dict[str, Any]:
    """All that is told of a request. Times in milliseconds; `stages_ms` are summed up by name and may overlap."""
    told: dict[str, Any] = {
        "time": now(),
        "level": "error" if exchange.status >= 500 else "info",
        "event": "request",
        "request_id": exchange.id.decode(),
        "method": exchange.method,
        "path": exchange.path,
        "route": exchange.route,
        "status": exchange.status,
        "duration_ms": round(duration_s * 1000, 2),
        "caller": exchange.caller,
    }
    if exchange.first_byte_s:
        told["first_byte_ms"] = round((exchange.first_byte_s - exchange.started_s) * 1000, 2)
    more = {
        "code": exchange.code,
        "model": exchange.model,
        "prompt_tokens": exchange.prompt_tokens,
        "completion_tokens": exchange.completion_tokens,
        "visual_tokens": exchange.visual_tokens,
        "trace_id": exchange.trace.trace_id if exchange.trace is not None else "",
    }
    told |= {name: value for name, value in more.items() if value}
    if exchange.stages:
        spent: dict[str, float] = {}
        for stage in exchange.stages:
            spent[stage.name] = round(spent.get(stage.name, 0) + (stage.ended_s - stage.began_s) * 1000, 2)
        told["stages_ms"] = spent
    return told


def now() -> str:
    """The moment, as JSON has it.

    >>> len(now()), now()[-1]
    (24, 'Z')
    """
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(path: str) -> str:
    """A path as a log shows it: what a caller made up must not end the line, nor steer a terminal.

    >>> _one_line("/healthz"), _one_line("/a\\nGET /forged 200")
    ('/healthz', '/a%0AGET%20/forged%20200')
    """
    return path if path.isprintable() and " " not in path else quote(path)


class JsonFormatter(logging.Formatter):
    """The program's own messages, one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        told = {
            "time": now(),
            "level": record.levelname.lower(),
            "event": "message",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(told).decode()


def set_up(level: str, form: Format) -> None:
    """Where the program's own messages go: to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(MESSAGE))
    logging.basicConfig(level=level.upper(), handlers=[handler])
