"""What would make a demand fit: first what can be set otherwise, then what must be bought or chosen otherwise."""

from collections.abc import Iterator
from dataclasses import replace

from server.errors import InvalidValue
from server.sizing.cards import cards
from server.sizing.demand import Demand, find_model
from server.sizing.gpus import gpus
from server.sizing.solve import Change, Fit, solve
from server.sizing.weights import PRECISIONS

LEAST_CONTEXT_TOKENS = 2048
SMALLER_PIXELS = (501_760, 200_704, 100_352)
SMALLER_BATCHES = (4096, 2048)
MORE_MEMORY = 0.95
MOST_GPUS = 8
MOST_CHANGES = 5


def changes(demand: Demand) -> list[Change]:
    """Settings alone: the same model, precision and cards. The first ones ask the least; [] if none helps."""
    found: list[Change] = []
    for what, changed in _settings(demand):
        answer = _tried(changed)
        if answer is not None:
            found.append(_change(what, answer))
        if len(found) == MOST_CHANGES:
            break
    return found


def _settings(demand: Demand) -> Iterator[tuple[str, Demand]]:
    yield from _fewer(demand)
    for pixels in (each for each in SMALLER_PIXELS if each < demand.max_pixels and demand.pictures):
        yield f"pictures are shown at {pixels:,} pixels ({pixels // 784} tokens) at most", _shown(demand, pixels)
    for batch in (each for each in SMALLER_BATCHES if each < (demand.batched_tokens or 8192)):
        yield f"--max-num-batched-tokens is {batch}", replace(demand, batched_tokens=batch)
    yield "the KV cache is fp8 (--kv-cache-dtype fp8)", replace(demand, kv_bytes=1)
    if demand.memory_used is None or demand.memory_used < MORE_MEMORY:
        yield f"vLLM takes {MORE_MEMORY:.0%} of the card", replace(demand, memory_used=MORE_MEMORY)
    smallest = replace(
        _shown(demand, min(SMALLER_PIXELS)), batched_tokens=2048, concurrency=1, context_tokens=None, kv_bytes=1
    )
    yield "one small picture at a time, in steps of 2048 tokens, with an fp8 KV cache", smallest


def _fewer(demand: Demand) -> Iterator[tuple[str, Demand]]:
    """Fewer at once, a shorter context: the largest that fit."""
    answer = solve(replace(demand, concurrency=None, context_tokens=None))
    if demand.context_tokens and answer.largest_context < demand.context_tokens and not answer.missing:
        yield f"the context is {answer.largest_context:,}", replace(demand, context_tokens=answer.largest_context)
    if demand.concurrency and 0 < answer.largest_concurrency < demand.concurrency:
        most = _most_at_once(demand)
        if most:
            yield f"{most:,} requests run at once", replace(demand, concurrency=most)


def _most_at_once(demand: Demand) -> int:
    """The highest concurrency that fits, by halving; 0 if none does."""
    low, high = 0, demand.concurrency or 0
    while high - low > 1:
        middle = (low + high) // 2
        if _tried(replace(demand, concurrency=middle)) is None:
            high = middle
        else:
            low = middle
    return low


def _shown(demand: Demand, pixels: int) -> Demand:
    return replace(demand, max_pixels=min(pixels, demand.max_pixels))


def alternatives(demand: Demand) -> list[Change]:
    """Another precision, more of the same cards, a larger card, a smaller model: the first that fits of each."""
    found = []
    for kind in (_precisions, _more_gpus, _larger_gpus, _smaller_models):
        for what, changed in kind(demand):
            answer = _tried(changed)
            if answer is not None:
                found.append(_change(what, answer))
                break
    return found


def _precisions(demand: Demand) -> Iterator[tuple[str, Demand]]:
    for name in ("fp8", "awq"):
        if demand.model.card and PRECISIONS[name].bits < demand.model.precision.bits:
            yield f"the precision is {name}", replace(demand, model=find_model(demand.model.short_name, name))


def _more_gpus(demand: Demand) -> Iterator[tuple[str, Demand]]:
    for count in (2, 4, 8):
        if demand.gpus < count <= MOST_GPUS:
            yield f"there are {count} of these cards", replace(demand, gpus=count)


def _larger_gpus(demand: Demand) -> Iterator[tuple[str, Demand]]:
    for gpu in gpus().values():
        if gpu.usable_gib > demand.gpu.usable_gib and gpu.has_bfloat16:
            yield f"the card is {'an' if gpu.name[0] in 'ALHR' else 'a'} {gpu.name}", replace(demand, gpu=gpu)


def _smaller_models(demand: Demand) -> Iterator[tuple[str, Demand]]:
    parameters = demand.model.card.parameters if demand.model.card else 0
    smaller = [card for card in cards().values() if card.parameters < parameters]
    for card in sorted(smaller, key=lambda card: (-card.parameters, card.base is not None)):
        yield f"the model is {card.id.removeprefix('Qwen/')}", replace(demand, model=find_model(card.id))


def _tried(demand: Demand) -> Fit | None:
    """The answer if it fits."""
    try:
        demand.check()
    except InvalidValue:
        return None
    answer = solve(demand)
    return None if answer.missing else answer


def _change(what: str, answer: Fit) -> Change:
    return Change(what, answer.demand, answer.largest_context, answer.largest_concurrency)
