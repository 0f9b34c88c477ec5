"""The recipes of clients/recipes against the gateway and a real vLLM, as far as what they need is installed."""

import asyncio
from pathlib import Path

import pytest

from tests.clients import recipes
from tests.conftest import Running
from tests.tasks.common import pdf, picture

pytestmark = pytest.mark.engine

MOST_TOKENS = 512
"""A model with random weights fills a tool call with blanks before it is done."""
WAYS = {
    "openai_sdk": {"chat", "stream", "structured", "tools", "responses"},
    "langchain_chat": {"invoke", "stream", "structured"},
    "llamaindex_chat": {"chat", "stream"},
    "qwen_agent_chat": {"assistant"},
    "docling_vlm": {"pages", "markdown"},
    "vercel-ai": {"generateText", "streamText", "output"},
}


@pytest.mark.parametrize("name", WAYS)
async def test_every_way_of_a_recipe_gets_an_answer(engine_url: str, running: Running, tmp_path: Path, name: str):
    path = tmp_path / ("bill.pdf" if name == "docling_vlm" else "photo.jpg")
    path.write_bytes(pdf((200, 200, "Bill")) if name == "docling_vlm" else picture())
    recipes.command(name)  # skips what is not installed, before anything is started
    async with running([engine_url]) as url:
        printed = await asyncio.to_thread(recipes.run, name, url, path, MOST_TOKENS)
    assert set(printed) >= WAYS[name]
    for way in ("structured", "output", "tools"):
        if way in printed:
            assert "people" in printed[way] or "switch_light" in printed[way]
