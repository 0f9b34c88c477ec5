"""What vLLM's own classes hold once loaded: every parameter and buffer of the model, on torch's meta device, beside the
weights and rotary tables that `server.sizing` counts. No weights, no engine.

    .venv-engine/bin/python -m benchmarks.sizing.loaded
"""

import json
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader.utils import initialize_model

from benchmarks.sizing.cpu_engine import model_folder
from benchmarks.sizing.machine import machine, save
from benchmarks.sizing.traced import alone
from server.sizing.cards import Card, cards
from server.sizing.memory import LONGEST_POSITION, POSITION_FACTOR
from server.sizing.weights import PRECISIONS, weights


def main() -> None:
    alone()
    rows = [compared(card) for card in cards().values()]
    for row in rows:
        print(f"{row['model']:38} predicted {row['predicted']:>16,} held {row['held']:>16,} {row['error']:+.4%}")
    result = {"benchmark": "sizing-loaded", **machine(), "torch": torch.__version__, "rows": rows}
    save("sizing-loaded", result)
    print(json.dumps(result))


def compared(card: Card) -> dict[str, Any]:
    tables = POSITION_FACTOR * LONGEST_POSITION * card.shape.head_dim * 2
    predicted = int(weights(card.shape, PRECISIONS[card.precision]).total + tables)
    theirs = held_bytes(card)
    return {"model": card.id, "predicted": predicted, "held": theirs, "error": predicted / theirs - 1}


def held_bytes(card: Card) -> int:
    """Of all parameters and buffers, each storage once."""
    folder = model_folder(card)
    dtype = "float16" if card.quantization else "bfloat16"
    arguments = EngineArgs(model=str(folder), max_model_len=8192, enforce_eager=True, dtype=dtype, load_format="dummy")
    config = arguments.create_engine_config()
    torch.set_default_dtype(getattr(torch, dtype))
    with set_current_vllm_config(config), torch.device("meta"):
        model = initialize_model(config)
    tensors = [*model.parameters(), *model.buffers()]
    storages = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


if __name__ == "__main__":
    main()
