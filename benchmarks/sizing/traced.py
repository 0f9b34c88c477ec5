"""How much memory the vision tower is at work in: vLLM's own code, run without arithmetic on torch's meta device, with
every tensor that is alive counted at every step.

    .venv-engine/bin/python -m benchmarks.sizing.traced

What CUDA kernels allocate is stood in for by what they return: norms with a residual work in place, flash attention and
the rotary kernel give a tensor like their input, silu-and-multiply gives the half. Their own scratch space is not seen.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen2_5_VLConfig
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.attention.mm_encoder_attention import MMEncoderAttention
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import UnquantizedLinearMethod
from vllm.model_executor.layers.rotary_embedding.common import ApplyRotaryEmb
from vllm.model_executor.models import qwen2_5_vl

from benchmarks.sizing.machine import machine, save
from server.sizing.cards import Card, cards
from server.sizing.memory import Plan, vision_bytes

BLOCKS = 9
"""Of 32: the same each, one with full attention among them."""
VISUAL_TOKENS = (1280, 7680, 16384)


def main() -> None:
    rows = [compared(card, tokens) for card in cards().values() if card.base is None for tokens in VISUAL_TOKENS]
    for row in rows:
        told = f"predicted {row['predicted']:>13,} traced {row['traced']:>13,} {row['error']:+.2%}"
        print(f"{row['model']:34} {row['tokens']:6,} tokens: {told}")
    result = {"benchmark": "sizing-traced", **machine(), "torch": torch.__version__, "rows": rows}
    save("sizing-traced", result)
    print(json.dumps(result))


def compared(card: Card, tokens: int) -> dict[str, Any]:
    plan = Plan(32768, 1, 8192, 12_845_056, 602_112, takes_video=False)
    predicted, traced = int(vision_bytes(card.shape, plan, tokens)), peak_bytes(card, tokens)
    return {
        "model": card.id,
        "tokens": tokens,
        "predicted": predicted,
        "traced": traced,
        "error": predicted / traced - 1,
    }


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, and their peak."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        """`weights` do not count, nor do views of them."""
        super().__init__()
        self.peak = 0
        self._held = {each.untyped_storage()._cdata for each in weights}
        self._known: dict[int, tuple[StorageWeakRef, int]] = {}

    def add(self, tensors: Any) -> None:
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "meta":
                storage = tensor.untyped_storage()
                if storage._cdata in self._held:
                    continue
                self._known[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._known = {key: entry for key, entry in self._known.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._known.values()))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.add(result)
        return result


def peak_bytes(card: Card, tokens: int) -> int:
    """The most that is alive while the tower sees `tokens` visual tokens; weights do not count."""
    vision = Qwen2_5_VLConfig(vision_config={**card.config["vision_config"], "depth": BLOCKS}).vision_config
    with ExitStack() as stack:
        for each in stand_ins():
            stack.enter_context(each)
        stack.enter_context(set_current_vllm_config(VllmConfig()))
        with torch.device("meta"):
            torch.set_default_dtype(torch.bfloat16)
            tower = qwen2_5_vl.Qwen2_5_VisionTransformer(vision)
        patches = tokens * 4
        pixels = torch.empty(patches, 1176, device="meta", dtype=torch.bfloat16)
        metadata = about(patches, tokens)
        alive = Alive([*tower.parameters(), *tower.buffers()])
        alive.add([pixels, metadata])
        with torch.no_grad(), alive:
            tower(pixels, None, encoder_metadata=metadata)
        return alive.peak


def about(patches: int, tokens: int) -> dict[str, Any]:
    """What the tower is told of its pictures, in the shapes that it has."""

    def empty(*size: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.empty(*size, device="meta", dtype=dtype)

    return {
        "rotary_pos_emb_cos": empty(patches, 40, dtype=torch.bfloat16),
        "rotary_pos_emb_sin": empty(patches, 40, dtype=torch.bfloat16),
        "window_index": empty(tokens),
        "reverse_indices": empty(tokens),
        "cu_seqlens": empty(2, dtype=torch.int32),
        "cu_window_seqlens": empty(max(2, patches // 64), dtype=torch.int32),
        "max_seqlen_full": empty(1),
        "max_seqlen_window": empty(1),
    }


def stand_ins() -> Iterator[Any]:
    """Patches that give each CUDA kernel's result without its arithmetic."""

    def norm(self: Any, x: torch.Tensor, residual: torch.Tensor | None = None) -> Any:
        return torch.empty_like(x) if residual is None else (x, residual)

    def silu(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.empty(*x.shape[:-1], x.shape[-1] // 2, device=x.device, dtype=x.dtype)

    def rotary(self: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    def attention(self: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.empty_like(query, memory_format=torch.contiguous_format)

    def linear(self: Any, layer: Any, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return torch.nn.functional.linear(x, layer.weight, bias)

    yield mock.patch.object(RMSNorm, "forward", norm)
    yield mock.patch.object(SiluAndMul, "forward", silu)
    yield mock.patch.object(ApplyRotaryEmb, "forward", rotary)
    yield mock.patch.object(MMEncoderAttention, "forward", attention)
    yield mock.patch.object(UnquantizedLinearMethod, "apply", linear)


def alone() -> None:
    """vLLM's layers ask how many they are: one."""
    with set_current_vllm_config(VllmConfig()):
        init_distributed_environment(1, 0, "tcp://127.0.0.1:29571", 0, "gloo")
        initialize_model_parallel(1, 1)


if __name__ == "__main__":
    alone()
    main()
