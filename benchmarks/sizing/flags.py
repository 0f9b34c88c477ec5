"""Does vLLM take the flags that `fit` prints? Its own parser reads them; and fp8 quantises what it should, by the
classes of vLLM on torch's meta device.

    .venv-engine/bin/python -m benchmarks.sizing.flags
"""

import json
import shlex
from collections import Counter
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.engine.arg_utils import AsyncEngineArgs, EngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.utils.argparse_utils import FlexibleArgumentParser

from benchmarks.sizing.cpu_engine import model_folder
from benchmarks.sizing.machine import machine, save
from benchmarks.sizing.traced import alone
from server.sizing.asked import demand_from
from server.sizing.cards import find_card
from server.sizing.fit import fit
from server.sizing.launch import FP8_IGNORE, vllm_command

QUESTIONS: tuple[dict[str, str], ...] = (
    {"model": "7B", "gpu": "L4"},
    {"model": "3B-AWQ", "gpu": "8 GB", "concurrency": "4"},
    {"model": "7B-AWQ", "gpu": "T4"},
    {"model": "7B", "precision": "fp8", "gpu": "RTX 4080", "kv_cache": "fp8"},
    {"model": "72B", "gpu": "A100 80GB", "gpus": "4", "frames": "20", "pictures": "3"},
)


def main() -> None:
    rows = [taken(question) for question in QUESTIONS]
    quantised = fp8_layers()
    for row in rows:
        print(row)
    print(quantised)
    result = {"benchmark": "sizing-flags", **machine(), "rows": rows, "fp8": quantised}
    save("sizing-flags", result)
    print(json.dumps(result))


def taken(question: dict[str, str]) -> dict[str, Any]:
    """A question's command through vLLM's parser; raises, or ends the program, if it refuses."""
    words = shlex.split(vllm_command(fit(demand_from(question))))[3:]  # without `vllm serve NAME`
    parser = make_arg_parser(FlexibleArgumentParser())
    read = AsyncEngineArgs.from_cli_args(parser.parse_args(["--model", str(model_folder(find_card("7B"))), *words]))
    flags = dict(zip(words[::2], words[1::2], strict=True))
    same = str(read.max_model_len) == flags["--max-model-len"]
    same &= str(read.tensor_parallel_size) == flags.get("--tensor-parallel-size", "1")
    same &= read.mm_processor_kwargs == json.loads(flags["--mm-processor-kwargs"])
    return {"question": question, "flags": len(flags), "read_as_meant": same}


def fp8_layers() -> dict[str, int]:
    """How many matrices of the 7B are made fp8, and how many of the vision tower are."""
    arguments = EngineArgs(
        model=str(model_folder(find_card("7B"))),
        max_model_len=8192,
        enforce_eager=True,
        dtype="bfloat16",
        load_format="dummy",
        quantization="fp8_per_channel",
        quantization_config={"ignore": [FP8_IGNORE]},
    )
    alone()
    config = arguments.create_engine_config()
    torch.set_default_dtype(torch.bfloat16)
    with set_current_vllm_config(config), torch.device("meta"):
        model = initialize_model(config)
    kinds: Counter[str] = Counter()
    for name, module in model.named_modules():
        if method := getattr(module, "quant_method", None):
            part = "vision" if "visual" in name else "language"
            kinds[f"{part} {'fp8' if 'Fp8' in type(method).__name__ else 'bf16'}"] += 1
    return dict(kinds)


if __name__ == "__main__":
    main()
