"""Callers in a closed loop, half of them streaming, who know what they should be told.

Each request has a seed of its own, and the mock engine answers with it: an answer can be right, another's, or torn.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

HANG_S = 30.0
"""Nobody waits longer for the next byte."""
OUTCOMES = ("whole", "told", "torn", "wrong", "refused", "hung")
"""The answer is right; it ended with an error event; it ended without; it says something else; another status than 200;
no byte for HANG_S."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the callers ask for."""

    model: str
    callers: int = 16
    tokens: int = 40
    chat_path: str = "/v1/chat/completions"
    headers: dict[str, str] = field(default_factory=dict)
    questions: int = 0
    """How many different ones there are; 0: no two are alike."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of each request."""

    def body(self, seed: int) -> dict[str, Any]:
        """The request with this seed, not streamed."""
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": f"Say {seed}."}],
            "max_tokens": self.tokens,
            "temperature": 0,
            "seed": seed,
            **self.extra,
        }


@dataclass(slots=True)
class Tally:
    """How requests ended, by kind: `json`, `stream`, and `last-word` streams that no other engine can go on with."""

    ended: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    """Seconds, by kind."""

    @property
    def slowest_s(self) -> float:
        return max(self.slowest.values(), default=0.0)

    def add(self, kind: str, outcome: str, took_s: float, detail: str = "") -> None:
        self.ended.setdefault(kind, Counter())[outcome] += 1
        self.slowest[kind] = max(self.slowest.get(kind, 0.0), took_s)
        if outcome != "whole" and len(self.failures) < 40:
            self.failures.append(f"{kind} {outcome}: {detail[:200]}")

    def of(self, kind: str, outcome: str) -> int:
        return self.ended.get(kind, Counter())[outcome]

    def count(self, kind: str) -> int:
        return sum(self.ended.get(kind, Counter()).values())


def words(tag: str, tokens: int) -> str:
    """What the mock says to a request with this tag (`own_words`)."""
    return " ".join(f"{tag}{number}" for number in range(tokens))


class Callers:
    """Ask until told to stop."""

    def __init__(self, url: str, load: Load, expected: Callable[[str, int], str] = words) -> None:
        self.tally = Tally()
        self._url = url
        self._load = load
        self._expected = expected
        self._numbers = itertools.count(1000)
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to ask."""
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(self._load.callers)]

    async def stop(self) -> Tally:
        """Let each finish what it asked; the outcomes."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        return self.tally

    async def _call(self, number: int) -> None:
        """Of eight callers four stream, one of them with log-probabilities."""
        kind = ("json", "stream", "json", "stream", "json", "stream", "json", "last-word")[number % 8]
        async with httpx2.AsyncClient(base_url=self._url, timeout=HANG_S, headers=self._load.headers) as client:
            while not self._stopping:
                seed = next(self._numbers)
                seed = seed % self._load.questions if self._load.questions else seed
                began_s = time.monotonic()
                try:
                    outcome, detail = await self._ask(client, kind, seed)
                except httpx2.TimeoutException as exc:
                    outcome, detail = "hung", repr(exc)
                except httpx2.HTTPError as exc:
                    outcome, detail = "torn", repr(exc)
                self.tally.add(kind, outcome, time.monotonic() - began_s, detail)
                if outcome != "whole":
                    await asyncio.sleep(0.02)  # a caller that is refused at once would do nothing else

    async def _ask(self, client: httpx2.AsyncClient, kind: str, seed: int) -> tuple[str, str]:
        load = self._load
        body = load.body(seed)
        expected = self._expected(f"{seed}", load.tokens)
        if kind == "json":
            answer = await client.post(load.chat_path, json=body)
            if answer.status_code != 200:
                return "refused", answer.text
            said = answer.json()["choices"][0]["message"]["content"]
            return ("whole", "") if said == expected else ("wrong", said)
        body |= {"stream": True} | ({"logprobs": True} if kind == "last-word" else {})
        async with client.stream("POST", load.chat_path, json=body) as stream:
            text = (await stream.aread()).decode()
            return judged(stream.status_code, text, expected)


def judged(status: int, text: str, expected: str) -> tuple[str, str]:
    """How a stream ended.

    >>> event = 'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\\n\\n'
    >>> judged(200, event + "data: [DONE]\\n\\n", "Hi")[0], judged(200, event, "Hi")[0]
    ('whole', 'torn')
    >>> judged(200, 'data: {"error": {"message": "gone"}}\\n\\ndata: [DONE]\\n\\n', "Hi")[0]
    'told'
    """
    if status != 200:
        return "refused", text
    said, finished, ids = [], 0, set()
    payloads = [event.removeprefix("data: ") for event in text.split("\n\n") if event.startswith("data: ")]
    for payload in payloads:
        if payload == "[DONE]":
            continue
        try:
            event = json.loads(payload)
        except json.JSONDecodeError:
            return "torn", payload
        if "error" in event:
            return "told", payload
        ids.add(event.get("id"))
        for choice in event.get("choices") or ():
            said.append(choice["delta"].get("content") or "")
            finished += bool(choice.get("finish_reason"))
    if not payloads or payloads[-1] != "[DONE]" or finished != 1:
        return "torn", text[-200:]
    if len(ids) != 1 or "".join(said) != expected:
        return "wrong", "".join(said)
    return "whole", ""
