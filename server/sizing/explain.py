"""An answer of `fit` in words and tables for people, and as JSON for programs."""

from collections.abc import Iterator
from typing import Any

from server.sizing.launch import memory_flags, server_command, vllm_command
from server.sizing.memory import GIB, kv_bytes_per_token
from server.sizing.solve import Change, Fit
from server.sizing.speed import CERTAINTY, speed

TERM_NAMES = {
    "weights": "weights",
    "tables": "tables, rounding",
    "buffers": "input buffers",
    "work": "work space",
    "graphs": "CUDA graphs",
    "outside": "outside PyTorch",
}
VERDICTS = {"fits": "fits", "fits_if": "fits, if something is changed", "does_not_fit": "does not fit"}
LABEL_WIDTH, NUMBER_WIDTH, CERTAINTY_WIDTH = 18, 8, 17


def headline(answer: Fit) -> str:
    """One line: what on what, and whether."""
    demand = answer.demand
    on = demand.gpu.name if demand.gpus == 1 else f"{demand.gpus} x {demand.gpu.name}"
    return f"{demand.model.name} ({demand.model.precision.name}) on {on}: {VERDICTS[answer.verdict]}"


def text(answer: Fit) -> str:
    """The whole answer, in lines of up to about 120 characters."""
    lines = [headline(answer)]
    if answer.missing:
        lines.append(f"  {answer.missing}")
    lines += ["", *_memory(answer), "", *_requests(answer)]
    lines += [f"note: {warning}" for warning in answer.warnings]
    if answer.changes:
        lines += ["", "it fits if", *(f"  {_in_words(change)}" for change in answer.changes)]
    if answer.alternatives:
        lines += ["", "or it fits if", *(f"  {_in_words(change)}" for change in answer.alternatives)]
    lines += _speed(answer)
    if not answer.missing:
        lines += ["", "start it, with this server or with vLLM alone:", "", server_command(answer), ""]
        lines += [vllm_command(answer)]
    return "\n".join(lines) + "\n"


def _memory(answer: Fit) -> Iterator[str]:
    several = answer.demand.gpus > 1
    yield f"{'memory of each card' if several else 'memory':{LABEL_WIDTH}} {'GiB':>{NUMBER_WIDTH}}"
    for term in answer.terms:
        yield _row(TERM_NAMES[term.kind], term.bytes / GIB, term.certainty, term.formula)
    bytes_per_token = kv_bytes_per_token(answer.demand.model.shape, answer.plan)
    formula = f"the rest: {answer.pool_tokens:,} tokens of {bytes_per_token:,} bytes"
    yield _row("KV cache", answer.pool_bytes / GIB, "", formula if answer.pool_bytes > 0 else "nothing is left for it")
    usable = answer.demand.gpu.usable_gib
    share = f"--gpu-memory-utilization {answer.memory_used:g} of {usable:.2f} GiB as PyTorch counts"
    yield _row("given to vLLM", answer.given_bytes / GIB, "", share)
    yield _row("left beside it", usable - answer.given_bytes / GIB, "", "CUDA context, surges, other programs")


def _row(name: str, gib: float, certainty: str, formula: str) -> str:
    return f"{name:{LABEL_WIDTH}} {gib:{NUMBER_WIDTH}.2f}  {certainty:{CERTAINTY_WIDTH}} {formula}".rstrip()


def _requests(answer: Fit) -> Iterator[str]:
    demand = answer.demand
    parts = []
    if demand.pictures:
        parts.append(f"{demand.pictures} x {demand.picture_tokens:,} (pictures)")
    if demand.frames:
        parts.append(f"{demand.video_tokens:,} (clip of {demand.frames} frames)")
    parts += [f"{demand.text_tokens:,} (text)", f"{demand.answer_tokens:,} (answer)"]
    yield f"one request        {demand.request_tokens:,} tokens = {' + '.join(parts)} + template"
    own = demand.model.context_tokens
    yield f"largest context    {answer.largest_context:,} tokens (the model's own limit: {own:,})"
    asked = demand.concurrency or "as many as fit"
    yield f"at once            {answer.largest_concurrency:,} such requests; asked: {asked}"


def _speed(answer: Fit) -> Iterator[str]:
    found = speed(answer)
    if found is None:
        return
    answer_tokens = answer.demand.answer_tokens
    yield ""
    yield f"how fast           about {found.requests_per_s:.2g} such requests a second, held up by the {found.bound}"
    yield f"in all             {found.requests_per_s * answer_tokens:,.0f} tokens of answers a second"
    first_ms, then = found.first_token_s * 1000, 1 / found.token_s
    yield f"one alone          first token after {first_ms:.0f} ms, then {then:.0f} a second"
    yield f"                   {CERTAINTY}"


def _in_words(change: Change) -> str:
    return (
        f"{change.what}: {change.largest_context:,} tokens of context, {change.largest_concurrency:,} requests at once"
    )


def as_json(answer: Fit) -> dict[str, Any]:
    """The same for programs; GiB are rounded to three digits, tokens are exact."""
    demand, plan = answer.demand, answer.plan
    return {
        "object": "fit",
        "verdict": answer.verdict,
        "summary": headline(answer),
        "missing": answer.missing or None,
        "model": {
            "id": demand.model.name,
            "precision": demand.model.precision.name,
            "licence": dict(demand.model.card.licence) if demand.model.card else None,
        },
        "gpu": {"name": demand.gpu.name, "count": demand.gpus, "usable_gib": round(demand.gpu.usable_gib, 3)},
        "request_tokens": demand.request_tokens,
        "largest_context": answer.largest_context,
        "largest_concurrency": answer.largest_concurrency,
        "memory": [
            {"term": term.kind, "gib": _gib(term.bytes), "certainty": term.certainty, "formula": term.formula}
            for term in answer.terms
        ],
        "kv_cache": {
            "gib": _gib(answer.pool_bytes),
            "tokens": answer.pool_tokens,
            "bytes_per_token": kv_bytes_per_token(demand.model.shape, plan),
        },
        "given_gib": _gib(answer.given_bytes),
        "speed": _speed_json(answer),
        "changes": [_change_json(change) for change in answer.changes],
        "alternatives": [_change_json(change) for change in answer.alternatives],
        "warnings": list(answer.warnings),
        "launch": None
        if answer.missing
        else {
            "flags": [{"words": list(flag.words), "reason": flag.reason} for flag in memory_flags(answer)],
            "server": server_command(answer),
            "vllm": vllm_command(answer),
        },
    }


def _speed_json(answer: Fit) -> dict[str, Any] | None:
    found = speed(answer)
    if found is None:
        return None
    return {
        "requests_per_s": round(found.requests_per_s, 3),
        "answer_tokens_per_s": round(found.requests_per_s * answer.demand.answer_tokens, 1),
        "first_token_s": round(found.first_token_s, 4),
        "tokens_per_s_alone": round(1 / found.token_s, 1),
        "held_up_by": found.bound,
        "certainty": CERTAINTY,
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "fits_if": change.what,
        "largest_context": change.largest_context,
        "largest_concurrency": change.largest_concurrency,
    }


def _gib(size: float) -> float:
    return round(size / GIB, 3)
