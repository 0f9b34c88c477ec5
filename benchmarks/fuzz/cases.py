"""Makes up requests from a server's OpenAPI with schemathesis, sends them, and says which answers are no answers.

Right is: a status below 500, or a failure that is the model's (the mock engine writes words and no boxes); for every
status of 400 and more OpenAI's error object with a code; a request id; and no connection that breaks off.
"""

import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2
import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy
from requests import Request
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from benchmarks.fuzz.mutated import requests

MODELS_FAULT = frozenset({"answer_unreadable", "action_impossible"})
"""Codes with a status of 5xx that a mock engine's words deserve."""
LONGEST_SHOWN = 600


@dataclass(slots=True)
class Found:
    """What came of all cases."""

    cases: int = 0
    by_operation: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    by_code: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, answer: httpx2.Response) -> None:
        """Note an answer."""
        self.cases += 1
        self.by_operation[what] += 1
        self.by_status[answer.status_code] += 1
        fault = wrong_with(answer)
        if answer.status_code >= 400 and not fault:
            self.by_code[answer.json()["error"]["code"]] += 1
        if fault:
            self.wrong.append(f"{fault}: {shown(answer)}")


def wrong_with(answer: httpx2.Response) -> str:
    """What is wrong with an answer, or ""."""
    if "x-request-id" not in answer.headers:
        return "no request id"
    if answer.status_code < 400:
        return ""
    try:
        error = answer.json()["error"]
        code, message = error["code"], error["message"]
    except (ValueError, KeyError, TypeError):
        return "no error object"
    if not isinstance(code, str) or not isinstance(message, str):
        return "an error object without words"
    if answer.status_code >= 500 and code not in MODELS_FAULT:
        return f"{answer.status_code} {code}"
    return ""


def shown(answer: httpx2.Response) -> str:
    """The request that was answered, cut short, as it may be sent again."""
    request = answer.request
    kept = {name: value for name, value in request.headers.items() if name in ("content-type", "authorization")}
    body = request.content.decode("latin-1")
    return f"{request.method} {request.url} {kept} {body}"[:LONGEST_SHOWN]


def fuzz(url: str, seed: int, *, by_schema: int, mutated: int) -> Found:
    """Sends about `by_schema` requests made up from the schema, half of them wrong on purpose, and `mutated` others."""
    found = Found()
    with httpx2.Client(base_url=url, timeout=30) as client:
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
        each = -(-by_schema // (2 * len(operations)))
        for operation in operations:
            for mode in GenerationMode:
                made = operation.as_strategy(generation_mode=mode).map(lambda case: _request(case, client))
                _send(made, each, seed, f"{operation.method.upper()} {operation.path}", client, found)
        changed = requests().map(lambda asked: client.build_request("POST", asked[0], content=_json(asked[1])))
        _send(changed, mutated, seed, "mutated", client, found)
    return found


def _json(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


def _send(
    made: SearchStrategy[httpx2.Request], count: int, seed: int, what: str, client: httpx2.Client, found: Found
) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(request=made)
    def send(request: httpx2.Request) -> None:
        request.headers.setdefault("content-type", "application/json")
        try:
            answer = client.send(request)
        except httpx2.TransportError as exc:
            found.wrong.append(f"{what}: {type(exc).__name__}: {exc}")
            return
        found.add(what if what != "mutated" else f"mutated {request.url.path}", answer)

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong with a request without fields
        send()


def _request(case: Any, client: httpx2.Client) -> httpx2.Request:
    """The case as bytes: schemathesis knows how its values are written, our client how they are sent."""
    made: dict[str, Any] = case.as_transport_kwargs(base_url=str(client.base_url).rstrip("/"))
    prepared = Request(
        made["method"],
        made["url"],
        headers=made.get("headers"),
        params=made.get("params"),
        cookies=made.get("cookies"),
        json=made.get("json"),
        data=made.get("data"),
        files=made.get("files"),
    ).prepare()
    body = prepared.body
    content = body.encode() if isinstance(body, str) else body
    assert content is None or isinstance(content, bytes)
    headers = [(name, str(value)) for name, value in prepared.headers.items() if name.lower() != "content-length"]
    return httpx2.Request(prepared.method or "GET", prepared.url or "", headers=headers, content=content)
