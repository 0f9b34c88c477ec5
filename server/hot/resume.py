"""Going on with an answer on another engine from the text that is already there.

The second engine is shown the text as the beginning of its own answer (`continue_final_message`), so that at
temperature 0 it writes what the first one would have written. What cannot be gone on with (`why_not`): an answer under
a grammar, which starts at the grammar's beginning; several choices; log-probabilities, which the client could not tell
apart; a tool call that is half said.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson

from server.engines.pool import Pool
from server.errors import EngineUnavailable, GatewayError, ServerError

T = TypeVar("T")
LOOK_S = 0.1
CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
MOST_STILL = 2
"""An answer at which so many engines broke off without a word between them is given up: it may be what breaks them."""
MOST_CUTS = 6
"""So many engines may break off at one answer, with words between them."""
FOLD_EVENTS = 1024
"""Texts are kept as they were written until there are so many; most streams are never looked at."""
MOST_UNREAD = 8
"""Whole events that are kept like that; with more of them it may be that what surrounds a text has changed."""
NEWLINE = ord("\n")
"""As a number it is found three times as fast as in bytes."""

OPTIONS = {
    "structured_outputs": "a grammar is in force (structured_outputs)",
    "logprobs": "it tells log-probabilities (logprobs)",
    "prompt_logprobs": "it tells log-probabilities (prompt_logprobs)",
    "return_token_ids": "it tells token ids (return_token_ids)",
    "echo": "it repeats its prompt (echo)",
    "suffix": "it has an end to meet (suffix)",
    "use_beam_search": "it is searched for among several (use_beam_search)",
}
"""Fields that make an answer one that cannot be gone on with."""


def why_not(path: str, body: dict[str, Any]) -> str:
    """Why the answer to a request cannot be gone on with; "" if it can.

    >>> why_not(CHAT, {"messages": [], "n": 2})
    'it has 2 choices (n)'
    >>> why_not(CHAT, {"messages": [], "tools": [{}], "temperature": 0})
    ''
    """
    if path not in (CHAT, COMPLETION):
        return f"{path} streams cannot"
    if body.get("n") not in (None, 1):
        return f"it has {body['n']} choices (n)"
    for name, reason in OPTIONS.items():
        if body.get(name):
            return reason
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") != "text":
        return "a grammar is in force (response_format)"
    if body.get("tools") and body.get("tool_choice") not in (None, "auto", "none"):
        return "a grammar is in force (tool_choice)"
    if path == COMPLETION and not isinstance(body.get("prompt"), str):
        return "it has several prompts, or token ids (prompt)"
    if body.get("continue_final_message") and not isinstance(body["messages"][-1].get("content"), str):
        return "it goes on with a message in parts (continue_final_message)"
    return ""


def continued(payload: bytes, text: str, tokens: int) -> bytes:
    """The request that asks for what follows `text`, which is `tokens` long.

    >>> orjson.loads(continued(b'{"messages":[],"max_tokens":9}', "1, 2", 4))["messages"]
    [{'role': 'assistant', 'content': '1, 2'}]
    >>> continued(b'{"prompt":"Count: ","max_tokens":9}', "1, 2", 4)
    b'{"prompt":"Count: 1, 2","max_tokens":5}'
    """
    body: dict[str, Any] = orjson.loads(payload)
    if text and "prompt" in body:
        body["prompt"] += text
    elif text:
        if body.get("continue_final_message"):
            *before, last = body["messages"]
            body["messages"] = [*before, {**last, "content": last["content"] + text}]
        else:
            body["messages"].append({"role": "assistant", "content": text})
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
    for name, least in (("max_tokens", 1), ("max_completion_tokens", 1), ("min_tokens", 0)):
        if isinstance(body.get(name), int):
            body[name] = max(least, body[name] - tokens)
    return orjson.dumps(body)


def most_tokens(payload: bytes) -> int | None:
    """The longest answer that a request allows."""
    body = orjson.loads(payload)
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    return most if isinstance(most, int) else None


def whole(usage: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The usage of an answer whose first `tokens` tokens another engine wrote: to this one they were prompt.

    >>> whole({"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 26}, 4)
    {'prompt_tokens': 17, 'completion_tokens': 9, 'total_tokens': 26}
    """
    prompt = usage.get("prompt_tokens", 0) - tokens
    completion = (usage.get("completion_tokens") or 0) + tokens
    return {**usage, "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def patiently(wait_s: float, attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` gives, tried again while no engine is ready, for `wait_s` seconds at most."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + wait_s
    while True:
        try:
            return await attempt()
        except EngineUnavailable:
            if loop.time() > deadline_s:
                raise
        await asyncio.sleep(LOOK_S)


async def count_tokens(pool: Pool, model: str | None, text: str, guess: int, last: str) -> int:
    """Tokens of `text` as an engine counts them, preferably not `last`; `guess` where it cannot.

    Raises EngineUnavailable when none can be asked.
    """
    if not text:
        return 0
    body = orjson.dumps({"model": model, "prompt": text, "add_special_tokens": False})
    try:
        answer = await pool.ask("POST", "/tokenize", body, b"content-type: application/json\r\n", model, last=last)
    except EngineUnavailable:
        raise
    except GatewayError:
        return guess
    try:
        return int(orjson.loads(answer.body())["count"]) if answer.status == 200 else guess
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return guess
    finally:
        answer.close()


def not_resumed(failure: GatewayError, why: str) -> GatewayError:
    """The failure of a stream that ends here, and why nobody goes on with it.

    >>> not_resumed(ServerError("gone"), "it has 2 choices (n)").message
    'gone; no other engine can go on with the stream: it has 2 choices (n)'
    """
    if isinstance(failure, ServerError):
        failure.message = f"{failure.message}; no other engine can go on with the stream: {why}"
    return failure


class Said:
    """What a stream has told its client, from its events; read only when it has to be.

    Of an event that differs from others by its text alone, as most do, only the text is kept.

    >>> said = Said()
    >>> said.add(b'data: {"id":"a","choices":[{"delta":{"role":"assistant","content":""}}]}\\n\\n')
    >>> for word in (b"Hi", b" you", b"!"):
    ...     event = b'data: {"id":"a","choices":[{"delta":{"content":"%b"}}]}\\n\\n' % word
    ...     said.takes(event) or said.add(event)
    True
    True
    >>> said.read(); said.text, said.chunks, said.envelope
    ('Hi you!', 3, {'id': 'a'})
    >>> said.add(b'data: {"id":"a","choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\\n\\n'); said.read()
    >>> said.problem
    'a tool call is half said'
    """

    def __init__(self) -> None:
        self.chunks = 0
        """Events that had text: nearly one for each token."""
        self.envelope: dict[str, Any] = {}
        """What every event of the stream has in common: id, object, created, model."""
        self.finish_reason: str | None = None
        self.problem = ""
        """Why nobody can go on from here."""
        self._texts: list[str] = []
        self._kept: list[bytes | tuple[bytes]] = []
        """Texts, and whole events in tuples."""
        self._unread = 0
        """Whole events among them: a stream's last ones, mostly, which nobody will ask for."""
        self._before, self._begin = b"\0", 1
        """How events with text begin, and how much of them that is; no event begins with a zero."""
        self._after, self._end = b"\0", -1
        """How they go on after their text, and where from."""

    @property
    def text(self) -> str:
        """All of it, up to the last `read`."""
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    def takes(self, data: bytes) -> bool:
        """Keep an event of text that went out; False for all others, which `add` has to read."""
        if not data.startswith(self._before) or not data.endswith(self._after):
            return False
        text = data[self._begin : self._end]
        if NEWLINE in text:  # several events
            return False
        kept = self._kept
        kept.append(text)
        if len(kept) > FOLD_EVENTS:
            self.read()
        return True

    def add(self, data: bytes) -> None:
        """Whole events that went out."""
        if self._end < -1 and self._unread < MOST_UNREAD:  # what surrounds a text is known: no need to look at others
            self._unread += 1
            self._kept.append((data,))
            return
        self.read()
        self._read_events(data)

    def read(self) -> None:
        """Look at what was kept."""
        kept, self._kept = self._kept, []
        self._unread = 0
        before, after = self._before, self._after
        for text in kept:
            if isinstance(text, tuple):
                self._read_events(*text)
                continue
            try:
                self._texts.append(orjson.loads(b'"%b"' % text))
                self.chunks += bool(text)
            except orjson.JSONDecodeError:  # one that says more than text
                self._read_events(b"".join((before, text, after)))

    def _read_events(self, data: bytes) -> None:
        for line in data.split(b"\n"):
            if line.startswith(b"data: {"):
                text = self._event(orjson.loads(line[6:]))
                if text:
                    self._learn(line, text)

    def _learn(self, line: bytes, text: str) -> None:
        """What surrounds the text of this event surrounds that of others."""
        before, found, rest = line.partition(b'"content":"')
        written = orjson.dumps(text)[1:-1]
        if found and rest.startswith(written + b'"'):
            self._before, self._after = before + found, rest[len(written) :] + b"\n\n"
            self._begin, self._end = len(self._before), -len(self._after)

    def _event(self, event: dict[str, Any]) -> str:
        """Note what it says; its text."""
        said = ""
        if not self.envelope:
            self.envelope = {name: event[name] for name in ("id", "object", "created", "model") if name in event}
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or choice
            text = delta.get("content") or delta.get("text")
            if text:
                said += text
                self._texts.append(text)
                self.chunks += 1
            if delta.get("tool_calls"):
                self.problem = "a tool call is half said"
            elif delta.get("reasoning") or delta.get("reasoning_content"):
                self.problem = "it was thinking aloud"
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        return "" if self.finish_reason or self.problem else said
