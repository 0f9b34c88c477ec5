"""Weights: against the published files' own counts, and against what vLLM was seen to load on GPUs."""

import pytest

from server.errors import InvalidValue
from server.sizing.cards import cards, find_card
from server.sizing.memory import GIB, Plan, tables_bytes
from server.sizing.shapes import read_shape, tensors
from server.sizing.weights import PRECISIONS, check_division, find_precision, weights

BF16 = PRECISIONS["bf16"]

PARAMETERS = {"3B": 3_754_622_976, "7B": 8_292_166_656, "32B": 33_452_718_336, "72B": 73_410_777_344}
"""As transformers builds them from the published numbers (`benchmarks/sizing/shapes.py` counts them again)."""


@pytest.mark.parametrize(("size", "parameters"), PARAMETERS.items())
def test_every_parameter_is_counted(size: str, parameters: int) -> None:
    assert sum(tensor.numbers for tensor in tensors(find_card(size).shape)) == parameters


@pytest.mark.parametrize("card", cards().values(), ids=lambda card: card.id)
def test_a_card_says_the_parameters_of_its_shape(card) -> None:
    base = cards()[card.base] if card.base else card
    assert sum(tensor.numbers for tensor in tensors(base.shape)) == card.parameters


def test_a_name_is_given_to_one_tensor() -> None:
    names = [tensor.name for tensor in tensors(find_card("3B").shape)]
    assert len(names) == len(set(names)) == 824


@pytest.mark.parametrize(
    ("size", "gpus", "text_only", "positions", "logged_gib", "tolerance"),
    [
        # Public logs of "Loading model weights took" / "Model loading took"; the plain text models have the same
        # language layers and no vision tower.
        pytest.param("7B", 4, False, 128_000, 3.9972, 0.003, id="vllm#15136: 7B on four cards"),
        pytest.param("72B", 4, False, 128_000, 34.4340, 0.001, id="vllm#16570: 72B on four cards"),
        pytest.param("32B", 2, True, 8_192, 30.7098, 0.0001, id="vllm#15815: Qwen2.5-32B on two cards"),
    ],
)
def test_what_vllm_loaded_on_gpus_is_predicted(
    size: str, gpus: int, text_only: bool, positions: int, logged_gib: float, tolerance: float
) -> None:
    shape = find_card(size).shape
    plan = Plan(8192, 8, 8192, 1_003_520, 602_112, gpus=gpus, whole_vision=False)
    held = weights(shape, BF16, gpus, whole_vision=False)
    tables = tables_bytes(shape, BF16, plan) - 2 * 4 * (128_000 - positions) * shape.head_dim
    predicted = held.total - (held.vision if text_only else 0) + tables
    assert predicted / GIB == pytest.approx(logged_gib, rel=tolerance)


def test_a_quantised_file_shrinks_the_language_layers_alone() -> None:
    shape = find_card("7B").shape
    whole, small = weights(shape, BF16), weights(shape, PRECISIONS["awq"])
    assert small.vision == whole.vision
    assert small.words == whole.words
    assert 0.25 < small.language / whole.language < 0.27


def test_tied_words_are_held_once() -> None:
    shape = find_card("3B").shape
    assert shape.tied
    assert weights(shape, BF16).words == 151_936 * 2048 * 2


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_cards_together_hold_at_least_the_model_and_little_more(gpus: int) -> None:
    shape = find_card("72B").shape
    together = gpus * weights(shape, BF16, gpus, whole_vision=False).total
    assert 1 <= together / weights(shape, BF16).total < 1.001


def test_more_cards_than_key_value_heads_hold_one_head_each() -> None:
    shape = find_card("3B").shape  # two key-value heads
    four, eight = (weights(shape, BF16, gpus).language for gpus in (4, 8))
    keys_and_values = 2 * shape.layers * shape.head_dim * (shape.hidden + 1) * 2
    norms = (2 * shape.layers + 1) * shape.hidden * 2
    assert (four - keys_and_values - norms) / 2 == pytest.approx(eight - keys_and_values - norms)


@pytest.mark.parametrize(
    ("size", "precision", "gpus", "why"),
    [
        ("7B", "bf16", 8, "28 attention heads do not divide by 8"),
        ("7B", "awq", 3, "28 attention heads do not divide by 3"),
        ("72B", "awq", 8, None),
        ("72B", "bf16", 8, None),
        ("3B", "awq", 4, "intermediate_size 11008 / 4 is not a multiple of the 4-bit group of 128"),
    ],
)
def test_divisions_that_vllm_refuses_are_known(size: str, precision: str, gpus: int, why: str | None) -> None:
    card = find_card(f"{size}-AWQ" if precision == "awq" else size)
    assert check_division(card.shape, PRECISIONS[precision], gpus) == why


def test_72b_before_its_padding_could_not_be_divided() -> None:
    config = {**find_card("72B-AWQ").config, "intermediate_size": 29568}
    assert "29568" in (check_division(read_shape(config), PRECISIONS["awq"], 4) or "")


def test_a_precision_that_is_none_is_refused_with_all_there_are() -> None:
    with pytest.raises(InvalidValue, match="bf16, fp8, awq, gptq") as refusal:
        find_precision("q4_k_m")
    assert refusal.value.param == "precision"


def test_a_config_without_a_number_is_refused_by_its_name() -> None:
    config = {name: value for name, value in find_card("7B").config.items() if name != "num_key_value_heads"}
    with pytest.raises(InvalidValue, match="no num_key_value_heads"):
        read_shape(config)


def test_a_config_of_newer_transformers_reads_the_same() -> None:
    config = dict(find_card("7B").config)
    text = {name: config.pop(name) for name in list(config) if name not in ("model_type", "vision_config")}
    assert read_shape({**config, "text_config": text}) == find_card("7B").shape
