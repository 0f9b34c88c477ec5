"""Model cards, model folders and graphics cards: complete, sourced, found by the names people use."""

import json
import tomllib
from pathlib import Path

import pytest

from server.errors import InvalidValue
from server.sizing.cards import cards, find_card
from server.sizing.demand import folder_model
from server.sizing.gpus import find_gpu, gpus, tiers
from server.sizing.weights import PRECISIONS

SIZES = ("3B", "7B", "32B", "72B")


def test_there_is_a_card_for_every_published_model() -> None:
    wanted = {f"Qwen/Qwen2.5-VL-{size}-Instruct{suffix}" for size in SIZES for suffix in ("", "-AWQ")}
    assert set(cards()) == wanted


@pytest.mark.parametrize("card", cards().values(), ids=lambda card: card.id)
def test_a_card_says_where_each_thing_is_known_from(card) -> None:
    assert card.precision in PRECISIONS
    assert {"name", "id", "commercial_use", "summary", "source"} <= card.licence.keys()
    assert "http" in card.licence["source"]
    assert card.release_source
    public = card.public()
    assert all(score["source"].startswith(("http", "arXiv")) for score in public["scores"])
    assert json.loads(json.dumps(public)) == public


@pytest.mark.parametrize(
    ("size", "licence", "commercial_use"),
    [
        ("3B", "qwen-research", "no"),
        ("7B", "Apache-2.0", "yes"),
        ("32B", "Apache-2.0", "yes"),
        ("72B", "qwen", "up to 100 million monthly active users"),
    ],
)
def test_licences_are_told_apart(size: str, licence: str, commercial_use: str) -> None:
    for name in (size, f"{size}-AWQ"):
        assert find_card(name).licence["id"] == licence
        assert find_card(name).licence["commercial_use"] == commercial_use


def test_scores_of_a_quantised_model_are_said_to_be_another_ones() -> None:
    card = find_card("7B-AWQ")
    assert card.scores == ()
    assert card.public()["scores_of"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert any(
        score == {"name": "DocVQA", "value": 95.7, "about": "documents", "source": score["source"]}
        for score in card.public()["scores"]
    )


def folder(path: Path, **config: object) -> Path:
    (path / "config.json").write_text(json.dumps({**find_card("7B").config, **config}))
    return path


def test_a_folder_is_sized_by_its_config(tmp_path: Path) -> None:
    model = folder_model(str(folder(tmp_path, max_position_embeddings=65536)))
    assert model.shape == find_card("7B").shape
    assert model.precision.name == "bf16"
    assert model.context_tokens == 65536


@pytest.mark.parametrize(("method", "precision"), [("awq", "awq"), ("gptq", "gptq"), ("fp8", "fp8")])
def test_a_folder_says_its_precision(method: str, precision: str, tmp_path: Path) -> None:
    quantised = folder(tmp_path, quantization_config={"quant_method": method})
    assert folder_model(str(quantised)).precision.name == precision


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "not JSON"), ("[]", "not a JSON object"), ('{"model_type": "llava"}', "llava")],
)
def test_a_folder_that_cannot_be_sized_says_why(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InvalidValue, match=said):
        folder_model(str(tmp_path))


def test_a_folder_of_an_unknown_method_asks_for_a_precision(tmp_path: Path) -> None:
    strange = str(folder(tmp_path, quantization_config={"quant_method": "bitnet"}))
    with pytest.raises(InvalidValue, match="name a precision"):
        folder_model(strange)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A10G", "A10"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", "RTX 4060 Laptop"),
        ("Tesla T4", "T4"),
        ("4090", "RTX 4090"),
        ("a6000", "RTX A6000"),
    ],
)
def test_cards_are_found_by_the_names_they_go_by(said: str, found: str) -> None:
    assert find_gpu(said).name == found


def test_what_pytorch_sees_is_a_little_less_than_what_is_sold() -> None:
    for gpu in gpus().values():
        assert 0.2 < gpu.memory_mib / 1024 - gpu.usable_gib < 1.1, gpu.name


def test_every_figure_of_a_card_has_a_source() -> None:
    for gpu in gpus().values():
        assert gpu.source != "as given"
        assert gpu.bandwidth_gbs
        assert gpu.bf16_tflops
        assert (gpu.fp8_tflops is not None) == (gpu.compute >= 8.9), gpu.name


def test_tiers_go_from_a_laptop_to_eight_large_cards() -> None:
    found = tiers()
    assert found[0].gpu.memory_mib < 8200
    assert (found[-1].gpu.name, found[-1].gpus) == ("H200", 8)
    memory = [tier.gpu.memory_mib * tier.gpus for tier in found]
    assert memory == sorted(memory)


def test_the_benchmarks_read_the_same_table() -> None:
    link = Path(__file__).resolve().parents[2] / "benchmarks" / "tiers.toml"
    assert tomllib.loads(link.read_text())["gpu"][0]["name"] == next(iter(gpus()))
