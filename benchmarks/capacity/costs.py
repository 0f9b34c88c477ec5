"""What one unit of work costs, and where the figure is from. Seconds are CPU seconds of one core."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of request, as a gateway sees it."""

    name: str
    gateway_cpu_s: float
    """Parsing, checking, counting; on the event loop, one core a process."""
    decode_cpu_s: float
    """Decoding and scaling in worker processes."""
    source: str


@dataclass(frozen=True)
class EngineRate:
    """What one engine does, from somebody's measurement."""

    name: str
    gpus: int
    per_s: float
    """Requests a second at its best, all of one kind."""
    alone_s: float
    """One request when nothing else runs."""
    places: int
    """Requests at once (`--max-num-seqs` or what the KV cache holds)."""
    source: str


OVERHEAD = "benchmarks/README.md, overhead, 2026-11-23"
PHOTOS = "benchmarks/results/big-pictures-2026-11-23.json"
SAMPLING = "benchmarks/results/sampling-2026-11-23.json"

CHAT = Kind("chat, 50 tokens streamed", 72e-6 + 50 * 24.4e-6, 0, OVERHEAD)
PHOTO = Kind("photo of 12 megapixels", 0.020, 0.058, PHOTOS)
SMALL = Kind("picture of 3 megapixels", 0.005, 0.0387, f"{OVERHEAD}; the loop's share is assumed")
MINUTE = Kind("minute of video", 0.005, 5.22, f"{SAMPLING}, every frame decoded; the loop's share is assumed")
KINDS = (CHAT, SMALL, PHOTO, MINUTE)

CARDS = "Neural Magic's model cards, vLLM 0.7.2, GuideLLM, 2025-02; facts are theirs, not measured here"
RECIPE = "vLLM's recipe for 4 x A100, prefix cache off, VisionArena; theirs, not measured here"
ENGINES = (
    EngineRate("7B bf16, A6000 48 GB, caption of a small picture", 1, 1.7, 3.1, 64, CARDS),
    EngineRate("7B bf16, A100 80 GB, caption of a small picture", 1, 3.0, 1.7, 128, CARDS),
    EngineRate("7B bf16, H100 80 GB, caption of a small picture", 1, 3.3, 1.2, 128, CARDS),
    EngineRate("7B bf16, A100 80 GB, a page of DocVQA (1680 x 2240)", 1, 0.7, 2.8, 128, CARDS),
    EngineRate("7B bf16, A100 80 GB, VisionArena", 1, 13.09 / 4, 4.4, 128, RECIPE),
    EngineRate("72B bf16, 4 x A100 80 GB, VisionArena", 4, 3.83, 13.7, 128, RECIPE),
)
