"""KV cache, encoder and graphs: against vLLM's own numbers, and how they move with what is asked."""

from dataclasses import replace

import pytest

from server.sizing.cards import find_card
from server.sizing.memory import (
    GIB,
    Plan,
    encoder_budget,
    graph_count,
    kv_bytes_per_token,
    pool_tokens,
    profiled_tokens,
    terms,
    vision_bytes,
)
from server.sizing.weights import PRECISIONS

PLAN = Plan(32768, 64, 8192, 1_003_520, 602_112)
SEVEN = find_card("7B").shape


@pytest.mark.parametrize(
    ("size", "gpus", "kib"),
    [("3B", 1, 36), ("7B", 1, 56), ("32B", 1, 256), ("72B", 1, 320), ("72B", 4, 80), ("3B", 4, 18)],
)
def test_keys_and_values_are_counted_by_their_own_heads(size: str, gpus: int, kib: int) -> None:
    assert kv_bytes_per_token(find_card(size).shape, replace(PLAN, gpus=gpus)) == kib * 1024


def test_an_fp8_cache_holds_twice_as_much() -> None:
    assert kv_bytes_per_token(SEVEN, replace(PLAN, kv_bytes=1)) * 2 == kv_bytes_per_token(SEVEN, PLAN)


def test_one_gib_on_a_cpu_holds_what_vllm_says() -> None:
    assert pool_tokens(GIB, kv_bytes_per_token(find_card("3B").shape, PLAN), block_tokens=128) == 29_056


def test_blocks_on_a_gpu_hold_what_vllm_said() -> None:
    """vllm#15815: Qwen2.5-32B on two cards, 7.71 GiB, "# CUDA blocks: 3947"."""
    per_token = kv_bytes_per_token(find_card("32B").shape, replace(PLAN, gpus=2))
    assert 3940 < pool_tokens(7.71 * GIB, per_token) / 16 < 3954


def test_nothing_left_holds_nothing() -> None:
    assert pool_tokens(-3 * GIB, 57344) == 0


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        pytest.param({}, 5040, id="a clip of 14 frames is larger than a picture"),
        pytest.param({"takes_video": False}, 7680, id="six pictures of 1280 tokens in a step of 8192"),
        pytest.param({"batched_tokens": 16384}, 15120, id="three such clips in a step of 16384"),
        pytest.param({"image_pixels": 12_845_056, "frame_pixels": 12_845_056}, 32768, id="published limits, 32k"),
        pytest.param(
            {"image_pixels": 12_845_056, "frame_pixels": 12_845_056, "context_tokens": 128_000},
            114_688,
            id="published limits, 128k",
        ),
    ],
)
def test_vllm_tries_out_its_largest_items(changes: dict[str, int], tokens: int) -> None:
    assert profiled_tokens(replace(PLAN, **changes)) == tokens


def test_the_encoder_may_see_a_whole_step_at_once() -> None:
    assert encoder_budget(PLAN) == 8192
    assert encoder_budget(replace(PLAN, image_pixels=12_845_056)) >= 16384


def test_the_default_limits_cost_gigabytes_that_ours_do_not() -> None:
    published = replace(PLAN, image_pixels=12_845_056, frame_pixels=12_845_056)
    assert vision_bytes(SEVEN, published, profiled_tokens(published)) > 3.5 * GIB
    assert vision_bytes(SEVEN, PLAN, profiled_tokens(PLAN)) < 0.7 * GIB


def test_vllms_own_count_of_graphs_is_met() -> None:
    """vllm#39559 at 256 sequences: "PIECEWISE=51 (largest=512), FULL=35 (largest=256)"."""
    assert graph_count(replace(PLAN, max_num_seqs=256)) == 51 + 35


def test_every_term_is_positive_and_told() -> None:
    for term in terms(SEVEN, PRECISIONS["bf16"], PLAN):
        assert term.bytes > 0
        assert term.formula


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("buffers", {"batched_tokens": 16384}),
        ("graphs", {"max_num_seqs": 256}),
        ("work", {"image_pixels": 12_845_056}),
        ("work", {"max_num_seqs": 1024}),
    ],
)
def test_terms_grow_with_what_they_are_made_of(kind: str, more: dict[str, int]) -> None:
    def size(plan: Plan) -> float:
        return next(term.bytes for term in terms(SEVEN, PRECISIONS["bf16"], plan) if term.kind == kind)

    assert size(replace(PLAN, **more)) > size(PLAN)


def test_the_encoder_cache_is_told_with_the_work_space_that_it_is_part_of() -> None:
    (work,) = (term for term in terms(SEVEN, PRECISIONS["bf16"], PLAN) if term.kind == "work")
    kept = profiled_tokens(PLAN) * SEVEN.hidden * 2 / GIB
    assert work.formula == f"language layers at work on 8,192 tokens; {kept:.2f} GiB of encoder cache"


def test_cards_share_the_pictures_but_not_one_picture() -> None:
    one, four = PLAN, replace(PLAN, gpus=4, takes_video=False)
    assert vision_bytes(SEVEN, four, 7680) == pytest.approx(vision_bytes(SEVEN, one, 7680) / 4)
    assert vision_bytes(SEVEN, four, 1280) == vision_bytes(SEVEN, one, 1280)
