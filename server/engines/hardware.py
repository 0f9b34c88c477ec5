"""What this machine has to run a model on: GPUs as nvidia-smi tells, processors that we may really use."""

import math
import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits")
BFLOAT16_COMPUTE = 8.0
"""Ampere and later have bfloat16."""


@dataclass(frozen=True)
class Gpu:
    """Cards of one kind in this machine."""

    name: str
    memory_gib: float
    """Of one card, as the driver counts it: a 24 GB card has 22 to 24."""
    count: int = 1
    compute: float = BFLOAT16_COMPUTE

    @property
    def has_bfloat16(self) -> bool:
        return self.compute >= BFLOAT16_COMPUTE


def parse_gpus(csv: str) -> list[Gpu]:
    """Cards by kind, the largest memory first; lines that nvidia-smi writes about broken cards are skipped.

    >>> parse_gpus("NVIDIA L4, 23034, 8.9\\nNVIDIA L4, 23034, 8.9\\n")
    [Gpu(name='NVIDIA L4', memory_gib=22.5, count=2, compute=8.9)]
    >>> parse_gpus("No devices were found")
    []
    """
    kinds: Counter[tuple[str, float, float]] = Counter()
    for line in csv.splitlines():
        try:
            name, memory_mib, compute = (field.strip() for field in line.rsplit(",", 2))
            kinds[name, round(float(memory_mib) / 1024, 1), float(compute)] += 1
        except ValueError:
            continue
    cards = [Gpu(name, memory_gib, count, compute) for (name, memory_gib, compute), count in kinds.items()]
    return sorted(cards, key=lambda gpu: gpu.memory_gib, reverse=True)


def detect_gpus(timeout_s: float = 20) -> list[Gpu]:
    """The GPUs of this machine; [] without nvidia-smi or where its driver does not answer."""
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, timeout=timeout_s, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(answer.stdout)


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processors that this process may use, the quota of its container included."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = cgroup.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores
