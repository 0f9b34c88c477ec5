"""Twelve pictures, four questions each, in a shuffled order; and what the engines saw of it."""

import asyncio
import base64
import hashlib
import io
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from PIL import Image

INSTRUCTION = (
    "You are an inspector of parts. Look closely, answer in one sentence, and say so if you are not sure. " * 4
)
QUESTIONS = ("What is this?", "Which colours are there?", "Is anything broken?", "How many parts are there?")


def pictures(count: int, seed: int = 0) -> list[str]:
    """`data:` URIs of smooth noise: small files that all differ."""
    chance = random.Random(seed)
    uris = []
    for _ in range(count):
        coarse = Image.frombytes("RGB", (8, 8), chance.randbytes(8 * 8 * 3))
        out = io.BytesIO()
        coarse.resize((448, 336), Image.Resampling.BICUBIC).save(out, "JPEG", quality=80)
        uris.append(f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}")
    return uris


def bodies(model: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Every question about every picture, under one instruction that all share."""
    asked = [
        {
            "model": model,
            "messages": [
                {"role": "system", "content": INSTRUCTION},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": uri}},
                        {"type": "text", "text": question},
                    ],
                },
            ],
            "max_tokens": 8,
            "stream": True,
        }
        for uri in pictures(count, seed)
        for question in QUESTIONS
    ]
    random.Random(seed).shuffle(asked)
    return asked


async def ask_all(url: str, asked: Sequence[dict[str, Any]], at_once: int, headers: dict[str, str]) -> list[float]:
    """Seconds to each answer's first byte of text, in the order of `asked`; to its end where the model says nothing."""
    places = asyncio.Semaphore(at_once)
    async with httpx2.AsyncClient(base_url=url, timeout=60, headers=headers) as client:

        async def first_text_s(body: dict[str, Any]) -> float:
            async with places:
                began_s = time.perf_counter()
                async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                    assert answer.status_code == 200, (await answer.aread())[:300]
                    async for line in answer.aiter_lines():
                        if '"content":"' in line and '"content":""' not in line:
                            break
                    return time.perf_counter() - began_s

        return await asyncio.gather(*map(first_text_s, asked))


def of_repeats(asked: Sequence[dict[str, Any]], took_s: Sequence[float]) -> list[float]:
    """The seconds of all questions but each picture's first."""
    met: set[str] = set()
    repeats_s = []
    for body, seconds in zip(asked, took_s, strict=True):
        picture = body["messages"][1]["content"][0]["image_url"]["url"]
        if picture in met:
            repeats_s.append(seconds)
        met.add(picture)
    return repeats_s


@dataclass(frozen=True, slots=True)
class Shares:
    """What the engines saw."""

    requests: list[int]
    """Of each engine."""
    repeats: int
    cached: int
    """Repeats that went to an engine that had been shown the picture."""

    @property
    def largest(self) -> float:
        return max(self.requests) / sum(self.requests)


def shares(seen: Sequence[Sequence[str]]) -> Shares:
    """`seen`: for each engine the pictures that it was shown, in order.

    >>> shares([["a", "a", "b"], ["b"]])
    Shares(requests=[3, 1], repeats=2, cached=1)
    """
    kinds = {picture for pictures in seen for picture in pictures}
    total = sum(map(len, seen))
    first_on_engine = sum(len(set(pictures)) for pictures in seen)
    return Shares([len(pictures) for pictures in seen], total - len(kinds), total - first_on_engine)


def shown(requests: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The picture of each request that a mock engine kept (`/mock/requests`)."""
    for request in requests:
        body = json.loads(request["body"])
        for message in body.get("messages") or ():
            for part in message["content"] if isinstance(message["content"], list) else ():
                if part.get("type") == "image_url":
                    yield hashlib.blake2b(part["image_url"]["url"].encode(), digest_size=8).hexdigest()
