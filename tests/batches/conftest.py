"""A gateway with files and batches before a mock engine, and OpenAI's own client."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

import openai
import pytest
from openai.types import Batch, FileObject

from benchmarks.overhead.mock import MODEL, Mock
from tests.conftest import Running, until

CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def line(name: str, text: str = "hello", url: str = CHAT, **body: Any) -> dict[str, Any]:
    """A request of an input file."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 3, **body}
    return {"custom_id": name, "method": "POST", "url": url, "body": asked}


def jsonl(lines: Sequence[object]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in lines)


def read(text: str) -> list[dict[str, Any]]:
    """The lines of an output file."""
    return [json.loads(entry) for entry in text.splitlines()]


class Caller:
    """What a program does with OpenAI's client."""

    def __init__(self, url: str, key: str = "unused") -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def upload(self, lines: Sequence[object]) -> FileObject:
        return await self.client.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")

    async def batch(self, lines: Sequence[object], endpoint: Any = CHAT, window: Any = "24h", **more: Any) -> Batch:
        file = await self.upload(lines)
        return await self.client.batches.create(
            input_file_id=file.id, endpoint=endpoint, completion_window=window, **more
        )

    async def ended(self, batch: Batch, timeout_s: float = 30) -> Batch:
        """The batch, once it has ended."""
        found = batch

        async def has_ended() -> bool:
            nonlocal found
            found = await self.client.batches.retrieve(batch.id)
            await asyncio.sleep(0.02)
            return found.status in ENDED

        await until(has_ended, timeout_s)
        return found

    async def answers(self, file: str | None) -> list[dict[str, Any]]:
        """The lines of an output or error file."""
        assert file is not None
        return read((await self.client.files.content(file)).text)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "batches")


@pytest.fixture
async def caller(mock: Mock, running: Running, store: str) -> AsyncIterator[Caller]:
    async with running([await mock.listen()], batch_store=store) as url, Caller(url) as found:
        yield found
