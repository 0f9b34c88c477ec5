"""What public calculators say of the same twelve cases, by their formulas as read in their sources and documents.

They were not run: their formulas are short, and their model lists are fetched from a hub. Sizes are for all cards
together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from server.sizing.demand import find_model
from server.sizing.memory import GIB, Plan, kv_bytes_per_token, pool_tokens, terms
from server.sizing.shapes import Shape, tensors
from server.sizing.weights import PRECISIONS, weights

GB = 1e9


@dataclass(frozen=True)
class Case:
    """A model that serves `requests` at once, each of `tokens`, the pictures included."""

    model: str
    precision: str
    requests: int
    tokens: int
    gpus: int = 1
    max_pixels: int = 1_003_520

    @property
    def shape(self) -> Shape:
        return find_model(self.model, self.precision).shape

    @property
    def parameters(self) -> int:
        return sum(tensor.numbers for tensor in tensors(self.shape))

    @property
    def bytes_per_weight(self) -> float:
        return PRECISIONS[self.precision].bits / 8

    @property
    def kv_tokens(self) -> int:
        return self.requests * self.tokens

    @property
    def words(self) -> str:
        on = f" on {self.gpus} cards" if self.gpus > 1 else ""
        large = ", 12.8 MP pictures" if self.max_pixels > 2e6 else ""
        return f"{self.model} {self.precision}{on}, {self.requests} x {self.tokens:,} tokens{large}"


CASES = (
    Case("3B", "bf16", 1, 2848),
    Case("3B", "bf16", 16, 2848),
    Case("3B", "awq", 4, 2848),
    Case("7B", "bf16", 1, 2848),
    Case("7B", "bf16", 64, 2848),
    Case("7B", "bf16", 4, 17952, max_pixels=12_845_056),
    Case("7B", "fp8", 16, 4096),
    Case("7B", "awq", 8, 4096),
    Case("32B", "bf16", 16, 8192),
    Case("32B", "awq", 8, 8192),
    Case("72B", "bf16", 32, 8192, gpus=4),
    Case("72B", "awq", 8, 8192),
)


def ours(case: Case) -> float:
    """Weights, tables, work space, graphs, what lies outside PyTorch, and whole blocks of KV cache; not the slack that
    `--gpu-memory-utilization` leaves."""
    model = find_model(case.model, case.precision)
    plan = Plan(
        context_tokens=case.tokens,
        max_num_seqs=case.requests,
        batched_tokens=max(8192, case.max_pixels // 784),
        image_pixels=case.max_pixels,
        frame_pixels=602_112,
        gpus=case.gpus,
        takes_video=False,
    )
    per_token = kv_bytes_per_token(model.shape, plan)
    cache = case.requests * pool_tokens(case.tokens + 15, 1) * per_token
    return case.gpus * (sum(term.bytes for term in terms(model.shape, model.precision, plan)) + cache)


def accelerate(case: Case) -> float:
    """`accelerate estimate-memory`: parameters x bytes, "purely load"."""
    return case.parameters * case.bytes_per_weight


def accelerate_and_a_fifth(case: Case) -> float:
    """The same with the rule of thumb of 20 % that is quoted beside it."""
    return 1.2 * accelerate(case)


def llm_sizer(case: Case) -> float:
    """llm-sizer 0.1: the cache as if every head had keys and values of its own."""
    shape = case.shape
    return accelerate(case) + 2 * shape.layers * shape.hidden * case.kv_tokens * 2


def vllm_wizard(case: Case) -> float:
    """vllm-wizard 0.2: parameters guessed without gate matrices and vision tower; 15 % on the cache; 2 % or 1 GB."""
    shape = case.shape
    layer = 4 * shape.hidden**2 + 2 * shape.hidden * shape.intermediate
    held = (shape.layers * layer + 2 * shape.vocabulary * shape.hidden) * case.bytes_per_weight
    cache = 1.15 * _grouped_cache(case)
    return held + cache + max(GB, 0.02 * (held + cache)) + 0.25 * GB * (case.gpus - 1)


def modelinfo(case: Case) -> float:
    """modelinfo-cli 1.4: the files' bytes, 4 % and more of them for each doubling of cards, and the cache."""
    penalty = {1: 0.0, 2: 0.04, 4: 0.12, 8: 0.20}[case.gpus]
    return _file_bytes(case) * (1 + penalty) + _grouped_cache(case)


def hf_mem(case: Case) -> float:
    """hf-mem 0.5: the files' bytes and the cache."""
    return _file_bytes(case) + _grouped_cache(case)


def _grouped_cache(case: Case) -> float:
    shape = case.shape
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * 2 * case.kv_tokens


def _file_bytes(case: Case) -> float:
    model = find_model(case.model, case.precision)
    return weights(model.shape, model.precision).total


CALCULATORS: Mapping[str, tuple[Callable[[Case], float], str]] = {
    "accelerate": (
        accelerate,
        "weights alone, all in as many bits: 4-bit files keep words and vision tower in 16",
    ),
    "accelerate + 20 %": (accelerate_and_a_fifth, "20 % for one request and for a hundred"),
    "llm-sizer": (llm_sizer, "does not know grouped heads: its cache is 5 to 8 times too large; no work space"),
    "vllm-wizard": (vllm_wizard, "misses gate matrices and vision tower; 15 % on the cache stands for work space"),
    "modelinfo": (modelinfo, "exact weights and cache; no work space; with several cards a penalty that is no memory"),
    "hf-mem": (hf_mem, "exact weights and cache; no work space, no graphs, no vision tower at work"),
}


def table() -> list[list[str]]:
    """Header and rows: GiB by each, and their deviation from ours in percent."""
    rows = [["case", "ours, GiB", *CALCULATORS]]
    for case in CASES:
        own = ours(case)
        others = (formula(case) for formula, _ in CALCULATORS.values())
        rows.append(
            [case.words, f"{own / GIB:.1f}", *(f"{other / GIB:.1f} ({other / own - 1:+.0%})" for other in others)]
        )
    return rows
