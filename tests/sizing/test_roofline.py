"""The throughput model: its arithmetic, how it moves, and that its stated error holds where nothing was fitted."""

import math
from dataclasses import replace

import pytest

from benchmarks.generated import filled
from benchmarks.roofline.anchors import anchors
from benchmarks.roofline.fit import error, fitted, published
from benchmarks.roofline.report import README, SECTIONS, factor
from server.sizing.asked import demand_from
from server.sizing.cards import find_card
from server.sizing.demand import find_model
from server.sizing.explain import as_json, text
from server.sizing.fit import fit
from server.sizing.gpus import find_gpu
from server.sizing.roofline import NOW, PUBLISHED, Machine, predict
from server.sizing.weights import PRECISIONS
from server.sizing.work import Request, prefill_flops, step_bytes, vision_flops

PHOTO = Request(picture_tokens=(1280,), text_tokens=64, answer_tokens=64, megapixels=1.0)
SEVEN = find_model("7B")
H100 = Machine(find_gpu("H100"))


def test_two_small_pictures_cost_less_than_one_of_twice_the_tokens() -> None:
    """Attention over the whole picture grows with its square."""
    shape = find_card("7B").shape
    assert 2 * vision_flops(shape, 4096) < vision_flops(shape, 8192) < 4 * vision_flops(shape, 4096)


def test_a_prompt_costs_two_operations_a_parameter_and_token_and_a_little_more() -> None:
    shape = find_card("7B").shape
    parameters = 28 * (2 * 3584**2 + 2 * 3584 * 512 + 3 * 3584 * 18944)
    assert 1 < prefill_flops(shape, 1000) / (2 * parameters * 1000) < 1.05


def test_a_step_reads_the_weights_once_for_all_requests() -> None:
    shape = find_card("7B").shape
    one, many = (step_bytes(shape, PRECISIONS["bf16"], batch, 1000) for batch in (1, 11))
    assert many - one == 10 * 1000 * 57344


def test_the_error_that_is_stated_holds_where_nothing_was_fitted() -> None:
    checked = [each for each in anchors() if not each.was_fitted and each.gpus == 1]
    assert len(checked) > 30
    median, worst = factor(checked)
    assert median < 1.15
    assert worst < 1.35


def test_several_cards_are_predicted_within_a_factor_of_two() -> None:
    several = [each for each in anchors() if each.gpus > 1]
    assert len(several) == 14
    assert factor(several)[1] < 2


def test_the_constants_are_those_that_the_fit_finds() -> None:
    known = published()
    found = fitted(known, PUBLISHED)
    assert error(known, PUBLISHED) < error(known, found) + 0.01


def test_the_readme_is_current() -> None:
    assert filled(README.read_text(), SECTIONS) == README.read_text(), "run python -m benchmarks.roofline.report"


@pytest.mark.parametrize("more", [{"bandwidth_gbs": 6700}, {"bf16_tflops": 1978}])
def test_a_better_card_is_never_slower(more: dict[str, float]) -> None:
    better = Machine(replace(H100.gpu, **more))
    page = replace(PHOTO, answer_tokens=1024)
    assert predict(SEVEN, better, page).requests_per_s > predict(SEVEN, H100, page).requests_per_s
    assert predict(SEVEN, better, page).first_token_s < predict(SEVEN, H100, page).first_token_s


def test_a_model_of_eight_bits_is_faster_where_the_card_has_fp8_and_no_faster_to_read_where_not() -> None:
    eight = find_model("7B", "fp8")
    assert predict(eight, H100, PHOTO).prefill_s < predict(SEVEN, H100, PHOTO).prefill_s
    a100 = Machine(find_gpu("A100 80GB"))
    assert predict(eight, a100, PHOTO).prefill_s == predict(SEVEN, a100, PHOTO).prefill_s
    assert predict(eight, a100, PHOTO).token_s < predict(SEVEN, a100, PHOTO).token_s


def test_a_front_end_of_one_thread_holds_up_a_fast_card() -> None:
    small = find_model("3B-AWQ")
    fast = Machine(find_gpu("B200"))
    found = predict(small, fast, PHOTO)
    assert found.bound == "front end"
    assert predict(small, replace(fast, front_ends=4), PHOTO).requests_per_s > 1.5 * found.requests_per_s


def test_photos_of_many_megapixels_are_held_up_by_few_cores() -> None:
    found = predict(find_model("3B-AWQ"), replace(Machine(find_gpu("B200")), cores=1, front_ends=64), PHOTO)
    assert found.bound in ("gateway", "vision tower")
    heavy = replace(PHOTO, megapixels=12)
    assert (
        predict(find_model("3B-AWQ"), replace(Machine(find_gpu("B200")), cores=1, front_ends=64), heavy).bound
        == "gateway"
    )


def test_cards_that_share_a_model_are_faster_but_not_by_their_number() -> None:
    big, a100 = find_model("72B"), find_gpu("A100 80GB")
    two, four = (predict(big, Machine(a100, count), PHOTO).requests_per_s for count in (2, 4))
    assert 1.2 * two < four < 2 * two


def test_requests_that_the_cache_does_not_hold_do_not_share_a_step() -> None:
    page = replace(PHOTO, answer_tokens=1024)
    assert (
        predict(SEVEN, H100, page, NOW, fits=4).requests_per_s < predict(SEVEN, H100, page, NOW, fits=64).requests_per_s
    )


def test_fit_says_how_fast_and_that_it_was_not_measured() -> None:
    answer = fit(demand_from({"model": "7B", "gpu": "L4"}))
    told = as_json(answer)["speed"]
    assert told["requests_per_s"] > 0
    assert "not measured" in told["certainty"]
    assert "not measured" in text(answer)
    assert math.isclose(told["answer_tokens_per_s"], told["requests_per_s"] * 1024, rel_tol=0.01)


@pytest.mark.parametrize("fields", [{"gpu": "24 GB"}, {"gpu": "L4", "model": "72B"}])
def test_fit_says_nothing_of_speed_where_nothing_is_known(fields: dict[str, str]) -> None:
    assert as_json(fit(demand_from({"model": "7B", **fields})))["speed"] is None
