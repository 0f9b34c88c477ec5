"""The verdict, what would change it, and the flags; as a person or a program asks."""

import json
import shlex

import pytest

from server.errors import CallerError, InvalidValue, MissingField
from server.sizing.asked import demand_from
from server.sizing.explain import as_json, text
from server.sizing.fit import fit
from server.sizing.launch import memory_flags, server_command, vllm_command
from server.sizing.solve import Fit, solve


def asked(**fields: object) -> Fit:
    return fit(demand_from({name: str(value) for name, value in fields.items()}))


def value_of(command: str, flag: str) -> str:
    words = shlex.split(command)
    return words[words.index(flag) + 1]


@pytest.mark.parametrize(
    ("model", "gpu", "gpus", "verdict"),
    [
        ("3B-AWQ", "8 GB", 1, "fits"),
        ("3B", "8 GB", 1, "does_not_fit"),
        ("7B-AWQ", "12 GB", 1, "fits"),
        ("7B", "RTX 4080", 1, "does_not_fit"),
        ("7B", "L4", 1, "fits"),
        ("32B-AWQ", "RTX 5090", 1, "fits"),
        ("32B", "H100", 1, "fits"),
        ("72B", "H100", 1, "does_not_fit"),
        ("72B", "A100 80GB", 4, "fits"),
        ("72B", "H200", 2, "fits"),
        ("72B-AWQ", "L40S", 1, "does_not_fit"),
    ],
)
def test_the_verdict(model: str, gpu: str, gpus: int, verdict: str) -> None:
    assert asked(model=model, gpu=gpu, gpus=gpus).verdict == verdict


def test_memory_adds_up_to_what_is_given() -> None:
    answer = asked(model="7B", gpu="L4")
    assert sum(term.bytes for term in answer.terms) + answer.pool_bytes == pytest.approx(answer.given_bytes)


def test_too_many_at_once_fit_if_there_are_fewer() -> None:
    answer = asked(model="7B", gpu="L4", concurrency=100)
    assert answer.verdict == "fits_if"
    fewer = answer.changes[0]
    assert "requests run at once" in fewer.what
    assert solve(fewer.demand).missing == ""
    assert fewer.demand.concurrency is not None
    assert 0 < fewer.demand.concurrency < 100
    assert asked(model="7B", gpu="L4", concurrency=fewer.demand.concurrency + 1).missing


def test_a_context_that_is_too_long_fits_if_it_is_shorter() -> None:
    answer = asked(model="7B-AWQ", gpu="12 GB", context=32768)
    assert answer.verdict == "fits_if"
    assert any(change.what.startswith("the context is") for change in answer.changes)


def test_every_change_and_alternative_does_fit() -> None:
    for answer in (
        asked(model="7B", gpu="L4", concurrency=64, pictures=4),
        asked(model="72B", gpu="H100"),
        asked(model="32B", gpu="24 GB"),
    ):
        assert [*answer.changes, *answer.alternatives]
        for change in (*answer.changes, *answer.alternatives):
            assert solve(change.demand).missing == ""


def test_what_cannot_fit_names_the_way_out() -> None:
    assert [change.what for change in asked(model="72B", gpu="H100").alternatives] == [
        "the precision is awq",
        "there are 2 of these cards",
        "the card is a B200",
        "the model is Qwen2.5-VL-32B-Instruct",
    ]


def test_larger_pictures_cost_requests() -> None:
    small, large = (asked(model="7B", gpu="L40S", max_pixels=pixels) for pixels in (200_704, 4_000_000))
    assert small.largest_concurrency > 2 * large.largest_concurrency


def test_a_clip_costs_what_the_gateway_would_show_of_it() -> None:
    answer = asked(model="7B", gpu="L40S", pictures=0, frames=120)
    assert answer.demand.video_tokens == 60 * (8192 // 60)
    assert answer.plan.takes_video


def test_a_picture_must_go_into_one_step() -> None:
    answer = asked(model="7B", gpu="L40S", max_pixels=12_845_056, batched_tokens=8192)
    assert "does not go into --max-num-batched-tokens" in answer.missing
    assert asked(model="7B", gpu="L40S", max_pixels=12_845_056).plan.batched_tokens == 16384


def test_the_cuda_context_has_room_beside_vllms_share() -> None:
    for gpu in ("8 GB", "12 GB", "L4", "H200"):
        answer = asked(model="3B-AWQ", gpu=gpu)
        assert answer.demand.gpu.usable_gib * (1 - answer.memory_used) >= 0.6


def test_a_share_that_leaves_no_room_is_warned_of() -> None:
    assert any("CUDA context" in warning for warning in asked(model="7B", gpu="L4", memory_used=0.99).warnings)


def test_a_card_without_bfloat16_is_warned_of_and_started_in_float16() -> None:
    answer = asked(model="7B-AWQ", gpu="T4")
    assert any("bfloat16" in warning for warning in answer.warnings)
    assert ("--dtype", "half") in [flag.words for flag in memory_flags(answer)]


def test_the_commands_carry_what_was_found() -> None:
    answer = asked(model="72B", gpu="A100 80GB", gpus=4, max_pixels=2_000_000, pictures=3, kv_cache="fp8")
    for command in (vllm_command(answer), value_of(server_command(answer), "--engine-args")):
        assert value_of(command, "--tensor-parallel-size") == "4"
        assert value_of(command, "--max-model-len") == str(answer.plan.context_tokens)
        assert value_of(command, "--kv-cache-dtype") == "fp8"
    assert json.loads(value_of(vllm_command(answer), "--limit-mm-per-prompt")) == {"image": 3, "video": 0}
    pixels = json.loads(value_of(vllm_command(answer), "--mm-processor-kwargs"))
    assert pixels["images_kwargs"]["size"]["longest_edge"] == 2_000_000
    assert value_of(server_command(answer), "--image-max-pixels") == "2000000"


def test_fp8_is_made_on_loading_and_spares_the_vision_tower() -> None:
    command = vllm_command(asked(model="7B", precision="fp8", gpu="RTX 4080"))
    assert value_of(command, "--quantization") == "fp8_per_channel"
    assert "visual" in value_of(command, "--quantization-config")


def test_every_flag_has_a_reason() -> None:
    assert all(flag.reason for flag in memory_flags(asked(model="72B", gpu="H200", gpus=2)))


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"model": "13B", "gpu": "L4"}, "model", "3B, 3B-AWQ, 7B"),
        ({"model": "7B", "gpu": "L5"}, "gpu", "L4"),
        ({"model": "7B", "gpu": "L4", "precision": "fp4"}, "precision", "bf16, fp8, awq, gptq"),
        ({"model": "7B", "gpu": "L4", "gpus": "8"}, "gpus", "28 attention heads"),
        ({"model": "7B", "gpu": "L4", "gpus": "0"}, "gpus", "from 1 to"),
        ({"model": "7B", "gpu": "L4", "max_pixels": "1000"}, "max_pixels", "from 3136 to"),
        ({"model": "7B", "gpu": "L4", "frames": "9000"}, "frames", "from 0 to 768"),
        ({"model": "7B", "gpu": "L4", "concurrency": "many"}, "concurrency", "whole number"),
        ({"model": "7B", "gpu": "L4", "kv_cache": "int4"}, "kv_cache", "auto, bf16, fp8"),
        ({"model": "7B", "gpu": "L4", "memory_used": "2"}, "memory_used", "from 0.1 to 1"),
        ({"model": "7B", "gpu": "L4", "batch": "2"}, "batch", "there are model, gpu"),
        ({"model": "7B", "gpu": "-3 GB"}, "gpu", "known are"),
        ({"model": "/etc", "gpu": "L4"}, "model", "known are"),
    ],
)
def test_a_question_that_cannot_be_is_refused_with_what_can(fields: dict[str, str], field: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said) as refusal:
        demand_from(fields)
    assert refusal.value.param == field


@pytest.mark.parametrize("missing", ["model", "gpu"])
def test_a_question_without_a_model_or_card_is_refused(missing: str) -> None:
    fields = {"model": "7B", "gpu": "L4"}
    del fields[missing]
    with pytest.raises(MissingField) as refusal:
        demand_from(fields)
    assert refusal.value.param == missing


def test_a_refusal_repeats_little_of_a_long_value() -> None:
    with pytest.raises(CallerError) as refusal:
        demand_from({"model": "x" * 5000, "gpu": "L4"})
    assert len(refusal.value.message) < 400


def test_people_and_programs_are_told_the_same() -> None:
    answer = asked(model="7B", gpu="L4")
    told = as_json(answer)
    assert json.loads(json.dumps(told)) == told
    assert told["verdict"] == "fits"
    assert f"{told['kv_cache']['tokens']:,}" in text(answer)
    assert f"{told['largest_context']:,}" in text(answer)
    assert told["launch"]["vllm"] in text(answer)
    assert {term["term"] for term in told["memory"]} == {term.kind for term in answer.terms}


def test_what_does_not_fit_gets_no_command() -> None:
    answer = asked(model="72B", gpu="24 GB")
    assert as_json(answer)["launch"] is None
    assert "vllm serve" not in text(answer)
    assert "or it fits if" in text(answer)
