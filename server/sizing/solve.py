"""The memory of one card for a demand as it is: what is left for the KV cache, what that holds, what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from server.sizing.demand import Demand
from server.sizing.memory import (
    CONTEXT_GIB,
    GIB,
    Plan,
    Term,
    encoder_budget,
    kv_bytes_per_token,
    pool_tokens,
    profiled_tokens,
    terms,
    work_term,
)

Verdict = Literal["fits", "fits_if", "does_not_fit"]
USUAL_CONTEXT_TOKENS = 32768
USUAL_BATCHED_TOKENS = 8192
USUAL_MEMORY_USED = 0.92
USUAL_SEQS = (256, 128, 64, 32, 16, 8, 4, 2, 1)
CONTEXT_STEP = 1024


@dataclass(frozen=True)
class Change:
    """Something else that would fit."""

    what: str
    """A sentence's end: `fits if ...`."""
    demand: Demand
    largest_context: int
    largest_concurrency: int


@dataclass(frozen=True)
class Fit:
    """The answer. All memory is that of one card."""

    demand: Demand
    plan: Plan
    terms: Sequence[Term]
    memory_used: float
    """Share of the card given to vLLM (--gpu-memory-utilization)."""
    pool_bytes: float
    """Left for the KV cache; below 0 is what is missing."""
    pool_tokens: int
    missing: str = ""
    """Why it does not fit as asked; empty if it does."""
    changes: Sequence[Change] = ()
    alternatives: Sequence[Change] = ()
    warnings: Sequence[str] = ()

    @property
    def verdict(self) -> Verdict:
        return "fits" if not self.missing else "fits_if" if self.changes else "does_not_fit"

    @property
    def given_bytes(self) -> float:
        return self.demand.gpu.usable_gib * GIB * self.memory_used

    @property
    def largest_context(self) -> int:
        """Tokens of the longest single request, its answer included."""
        return min(self.pool_tokens, self.demand.model.context_tokens)

    @property
    def largest_concurrency(self) -> int:
        """Requests as asked that the KV cache holds at once."""
        return self.pool_tokens // _blocks(self.demand.request_tokens)


def solve(demand: Demand) -> Fit:
    """Whether the demand fits as it is, without looking for what would change it."""
    memory_used = demand.memory_used or USUAL_MEMORY_USED
    for max_num_seqs in (demand.concurrency,) if demand.concurrency else USUAL_SEQS:
        answer = at(demand, _plan(demand, max_num_seqs), memory_used)
        if answer.largest_concurrency >= max_num_seqs:
            break
    if demand.memory_used is None and (less := _memory_used_with_room(answer)) < memory_used:
        answer = at(demand, answer.plan, less)
    return _with_context(answer)


def _plan(demand: Demand, max_num_seqs: int) -> Plan:
    largest = max(demand.picture_tokens if demand.pictures else 0, demand.video_tokens)
    return Plan(
        context_tokens=demand.context_tokens or USUAL_CONTEXT_TOKENS,
        max_num_seqs=max_num_seqs,
        batched_tokens=demand.batched_tokens or max(USUAL_BATCHED_TOKENS, largest),
        image_pixels=demand.max_pixels,
        frame_pixels=demand.frame_pixels,
        gpus=demand.gpus,
        kv_bytes=demand.kv_bytes,
        takes_video=demand.frames > 0,
    )


def at(demand: Demand, plan: Plan, memory_used: float) -> Fit:
    """With every flag given; nothing is chosen, and nothing is said to be missing."""
    shape = demand.model.shape
    found = terms(shape, demand.model.precision, plan)
    pool = demand.gpu.usable_gib * GIB * memory_used - sum(term.bytes for term in found)
    tokens = pool_tokens(pool, kv_bytes_per_token(shape, plan))
    return Fit(demand, plan, found, memory_used, pool, tokens)


def _with_context(answer: Fit) -> Fit:
    """With the context chosen where none is asked for, and what is missing said."""
    demand, plan = answer.demand, answer.plan
    if demand.context_tokens is None:
        room = answer.pool_tokens // CONTEXT_STEP * CONTEXT_STEP
        context = max(min(USUAL_CONTEXT_TOKENS, demand.model.context_tokens, room), _blocks(demand.request_tokens))
        plan = replace(plan, context_tokens=context)
        answer = replace(answer, plan=plan)
    return replace(answer, missing=_missing(answer), warnings=_warnings(answer))


def _missing(answer: Fit) -> str:
    demand, plan = answer.demand, answer.plan
    if answer.pool_bytes < 0:
        return f"{-answer.pool_bytes / GIB:.1f} GiB are missing on each card before the first token of the KV cache"
    if demand.request_tokens > plan.context_tokens:
        return f"one request is {demand.request_tokens:,} tokens, more than the context of {plan.context_tokens:,}"
    if plan.context_tokens > demand.model.context_tokens:
        return f"the context of {plan.context_tokens:,} is longer than the model's {demand.model.context_tokens:,}"
    wanted = plan.batched_tokens
    largest = max(demand.picture_tokens if demand.pictures else 0, demand.video_tokens)
    if largest > wanted:
        return f"a picture or clip of {largest:,} tokens does not go into --max-num-batched-tokens {wanted:,}"
    if answer.pool_tokens < plan.context_tokens:
        return f"the KV cache holds {answer.pool_tokens:,} tokens, less than one context of {plan.context_tokens:,}"
    if demand.concurrency and answer.largest_concurrency < demand.concurrency:
        return (
            f"the KV cache holds {answer.largest_concurrency:,} requests of {demand.request_tokens:,} tokens at once, "
            f"not {demand.concurrency:,}"
        )
    return ""


def _warnings(answer: Fit) -> list[str]:
    demand = answer.demand
    found = []
    if not demand.gpu.has_bfloat16:
        found.append(f"{demand.gpu.name} has no bfloat16: float16 (--dtype half) can overflow into '!!!!'")
    if demand.model.precision.name == "fp8" and demand.gpu.fp8_tflops is None:
        found.append(f"{demand.gpu.name} has no fp8 units, as far as known: weights are stored so, arithmetic is not")
    if demand.gpu.usable_gib < 12:
        found.append("a card that also drives a screen has 0.5 to 1 GiB less")
    if _memory_used_with_room(answer) < answer.memory_used:
        found.append(
            f"--gpu-memory-utilization {answer.memory_used:g} leaves less than the CUDA context and the largest "
            "pictures need beside vLLM's share"
        )
    return found


def _memory_used_with_room(answer: Fit) -> float:
    """The share that leaves room for the CUDA context, and for more pictures at once than vLLM tries at its start."""
    shape, plan = answer.demand.model.shape, answer.plan
    tried, budget = profiled_tokens(plan), encoder_budget(plan)
    surge = work_term(shape, plan, budget).bytes - work_term(shape, plan, tried).bytes
    usable = answer.demand.gpu.usable_gib
    return int((usable - CONTEXT_GIB - max(0.0, surge) / GIB) / usable * 100) / 100


def _blocks(tokens: int) -> int:
    """Rounded up to whole blocks of the KV cache."""
    return pool_tokens(tokens + 15, 1)
