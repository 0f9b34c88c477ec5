"""Writes deploy/helm/values/*.yaml, one a card and model, from the launch table in server/engines/profiles.py.

    python deploy/helm/tiers.py [--check]

`--check` says whether they are current. Sizes of machines are what such cards are sold with, rounded down.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.engines.hardware import Gpu
from server.engines.profiles import PUBLISHED, profile, tier_for
from server.settings import Settings

FOLDER = Path(__file__).resolve().parent / "values"
SETTINGS = Settings(
    model_alias=[]
)  # two models of one alias would be taken for each other: the gateway has the aliases
FIRST_OF_TIER = "--gpu-memory-utilization"


@dataclass(frozen=True)
class Card:
    """A GPU as Kubernetes and the launch table name it."""

    product: str
    """The node label nvidia.com/gpu.product that NVIDIA's feature discovery sets."""
    memory_gib: float

    def gpus(self, count: int) -> Gpu:
        """So many of them."""
        return Gpu(self.product, self.memory_gib, count)


CARDS = {
    "l4": Card("NVIDIA-L4", 22.5),
    "a10": Card("NVIDIA-A10", 22.5),
    "l40s": Card("NVIDIA-L40S", 45.0),
    "a100": Card("NVIDIA-A100-SXM4-80GB", 80.0),
    "h100": Card("NVIDIA-H100-80GB-HBM3", 79.6),
    "h200": Card("NVIDIA-H200", 140.4),
}
ROWS = (
    ("l4", 1, "3b", "Qwen/Qwen2.5-VL-3B-Instruct"),
    ("l4", 1, "7b-awq", "Qwen/Qwen2.5-VL-7B-Instruct-AWQ"),
    ("a10", 1, "7b-awq", "Qwen/Qwen2.5-VL-7B-Instruct-AWQ"),
    ("l40s", 1, "7b", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ("a100", 1, "32b-awq", "Qwen/Qwen2.5-VL-32B-Instruct-AWQ"),
    ("a100", 4, "72b", "Qwen/Qwen2.5-VL-72B-Instruct"),
    ("h100", 1, "7b", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ("h100", 1, "32b-awq", "Qwen/Qwen2.5-VL-32B-Instruct-AWQ"),
    ("h100", 4, "72b", "Qwen/Qwen2.5-VL-72B-Instruct"),
    ("h200", 1, "32b", "Qwen/Qwen2.5-VL-32B-Instruct"),
    ("h200", 2, "72b", "Qwen/Qwen2.5-VL-72B-Instruct"),
)
"""(card, how many one engine gets, size, model)."""


def key(card: str, count: int, size: str) -> str:
    """The engine's name.

    >>> key("h200", 2, "72b"), key("l4", 1, "3b")
    ('h200x2-72b', 'l4-3b')
    """
    return f"{card}{f'x{count}' if count > 1 else ''}-{size}"


def words(card: str, count: int, model: str) -> list[str]:
    """All arguments of vLLM as the gateway would give them to a child of its own on these cards."""
    found = profile(model, [CARDS[card].gpus(count)], SETTINGS).args
    return found[2:]  # without -m and the module


def values(card: str, count: int, size: str, model: str) -> str:
    """The text of one file."""
    args = words(card, count, model)
    flags = args[args.index(FIRST_OF_TIER) :]
    weights_gib = PUBLISHED[model].weights_gib
    memory_gib = round(weights_gib + 24)
    cpu = 8 + 4 * (count - 1)
    gpu = CARDS[card].gpus(count)
    written = "\n".join(f"      - {yaml_word(word)}" for word in flags)
    return f"""\
# {model} on {count} x {gpu.name}: {weights_gib:.1f} GiB of weights, {gpu.memory_gib:g} GiB a card.
# Written by deploy/helm/tiers.py from server/engines/profiles.py, tier {tier_for(gpu).name}.
# Arithmetic, not measured on this card: benchmarks/REPORT.md says what was.
engines:
  {key(card, count, size)}:
    model: {model}
    gpus: {count}
    product: {gpu.name}
    replicas: 1
    flags:
{written}
    resources:
      requests: {{ cpu: "{cpu}", memory: {memory_gib}Gi }}
      limits: {{ memory: {memory_gib + 16}Gi }}
gateway:
  aliases: [qwen2.5-vl={model}]
"""


def yaml_word(word: str) -> str:
    """A scalar that YAML reads as text."""
    return f'"{word}"' if word[:1].isdigit() else word


def main() -> int:
    """Write, or check."""
    texts = {
        FOLDER / f"{key(card, count, size)}.yaml": values(card, count, size, model) for card, count, size, model in ROWS
    }
    if "--check" in sys.argv:
        stale = [file.name for file, text in texts.items() if not file.is_file() or file.read_text() != text]
        stale += [file.name for file in FOLDER.glob("*.yaml") if file not in texts]
        sys.stderr.write("".join(f"{name} is not current: run python deploy/helm/tiers.py\n" for name in stale))
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for file, text in texts.items():
        file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
