"""What the reference makes of a picture; run by the engine's interpreter, which has vLLM and the processor.

    .venv-engine/bin/python benchmarks/reference.py < jobs.json > answers.json

Jobs and answers are JSON objects of the same keys; see the functions of TASKS. It imports nothing of ours, so that it
cannot share a mistake with what it checks.
"""

import contextlib
import importlib.util
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from transformers.image_utils import SizeDict
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

PATCH_PX = 14
CELL_PX = 28


def image_sizes(cases: list[list[int]]) -> list[list[int]]:
    """[width, height, min_pixels, max_pixels] -> [width, height] after the image processor's own resize.

    Run on tensors without storage: the processor's code decides, nothing is computed.
    """
    processor = Qwen2VLImageProcessor()
    return [_resized(processor, [3, height, width], low, high) for width, height, low, high in cases]


def frame_sizes(cases: list[list[int]]) -> list[list[int]]:
    """The same for the video processor."""
    processor = Qwen2VLVideoProcessor()
    return [_resized(processor, [1, 2, 3, height, width], low, high) for width, height, low, high in cases]


def _resized(processor: Any, shape: list[int], low: int, high: int) -> list[int]:
    tensor = torch.empty(shape, dtype=torch.uint8, device="meta")
    size = SizeDict(shortest_edge=low, longest_edge=high)
    resized = processor.resize(tensor, size, processor.resample, CELL_PX)
    return [resized.shape[-1], resized.shape[-2]]


def qwen_sizes(cases: list[list[int]]) -> list[list[int]] | None:
    """The same by qwen-vl-utils; None where it is not installed."""
    if importlib.util.find_spec("qwen_vl_utils") is None:
        return None
    from qwen_vl_utils.vision_process import smart_resize

    sizes = [smart_resize(height, width, CELL_PX, low, high) for width, height, low, high in cases]
    return [[width, height] for height, width in sizes]


def grids(cases: list[list[int]]) -> list[dict[str, Any]]:
    """[width, height, min_pixels, max_pixels] -> the grid of a real picture of noise, and whether its pixels stayed."""
    from PIL import Image

    answers = []
    for width, height, low, high in cases:
        noise = torch.randint(
            0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.manual_seed(width * height)
        )
        processor = Qwen2VLImageProcessor(size={"shortest_edge": low, "longest_edge": high})
        shown = _shown(processor, Image.fromarray(noise.numpy()))
        same = shown.shape == noise.shape and bool((shown == noise).all())
        answers.append({"wh": [shown.shape[1], shown.shape[0]], "unchanged": same})
    return answers


def fidelity(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """{original, sent, max_pixels} (paths) -> how far what the model gets of one is from what it gets of the other.

    Both are read by vLLM's own loader and go through the processor; PSNR is in decibels over all pixels and channels.
    """
    from vllm.multimodal.media.image import ImageMediaIO

    loader = ImageMediaIO()
    answers = []
    for case in cases:
        processor = Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": case["max_pixels"]})
        original, sent = (
            _shown(processor, loader.load_bytes(Path(case[name]).read_bytes()).media) for name in ("original", "sent")
        )
        if original.shape != sent.shape:
            answers.append({"error": f"sizes differ: {list(original.shape)} and {list(sent.shape)}"})
            continue
        difference = original.double() - sent.double()
        mean_square = float((difference**2).mean())
        answers.append(
            {
                "psnr_db": 10 * math.log10(255**2 / mean_square) if mean_square else None,
                "largest_difference": int(difference.abs().max()),
            }
        )
    return answers


def _shown(processor: Any, image: Any) -> torch.Tensor:
    """(height, width, channel) in 0..255, as the model gets it, put together from the processor's patches."""
    batch = processor(images=[image], return_tensors="pt", do_rescale=False, do_normalize=False)
    _, rows, columns = batch["image_grid_thw"][0].tolist()
    patches = batch["pixel_values"].reshape(rows // 2, columns // 2, 2, 2, 3, 2, PATCH_PX, PATCH_PX)[:, :, :, :, :, 0]
    pixels = patches.permute(0, 2, 5, 1, 3, 6, 4).reshape(rows * PATCH_PX, columns * PATCH_PX, 3)
    return pixels.round().to(torch.uint8)


TASKS = {
    "image_sizes": image_sizes,
    "frame_sizes": frame_sizes,
    "qwen_sizes": qwen_sizes,
    "grids": grids,
    "fidelity": fidelity,
}


def main() -> None:
    jobs = json.load(sys.stdin)
    answers = {}
    log = io.StringIO()
    with contextlib.redirect_stdout(log):  # libraries greet on it
        for name, cases in jobs.items():
            answers[name] = TASKS[name](cases)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
