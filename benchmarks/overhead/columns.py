"""What is measured on each gateway: four loads, each with its body, its connections and the figures it gives."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmarks.overhead.load import Load, Tally, Target, percentile
from benchmarks.photos import jpeg, photo

STREAMS = 128
TOKENS = 50
INTERVAL_MS = 20
PICTURE_BYTES = 750_000
PICTURE_WH = (2048, 1536)
"""Three megapixels: what a phone sends after its messenger made it smaller. Above the model's budget, so ours scales
it down, which the others leave to the engine."""


@dataclass(frozen=True, slots=True)
class Column:
    """One load."""

    name: str
    connections: int
    body: Callable[[str], dict[str, Any]]
    """The request for a model of that name."""
    figures: Callable[[Tally], dict[str, float]]
    chunks: int = 0
    stagger_s: float = 0

    async def measure(
        self, target: Target, model: str, cpu_s: Callable[[], float], warm_s: float, measure_s: float
    ) -> dict[str, float]:
        load = Load(target, self.body(model), cpu_s, self.chunks)
        tally = await load.run(self.connections, warm_s, measure_s, self.stagger_s)
        return {**self.figures(tally), "errors": tally.errors}


def text_body(model: str) -> dict[str, Any]:
    """About 0.9 KB, as an application asks."""
    rules = "You are a careful assistant. Answer in one short sentence and do not repeat the question. " * 5
    question = "What is the capital of the country whose flag is a red disc on a white ground? " * 3
    messages = [{"role": "system", "content": rules}, {"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": 8, "temperature": 0}


def stream_body(model: str) -> dict[str, Any]:
    return {**text_body(model), "max_tokens": TOKENS, "stream": True}


def picture_body(model: str) -> dict[str, Any]:
    """A JPEG of 0.75 MB, 1 MB as base64."""
    picture = {"type": "image_url", "image_url": {"url": picture_url()}}
    content = [picture, {"type": "text", "text": "Describe the picture."}]
    return {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 8}


@cache
def picture_url() -> str:
    """A photo-like JPEG, at the quality whose file is nearest to PICTURE_BYTES."""
    picture = photo(PICTURE_WH)
    files = [jpeg(picture, quality) for quality in range(84, 97, 2)]
    nearest = min(files, key=lambda file: abs(len(file) - PICTURE_BYTES))
    return "data:image/jpeg;base64," + base64.b64encode(nearest).decode()


def _json_figures(tally: Tally) -> dict[str, float]:
    return {"us_per_request": _us(tally.cpu_s, tally.requests), "requests_per_s": tally.requests / tally.duration_s}


def _single_figures(tally: Tally) -> dict[str, float]:
    return {
        "p50_ms": percentile(tally.latencies_s, 0.5) * 1e3,
        "p99_ms": percentile(tally.latencies_s, 0.99) * 1e3,
    }


def _stream_figures(tally: Tally) -> dict[str, float]:
    """`served`: how many streams the gateway kept going at the mock's pace."""
    stream_s = TOKENS * INTERVAL_MS / 1000
    return {
        "us_per_chunk": _us(tally.cpu_s, tally.chunks),
        "served": min(float(STREAMS), tally.requests / tally.duration_s * stream_s),
        "first_byte_p50_ms": percentile(tally.first_byte_s, 0.5) * 1e3,
        "first_byte_p99_ms": percentile(tally.first_byte_s, 0.99) * 1e3,
        "chunk_p50_ms": percentile(tally.chunk_delay_s, 0.5) * 1e3,
        "chunk_p99_ms": percentile(tally.chunk_delay_s, 0.99) * 1e3,
    }


def _us(cpu_s: float, count: int) -> float:
    return cpu_s / count * 1e6 if count else float("nan")


COLUMNS = (
    Column("json", 32, text_body, _json_figures),
    Column("single", 1, text_body, _single_figures),
    Column("stream", STREAMS, stream_body, _stream_figures, chunks=TOKENS, stagger_s=TOKENS * INTERVAL_MS / 1000),
    Column("picture", 4, picture_body, _json_figures),
)
