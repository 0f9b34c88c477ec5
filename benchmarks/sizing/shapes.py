"""Are the tensors that `server.sizing` counts those of the model itself? Builds the published sizes with transformers'
own code, without memory (on torch's meta device), and compares every tensor.

    .venv-engine/bin/python -m benchmarks.sizing.shapes
"""

import json
import re
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.sizing.machine import machine, save
from server.sizing.cards import Card, cards
from server.sizing.shapes import tensors

SIZES_OF_TEXT = ("model_type", "vision_config")
PREFIXES = re.compile(r"^(model\.)?(language_model\.)?(model\.)?")


def main() -> None:
    rows = [compared(card) for card in cards().values() if card.base is None]
    for row in rows:
        print(
            f"{row['model']:34} {row['ours']:>15,} {row['transformers']:>15,} "
            f"{row['tensors']} tensors, {len(row['different'])} differ"
        )
    result = {"benchmark": "sizing-shapes", **machine(), "torch": torch.__version__, "rows": rows}
    save("sizing-shapes", result)
    print(json.dumps(result))


def compared(card: Card) -> dict[str, Any]:
    """One size: parameters on both sides, and the names that differ in presence or size."""
    ours = {tensor.name: tensor.size for tensor in tensors(card.shape)}
    theirs = {PREFIXES.sub("", name): tuple(each.shape) for name, each in built(card).named_parameters()}
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return {
        "model": card.id,
        "ours": sum(torch.Size(size).numel() for size in ours.values()),
        "transformers": sum(torch.Size(size).numel() for size in theirs.values()),
        "tensors": len(ours),
        "different": different,
    }


def built(card: Card) -> Any:
    """The model, on the meta device."""
    text = {name: value for name, value in card.config.items() if name not in SIZES_OF_TEXT}
    rotary = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]}
    config = Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rotary},
        vision_config=dict(card.config["vision_config"]),
        tie_word_embeddings=text["tie_word_embeddings"],
    )
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.tie_weights()
    return model


if __name__ == "__main__":
    main()
