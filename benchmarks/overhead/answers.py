"""The bytes that vLLM writes, made without vLLM.

Shapes dumped from vLLM 0.32's own response classes: a JSON answer carries its nulls, a stream's chunks leave unset
fields out (`exclude_unset` in entrypoints/openai/chat_completion/serving.py).
"""

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import orjson

CRLF = b"\r\n"
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"
PROMPT_TOKENS = 17
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 429: b"Too Many Requests"}


class Question(NamedTuple):
    """What the mock reads of a request."""

    model: str
    chat: bool
    stream: bool
    include_usage: bool
    max_tokens: int | None
    tag: str
    """`user`, else `seed`: tells requests apart behind a gateway."""
    said: str = ""
    """The beginning of the answer, where the request asks to go on with it (`continue_final_message`)."""
    pictures: tuple[int, ...] = ()
    """A hash of each picture and clip, where the engine's time depends on them."""


def http(status: int, body: bytes, content_type: bytes = b"application/json") -> bytes:
    """A whole answer, as uvicorn would send it.

    >>> http(200, b"{}").splitlines()[0]
    b'HTTP/1.1 200 OK'
    """
    return b"HTTP/1.1 %d %b\r\nserver: uvicorn\r\ncontent-length: %d\r\ncontent-type: %b\r\n\r\n%b" % (
        status,
        REASONS.get(status, b"Error"),
        len(body),
        content_type,
        body,
    )


def failure(status: int, message: str, kind: str, param: str | None = None) -> bytes:
    """vLLM's error object; its `code` is the number of the status."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": status}})


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int | None]:
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


def usage_json(prompt_tokens: int, completion_tokens: int) -> bytes:
    return orjson.dumps(usage(prompt_tokens, completion_tokens))


@lru_cache
def words(count: int, word: str = "token", said: str = "") -> str:
    """What the mock says when nobody told it what to say: one word a token. After `said`, what follows it.

    >>> words(3), words(2, "a", "a0 a1"), words(1, said=" ")
    ('token0 token1 token2', ' a2 a3', 'token0')
    """
    first = len(said.split())
    return (" " if first else "") + " ".join(f"{word}{i}" for i in range(first, first + count))


def pieces(text: str, count: int) -> list[str]:
    """`text` in `count` pieces (fewer if it is shorter), which joined are `text` again.

    >>> pieces("abcdefg", 3)
    ['abc', 'def', 'g']
    """
    size = max(1, -(-len(text) // max(1, count)))
    return [text[i : i + size] for i in range(0, len(text), size)]


def prompt_tokens(question: Question) -> int:
    """The same for every prompt, and what is already said."""
    return PROMPT_TOKENS + len(question.said.split())


def completion(question: Question, answer_id: str, text: str, tokens: int, finish_reason: str) -> bytes:
    """The body of an answer that is not streamed."""
    count = prompt_tokens(question)
    template = _completion(question.model, question.chat, text, usage_json(count, tokens), finish_reason)
    return template % (answer_id.encode(), int(time.time()))


@lru_cache
def _completion(model: str, chat: bool, text: str, used: bytes, finish_reason: str) -> bytes:
    """The same body, with places for the id and the time."""
    choice: dict[str, object] = {"index": 0}
    if chat:
        choice["message"] = {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": None,
        }
    else:
        choice["text"] = text
    choice |= {
        "logprobs": None,
        "finish_reason": finish_reason,
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }
    rest = orjson.dumps(
        {
            "model": model,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": orjson.Fragment(used),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }
    )
    kind = b"chat.completion" if chat else b"text_completion"
    return b'{"id":"%%b","object":"%b","created":%%d,%b' % (kind, rest[1:].replace(b"%", b"%%"))


def event(payload: bytes) -> bytes:
    """One server-sent event as one piece of a chunked body.

    >>> event(b"{}")
    b'a\\r\\ndata: {}\\n\\n\\r\\n'
    """
    return b"%x\r\ndata: %b\n\n\r\n" % (len(payload) + 8, payload)


class ChunkWriter:
    """Formats the chunks of one stream; what does not change between two of them is made once."""

    __slots__ = ("_after", "_before", "_chat", "_envelope", "_fixed", "_prompt_tokens")

    def __init__(self, question: Question, answer_id: str) -> None:
        self._chat = question.chat
        self._prompt_tokens = prompt_tokens(question)
        self._envelope: dict[str, object] = {
            "id": answer_id,
            "object": "chat.completion.chunk" if question.chat else "text_completion",
            "created": int(time.time()),
            "model": question.model,
        }
        self._before, self._after = self._chunk(
            {"delta": {"content": "\0"}} if question.chat else {"text": "\0"}, None
        ).split(b"\\u0000")
        self._fixed = len(self._before) + len(self._after) + 8

    def _chunk(self, said: dict[str, object], finish_reason: str | None) -> bytes:
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason, "token_ids": None}
        return orjson.dumps({**self._envelope, "choices": [choice]})

    def content(self, escaped: bytes) -> bytes:
        """A chunk that carries `escaped`, text as it stands between the quotes of a JSON string."""
        return b"%x\r\ndata: %b%b%b\n\n\r\n" % (self._fixed + len(escaped), self._before, escaped, self._after)

    def role(self) -> bytes:
        """The chunk that opens a chat stream; a completion has none."""
        if not self._chat:
            return b""
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        return event(orjson.dumps({**self._envelope, "choices": [choice], "prompt_token_ids": None}))

    def end(self, finish_reason: str, tokens: int, include_usage: bool) -> Iterator[bytes]:
        """The finish chunk, the usage chunk where it was asked for, `[DONE]`, and the end of the body."""
        yield event(self._chunk({"delta": {"content": ""}} if self._chat else {"text": ""}, finish_reason))
        if include_usage:
            yield event(orjson.dumps({**self._envelope, "choices": [], "usage": usage(self._prompt_tokens, tokens)}))
        yield b"%x\r\n%b\r\n" % (len(DONE), DONE)
        yield LAST_CHUNK
