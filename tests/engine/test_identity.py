"""The identity: what we show is what the processor would choose, and the processor leaves it as it is."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.media.sizes import MAX_ASPECT_RATIO, shown_size, smart_resize
from server.settings import Settings
from tests.engine.sizes import Case, random_cases

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
SIZES = 2500
FRAME_SIZES = 400
PICTURES = 60


def reference(**jobs: Any) -> dict[str, Any]:
    """What the processor in the engine's environment answers; see benchmarks/reference.py."""
    run = subprocess.run(
        [ROOT / Settings().engine_python, ROOT / "benchmarks" / "reference.py"],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def test_thousands_of_sizes_are_shown_as_the_processor_would_and_then_stay():
    cases = random_cases(SIZES)
    shown = [list(shown_size((width, height), low, high)) for width, height, low, high in cases]
    ours = [(*size, low, high) for size, (_, _, low, high) in zip(shown, cases, strict=True)]

    answers = reference(image_sizes=[*cases, *ours], frame_sizes=[*cases[:FRAME_SIZES], *ours[:FRAME_SIZES]])

    for kind, count in (("image_sizes", SIZES), ("frame_sizes", FRAME_SIZES)):
        chosen, again = answers[kind][:count], answers[kind][count:]
        assert again == shown[:count]
        different = [case for case, one, other in zip(cases, shown, chosen, strict=False) if one != other]
        assert all(_does_not_take_its_own_choice(case) for case in different), different
        assert len(different) < SIZES // 100


def test_the_difference_from_qwen_vl_utils_is_known():
    """It lets no side round to 0 before it compares areas, but lets one become 0 after; the processor the reverse."""
    cases = random_cases(SIZES, seed=1)
    answers = reference(qwen_sizes=cases)["qwen_sizes"]
    if answers is None:
        pytest.skip("qwen-vl-utils is not in the engine's environment: pip install --no-deps qwen-vl-utils==0.0.14")

    for case, answer in zip(cases, answers, strict=True):
        width, height, low, high = case
        if answer != list(smart_resize((width, height), low, high)):
            assert min(width, height) < 14.5 or min(answer) == 0, case


def test_real_pictures_come_out_of_the_processor_pixel_for_pixel():
    cases = [case for case in random_cases(40 * PICTURES, seed=2) if max(case[:2]) < 1500][:PICTURES]
    shown = [shown_size((width, height), low, high) for width, height, low, high in cases]

    small = [(*wh, low, high) for wh, (_, _, low, high) in zip(shown, cases, strict=True) if wh[0] * wh[1] < 2_000_000]
    grids = reference(grids=small)["grids"]

    assert grids == [{"wh": list(case[:2]), "unchanged": True} for case in small]
    assert len(grids) > PICTURES // 2


def _does_not_take_its_own_choice(case: Case) -> bool:
    """Whether the processor's choice for a very long picture exceeds its own limits: it would shrink or refuse it."""
    width, height = smart_resize(case[:2], *case[2:])
    return width * height > case[3] or max(width, height) / min(width, height) > MAX_ASPECT_RATIO
