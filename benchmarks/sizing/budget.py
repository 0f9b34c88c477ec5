"""Does `server.sizing` foresee how many visual tokens vLLM tries out when it starts? Asks vLLM's own MultiModalBudget,
for pixel limits, contexts and steps; no engine is started.

    .venv-engine/bin/python -m benchmarks.sizing.budget
"""

import json
from typing import Any

from vllm.engine.arg_utils import EngineArgs
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.encoder_budget import MultiModalBudget

from benchmarks.sizing.cpu_engine import model_folder
from benchmarks.sizing.machine import machine, save
from server.sizing.cards import find_card
from server.sizing.memory import Plan, encoder_budget, image_tokens, profiled_tokens, profiled_video_tokens

CASES = [
    Plan(32768, 64, 8192, 1_003_520, 602_112),
    Plan(32768, 64, 16384, 1_003_520, 602_112),
    Plan(32768, 64, 8192, 1_003_520, 602_112, takes_video=False),
    Plan(32768, 64, 8192, 200_704, 100_352),
    Plan(8192, 8, 2048, 501_760, 301_056),
    Plan(32768, 64, 8192, 12_845_056, 12_845_056),
    Plan(128_000, 64, 8192, 12_845_056, 12_845_056),
    Plan(128_000, 64, 32768, 4_014_080, 602_112),
]


def main() -> None:
    rows = [compared(plan) for plan in CASES]
    for row in rows:
        print(row)
    result = {"benchmark": "sizing-budget", **machine(), "rows": rows}
    save("sizing-budget", result)
    print(json.dumps(result))


def compared(plan: Plan) -> dict[str, Any]:
    """Ours and vLLM's figures for one way to start it."""
    ours = {
        "image_tokens": image_tokens(plan),
        "video_tokens": profiled_video_tokens(plan),
        "encoder_budget": encoder_budget(plan),
        "profiled_tokens": profiled_tokens(plan),
    }
    theirs = vllms(plan)
    return {"plan": plan_words(plan), "ours": ours, "vllm": theirs, "same": ours == theirs}


def plan_words(plan: Plan) -> str:
    video = f"frames {plan.frame_pixels:,} px" if plan.takes_video else "no video"
    return f"context {plan.context_tokens:,}, step {plan.batched_tokens:,}, pictures {plan.image_pixels:,} px, {video}"


def vllms(plan: Plan) -> dict[str, int]:
    """What vLLM's own code says."""
    pixels = {
        "images_kwargs": {"size": {"shortest_edge": 3136, "longest_edge": plan.image_pixels}},
        "videos_kwargs": {"size": {"shortest_edge": 3136, "longest_edge": plan.frame_pixels}},
    }
    arguments = EngineArgs(
        model=str(model_folder(find_card("7B"))),
        max_model_len=plan.context_tokens,
        max_num_seqs=plan.max_num_seqs,
        max_num_batched_tokens=plan.batched_tokens,
        limit_mm_per_prompt={"image": 16, "video": int(plan.takes_video)},
        mm_processor_kwargs=pixels,
        enforce_eager=True,
        dtype="bfloat16",
    )
    budget = MultiModalBudget(arguments.create_engine_config(), MULTIMODAL_REGISTRY, enable_cache=False)
    each = budget.mm_max_toks_per_item
    largest = budget.get_modality_with_max_tokens()
    return {
        "image_tokens": each["image"],
        "video_tokens": each.get("video", 0),
        "encoder_budget": budget.get_encoder_budget(),
        "profiled_tokens": budget.mm_max_items_per_batch[largest] * each[largest],
    }


if __name__ == "__main__":
    main()
