"""Writes a tiny Qwen2.5-VL checkpoint with random weights: it serves, it just does not see.

    .venv-engine/bin/python demo/build.py --out .cache/random [--seed 0]

A stand-in with the same files as the trained checkpoint: config, bfloat16 safetensors, fast tokenizer, chat template,
processor. Pictures are shown within 3,136 to 50,176 px and video frames within 3,136 to 7,056 px (`demo/shape.py`):
the gateway's `image_*_pixels` and `video_*_pixels` must lie within the same limits, or the engine resizes again.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo import tokenizer as words
from demo.shape import CONTEXT_TOKENS, Shape, model_config, parameters, processor_configs


def initial(name: str, size: tuple[int, ...], shape: Shape, random: torch.Generator) -> torch.Tensor:
    """A weight at the start of training: scaled by its fan-in, smaller where it adds to the residual stream."""
    if name.endswith("bias"):
        return torch.zeros(size)
    if len(size) == 1:
        return torch.ones(size)
    if name.endswith("embed_tokens.weight"):
        return torch.randn(size, generator=random) * 0.05
    fan_in = math.prod(size[1:])
    adds_to_residual = name.endswith(("down_proj.weight", "o_proj.weight", "attn.proj.weight"))
    return torch.randn(size, generator=random) * fan_in**-0.5 * (0.5 if adds_to_residual else 1.0)


def number_waves(values: torch.Tensor, width: int) -> torch.Tensor:
    """(N, width): waves of the numbers with periods from 4 to 4,096, so that neighbours begin alike.

    Told from a hidden state by the same embedding, a number is then nearly right before it is quite right.
    """
    period = 4 * 1024 ** (torch.arange(width // 2) / (width // 2 - 1))
    angle = values[:, None] * (2 * torch.pi / period)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def initial_weights(shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Every weight in float32, the same for the same seed."""
    random = torch.Generator().manual_seed(seed)
    weights = {name: initial(name, size, shape, random) for name, size in parameters(shape)}
    values = words.number_values(words.trained(words.corpus()))
    told = weights["model.embed_tokens.weight"]
    at = torch.tensor(list(values))
    told[at] = 0.3 * told[at] + 0.07 * number_waves(torch.tensor(list(values.values())), shape.hidden)
    return weights


def save(folder: Path, weights: dict[str, torch.Tensor], shape: Shape) -> None:
    """Writes the whole checkpoint, weights in bfloat16, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = words.trained(words.corpus())
    assert tokenizer.get_vocab_size() == shape.vocabulary, "the corpus gave another vocabulary than the weights have"
    token_ids = {text: tokenizer.token_to_id(text) for text in words.SPECIAL}
    words.save(folder, tokenizer, CONTEXT_TOKENS)
    written: dict[str, dict[str, Any]] = {
        "config.json": model_config(shape, token_ids),
        "generation_config.json": {
            "bos_token_id": token_ids["<|endoftext|>"],
            "pad_token_id": token_ids["<|endoftext|>"],
            "eos_token_id": [token_ids["<|im_end|>"], token_ids["<|endoftext|>"]],
            "do_sample": False,
        },
        **processor_configs(),
    }
    for name, value in written.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    stored = {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()}
    path = folder / "model.safetensors"
    save_file(stored, path, metadata={"format": "pt"})
    path.chmod(0o644)  # an engine in a container runs as somebody else


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write the checkpoint into")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shape = Shape(vocabulary=words.VOCABULARY)
    weights = initial_weights(shape, arguments.seed)
    save(arguments.out, weights, shape)
    count = sum(weight.numel() for weight in weights.values())
    print(f"{arguments.out}: {count / 1e6:.2f} M parameters, random weights, seed {arguments.seed}")


if __name__ == "__main__":
    main()
