"""Cards and tiers from `tiers.toml`: memory, bandwidth, arithmetic, and where each figure is from."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from server.errors import InvalidValue

FILE = Path(__file__).with_name("tiers.toml")
DRIVER_KEEPS_GIB = 0.5
"""Between what nvidia-smi and PyTorch call a card's memory: 0.42 to 0.62 GiB in public logs."""
FIRST_BFLOAT16_COMPUTE = 8.0
LARGEST_GB = 1000


@dataclass(frozen=True)
class Gpu:
    """One kind of card."""

    name: str
    memory_mib: float
    compute: float = 8.0
    torch_gib: float | None = None
    bandwidth_gbs: float | None = None
    bf16_tflops: float | None = None
    fp8_tflops: float | None = None
    link_gbs: float | None = None
    names: tuple[str, ...] = ()
    checked: bool = False
    source: str = "as given"

    @property
    def usable_gib(self) -> float:
        """As PyTorch counts it: what --gpu-memory-utilization is a share of."""
        return self.torch_gib or max(0.0, self.memory_mib / 1024 - DRIVER_KEEPS_GIB)

    @property
    def has_bfloat16(self) -> bool:
        return self.compute >= FIRST_BFLOAT16_COMPUTE


@dataclass(frozen=True)
class Tier:
    """A machine that the benchmarks have a standard run for."""

    name: str
    gpu: Gpu
    gpus: int


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads(FILE.read_text())


@cache
def gpus() -> Mapping[str, Gpu]:
    """All known cards by name, the smallest memory first."""
    found = [Gpu(**{**gpu, "names": tuple(gpu["names"])}) for gpu in _file()["gpu"]]
    return {gpu.name: gpu for gpu in sorted(found, key=lambda gpu: gpu.memory_mib)}


@cache
def tiers() -> tuple[Tier, ...]:
    """All tiers, the smallest first."""
    return tuple(Tier(tier["name"], gpus()[tier["gpu"]], tier["gpus"]) for tier in _file()["tier"])


def find_gpu(name: str) -> Gpu:
    """By name (`L4`, `rtx 4090`, as nvidia-smi has it), or by memory: `24` or `24 GB`, as a card is sold.

    Raises InvalidValue, naming the cards there are.

    >>> find_gpu("NVIDIA H100 80GB HBM3").name, find_gpu("a100 40gb").name, find_gpu("RTX-4090").name
    ('H100 80GB', 'A100 40GB', 'RTX 4090')
    >>> find_gpu("4090").name, round(find_gpu("24 GB").usable_gib, 2)
    ('RTX 4090', 21.85)
    """
    wanted = re.sub(r"[\s_-]+", " ", name.strip().lower())
    for gpu in gpus().values():
        if gpu.name.lower() in (wanted, f"rtx {wanted}"):
            return gpu
    if size := re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:gb|gib)?", wanted):
        return of_memory(float(size[1]))
    matches = [gpu for gpu in gpus().values() if any(_said(each, wanted) for each in (*gpu.names, gpu.name.lower()))]
    if not matches:
        raise InvalidValue(
            f"gpu is {name[:80]!r}; known are {', '.join(gpus())}, or a size as a card is sold, such as '24 GB'",
            param="gpu",
        )
    return matches[-1]


def _said(known: str, wanted: str) -> bool:
    known = re.sub(r"[\s_-]+", " ", known)
    return re.search(rf"\b{re.escape(known)}\b", wanted) is not None or known.startswith(f"{wanted} ")


def of_memory(sold_gb: float) -> Gpu:
    """A card of a size as cards are sold: what is left of 24 GB is 22.35 GiB, as 24 x 10^9 bytes are.

    >>> of_memory(0)
    Traceback (most recent call last):
    server.errors.InvalidValue: gpu is 0 GB; it is above 0 and at most 1000
    """
    if not 0 < sold_gb <= LARGEST_GB:
        raise InvalidValue(f"gpu is {sold_gb:g} GB; it is above 0 and at most {LARGEST_GB}", param="gpu")
    return Gpu(f"{sold_gb:g} GB", sold_gb * 1e9 / 1024**2, source="10^9 bytes a GB, the careful reading")
