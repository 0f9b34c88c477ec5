"""The mock's other paths: those of vLLM beside completions, and `/mock/...` to look at it and to set it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.overhead.answers import failure, http
from benchmarks.overhead.wire import Request

if TYPE_CHECKING:
    from benchmarks.overhead.mock import Mock

VERSION = "0.32.0"
MAX_MODEL_LEN = 32768


def answer(mock: "Mock", path: bytes, request: Request) -> bytes:
    """The whole HTTP answer to a request for `path`."""
    method = request.method
    handler = PATHS.get((method, path))
    if handler is None:
        return http(404, orjson.dumps({"detail": "Not Found"}))
    try:
        return handler(mock, request)
    except (ValueError, AttributeError, TypeError) as exc:
        return http(400, failure(400, str(exc), "BadRequestError"))


def _json(value: Any) -> bytes:
    return http(200, orjson.dumps(value))


def _health(mock: "Mock", request: Request) -> bytes:
    return http(200 if mock.healthy else 503, b"")


def _models(mock: "Mock", request: Request) -> bytes:
    card = {
        "id": mock.model,
        "object": "model",
        "created": 1764000000,
        "owned_by": "vllm",
        "root": mock.model,
        "parent": None,
        "max_model_len": MAX_MODEL_LEN,
        "permission": [],
    }
    return _json({"object": "list", "data": [card]})


def _tokenize(mock: "Mock", request: Request) -> bytes:
    """A token for each word of the prompt, or of the messages as they stand."""
    body = orjson.loads(request.body)
    text = body["prompt"] if "prompt" in body else orjson.dumps(body.get("messages")).decode()
    tokens = list(range(len(text.split())))
    return _json({"count": len(tokens), "max_model_len": MAX_MODEL_LEN, "tokens": tokens, "token_strs": None})


def _metrics(mock: "Mock", request: Request) -> bytes:
    """The figures that a gateway reads from vLLM; names as in its v1/metrics/loggers.py."""
    steps, stats = mock.steps(), mock.stats()
    labels = f'{{engine="0",model_name="{mock.model}"}}'
    values = [
        ("num_requests_running", "gauge", stats["running"]),
        ("num_requests_waiting", "gauge", 0),
        ("kv_cache_usage_perc", "gauge", min(1.0, stats["running"] / 256)),
        ("iteration_tokens_total_count", "counter", steps),
        ("iteration_tokens_total_sum", "counter", steps),
        ("generation_tokens_total", "counter", steps),
        ("request_success_total", "counter", stats["finished"]),
    ]
    lines = []
    for name, kind, value in values:
        lines += [f"# TYPE vllm:{name} {kind}", f"vllm:{name}{labels} {float(value)}"]
    return http(200, ("\n".join(lines) + "\n").encode(), b"text/plain; version=0.0.4; charset=utf-8")


def _requests(mock: "Mock", request: Request) -> bytes:
    return _json(
        [
            {
                "method": kept.method,
                "url": kept.url.decode("latin-1"),
                "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in kept.headers],
                "body": kept.body.decode("utf-8", "replace"),
            }
            for kept in mock.requests
        ]
    )


def _behave(mock: "Mock", request: Request) -> bytes:
    """`{"fault": "die", "after": 3, "times": 1}`; `times` requests, all from now on without it."""
    changes = orjson.loads(request.body or b"{}")
    mock.healthy = bool(changes.pop("healthy", True))
    mock.behave(changes, int(changes.pop("times", 0)))
    return _json({})


def _refuse(mock: "Mock", request: Request) -> bytes:
    """`{"for_s": 2}`: gone for two seconds, this connection included."""
    for_s = float(orjson.loads(request.body or b"{}").get("for_s", 1))

    def away() -> None:
        task = asyncio.get_running_loop().create_task(mock.refuse(for_s))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    asyncio.get_running_loop().call_later(0.005, away)  # let this answer out first
    return _json({})


def _reset(mock: "Mock", request: Request) -> bytes:
    mock.reset()
    return _json({})


_tasks: set[asyncio.Task[None]] = set()

PATHS: dict[tuple[str, bytes], Callable[["Mock", Request], bytes]] = {
    ("GET", b"/health"): _health,
    ("GET", b"/v1/models"): _models,
    ("GET", b"/metrics"): _metrics,
    ("GET", b"/version"): lambda mock, request: _json({"version": VERSION}),
    ("POST", b"/tokenize"): _tokenize,
    ("GET", b"/mock/stats"): lambda mock, request: _json(mock.stats()),
    ("GET", b"/mock/aborts"): lambda mock, request: _json(mock.aborts),
    ("GET", b"/mock/requests"): _requests,
    ("POST", b"/mock/behaviour"): _behave,
    ("POST", b"/mock/refuse"): _refuse,
    ("POST", b"/mock/reset"): _reset,
}
