"""The launch profiles: their arithmetic, and that they carry what the gateway relies on."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from server.engines.checkpoints import Checkpoint, fitted, pixel_limits, read_checkpoint
from server.engines.hardware import Gpu, parse_gpus, usable_cores
from server.engines.profiles import TIERS, Tier, choose_model, profile, tier_for
from server.settings import Settings
from server.sizing.asked import demand_from
from server.sizing.fit import fit

HUB_7B = "Qwen/Qwen2.5-VL-7B-Instruct"
H100 = Gpu("NVIDIA H100 80GB HBM3", 79.6, compute=9.0)
SETTINGS = Settings()


def value_of(args: list[str], flag: str) -> str:
    return args[args.index(flag) + 1]


def folder(path: Path, **files: dict[str, Any]) -> str:
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_the_smallest_card_of_a_tier_holds_its_model_and_a_whole_context(tier: Tier) -> None:
    args = profile(tier.model, [Gpu(tier.name, max(tier.least_gib, 7.9))], SETTINGS).args
    assert value_of(args, "--max-model-len") == str(tier.max_model_len)


def test_a_context_that_would_not_fit_is_shortened_instead_of_failing() -> None:
    args = profile("Qwen/Qwen2.5-VL-7B-Instruct", [Gpu("small", 21.5)], SETTINGS).args
    length = int(value_of(args, "--max-model-len"))
    assert 2048 <= length < 32768
    assert length % 1024 == 0


def test_the_profile_and_the_sizing_command_agree() -> None:
    """What the profile starts, `python -m server fit` says fits."""
    args = profile(HUB_7B, [Gpu("L4", 22.49)], SETTINGS).args
    fields = {"context": value_of(args, "--max-model-len"), "memory_used": value_of(args, "--gpu-memory-utilization")}
    batched = value_of(args, "--max-num-batched-tokens")
    assert (
        fit(demand_from({"model": "7B", "gpu": "L4", "batched_tokens": batched, "frames": "2", **fields})).missing == ""
    )


def test_tiers_go_down_and_every_card_has_one() -> None:
    assert all(larger.least_gib > smaller.least_gib for larger, smaller in pairwise(TIERS))
    assert tier_for(Gpu("GTX 1050", 2.0)) is TIERS[-1]


@pytest.mark.parametrize(
    ("name", "memory_mib", "tier"),
    [
        ("NVIDIA GeForce RTX 3060", 12288, "12 GB"),
        ("Tesla T4", 15360, "16 GB"),
        ("NVIDIA GeForce RTX 4080", 16376, "16 GB"),
        ("NVIDIA A10G", 23028, "24 GB"),
        ("NVIDIA GeForce RTX 4090", 24564, "24 GB"),
        ("NVIDIA L40S", 46068, "48 GB"),
        ("NVIDIA A100-SXM4-80GB", 81920, "80 GB"),
        ("NVIDIA H100 80GB HBM3", 81559, "80 GB"),
        ("NVIDIA H200", 143771, "141 GB"),
    ],
)
def test_cards_land_in_the_tier_they_are_sold_as(name: str, memory_mib: int, tier: str) -> None:
    (gpu,) = parse_gpus(f"{name}, {memory_mib}, 8.6")
    assert tier_for(gpu).name == tier


def test_nvidia_smi_is_read_card_by_card() -> None:
    csv = "NVIDIA L4, 23034, 8.9\nNVIDIA H100 80GB HBM3, 81559, 9.0\nNVIDIA L4, 23034, 8.9\nBroken, [N/A], 9.0\n"
    assert parse_gpus(csv) == [Gpu("NVIDIA H100 80GB HBM3", 79.6, 1, 9.0), Gpu("NVIDIA L4", 22.5, 2, 8.9)]


def test_a_model_that_fits_one_card_stays_on_one() -> None:
    assert "--tensor-parallel-size" not in profile(HUB_7B, [Gpu("A100", 80, count=8)], SETTINGS).args


@pytest.mark.parametrize(
    ("model", "memory_gib", "count", "cards"),
    [
        ("Qwen/Qwen2.5-VL-72B-Instruct", 79.6, 8, "4"),
        ("Qwen/Qwen2.5-VL-72B-Instruct", 140.4, 2, "2"),
        ("Qwen/Qwen2.5-VL-32B-Instruct", 44.9, 4, "2"),
        (HUB_7B, 12.0, 2, "2"),
    ],
)
def test_what_does_not_fit_one_card_is_spread_over_the_fewest(
    model: str, memory_gib: float, count: int, cards: str
) -> None:
    args = profile(model, [Gpu("card", memory_gib, count)], SETTINGS).args
    assert value_of(args, "--tensor-parallel-size") == cards
    assert value_of(args, "--mm-encoder-tp-mode") == "data"


def test_a_card_without_bfloat16_is_told_so() -> None:
    turing = profile(HUB_7B, [Gpu("Tesla T4", 15.0, compute=7.5)], SETTINGS)
    assert value_of(turing.args, "--dtype") == "half"
    assert "--dtype" not in profile(HUB_7B, [H100], SETTINGS).args


@pytest.mark.parametrize("gpus", [[], [H100]], ids=["cpu", "gpu"])
def test_the_engine_works_with_the_gateways_own_limits(gpus: list[Gpu]) -> None:
    settings = Settings(
        image_min_pixels=7840,
        image_max_pixels=501760,
        video_min_pixels=25088,
        video_max_pixels=200704,
        video_fps=2,
        video_max_frames=128,
        max_images=5,
        max_videos=1,
        max_in_flight=99,
    )
    args = profile(HUB_7B, gpus, settings).args
    pixels = json.loads(value_of(args, "--mm-processor-kwargs"))
    assert pixels["images_kwargs"]["size"] == {"shortest_edge": 7840, "longest_edge": 501760}
    assert pixels["videos_kwargs"]["size"] == {"shortest_edge": 25088, "longest_edge": 200704}
    assert json.loads(value_of(args, "--media-io-kwargs")) == {"video": {"fps": 2, "num_frames": 128}}
    assert json.loads(value_of(args, "--limit-mm-per-prompt")) == {"image": 5, "video": 1}
    assert value_of(args, "--max-num-queued-reqs") == "99"


@pytest.mark.parametrize("gpus", [[], [Gpu("L4", 22.5)]], ids=["cpu", "gpu"])
def test_the_encoder_cache_holds_the_largest_clip_and_the_largest_picture(gpus: list[Gpu]) -> None:
    longer_clip = profile(HUB_7B, gpus, Settings(video_max_tokens=12000)).args
    assert int(value_of(longer_clip, "--max-num-batched-tokens")) >= 12000
    larger_picture = profile(HUB_7B, gpus, Settings(image_max_pixels=12_845_056)).args
    assert int(value_of(larger_picture, "--max-num-batched-tokens")) >= 16384


def test_the_operators_arguments_come_last_and_so_win() -> None:
    args = profile(HUB_7B, [H100], Settings(engine_args="--max-model-len 4096 --seed '7'")).args
    assert args[-4:] == ["--max-model-len", "4096", "--seed", "7"]


def test_every_flag_has_a_reason() -> None:
    chosen = profile(HUB_7B, [H100], SETTINGS)
    told = {reason.split()[0].rstrip(":") for reason in chosen.reasons}
    assert {"--structured-outputs-config", "--gpu-memory-utilization", "--max-model-len"} <= told
    assert all(": " in reason for reason in chosen.reasons)


def test_nothing_leaves_the_machine() -> None:
    chosen = profile(HUB_7B, [H100], SETTINGS)
    assert chosen.env["VLLM_NO_USAGE_STATS"] == chosen.env["DO_NOT_TRACK"] == "1"
    assert chosen.env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert value_of(chosen.args, "--allowed-media-domains") == "media.invalid"


def test_a_folder_needs_no_hub_and_a_name_does(tmp_path: Path) -> None:
    model = folder(tmp_path, config={"num_attention_heads": 2, "hidden_size": 64, "num_hidden_layers": 2})
    assert profile(model, [], SETTINGS).env["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in profile(HUB_7B, [], SETTINGS).env


def test_a_cpu_runs_a_real_model_with_all_cores_and_a_tiny_one_with_few(tmp_path: Path) -> None:
    model = folder(tmp_path, config={"num_attention_heads": 2, "hidden_size": 64, "num_hidden_layers": 2})
    assert int(profile(model, [], SETTINGS).env["OMP_NUM_THREADS"]) <= 4
    assert profile(HUB_7B, [], SETTINGS).env["OMP_NUM_THREADS"] == str(usable_cores())


def test_a_containers_quota_counts_and_not_the_hosts_cores(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert usable_cores(quota) == 1
    quota.write_text("max 100000\n")
    assert usable_cores(quota) == usable_cores(tmp_path / "none")


def test_the_model_is_chosen_for_the_largest_card() -> None:
    assert choose_model([Gpu("L40S", 45.0), Gpu("T4", 15.0)])[0] == HUB_7B
    assert "no GPU found" in choose_model([])[1]


def test_a_folder_tells_its_size_and_context(tmp_path: Path) -> None:
    text = {"num_attention_heads": 16, "num_key_value_heads": 2, "hidden_size": 2048, "num_hidden_layers": 36}
    model = Path(folder(tmp_path, config={"text_config": {**text, "max_position_embeddings": 128000}}))
    (model / "model.safetensors").write_bytes(b"\0" * 1024)
    assert read_checkpoint(model) == Checkpoint(1024 / 1024**3, 36.0, 128000)


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        pytest.param(
            {"preprocessor_config": {"min_pixels": 3136, "max_pixels": 12845056}},
            {"image": (3136, 12845056), "video": (3136, 12845056)},
            id="published: one file for both",
        ),
        pytest.param(
            {
                "processor_config": {
                    "image_processor": {"size": {"shortest_edge": 3136, "longest_edge": 200704}},
                    "video_processor": {"size": {"shortest_edge": 3136, "longest_edge": 7056}},
                }
            },
            {"image": (3136, 200704), "video": (3136, 7056)},
            id="one file, two processors",
        ),
        pytest.param({}, {}, id="silent"),
    ],
)
def test_a_folders_pixel_limits_are_read(files: dict[str, Any], limits: dict[str, Any], tmp_path: Path) -> None:
    folder(tmp_path, **files)
    assert pixel_limits(tmp_path) == limits


def test_settings_are_fitted_to_a_model_of_small_pictures_unless_the_operator_chose(tmp_path: Path) -> None:
    size = {"image_processor": {"min_pixels": 6272, "max_pixels": 200704}, "video_processor": {}}
    size["video_processor"] = {"min_pixels": 3136, "max_pixels": 7056}
    model = folder(tmp_path, processor_config=size)
    both = fitted(Settings(), model)
    assert (both.image_min_pixels, both.image_max_pixels) == (6272, 200704)
    assert (both.video_min_pixels, both.video_max_pixels) == (3136, 7056)
    assert fitted(Settings(image_max_pixels=401408), model).image_max_pixels == 401408


def test_settings_within_the_models_limits_stay(tmp_path: Path) -> None:
    model = folder(tmp_path, preprocessor_config={"min_pixels": 3136, "max_pixels": 12845056})
    assert fitted(SETTINGS, model) == SETTINGS
    assert fitted(SETTINGS, HUB_7B) is SETTINGS
