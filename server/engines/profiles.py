"""How vLLM is started: which model for which GPUs, which flags, and why. Pure functions over visible tables.

What fits is asked of `server.sizing`, as `python -m server fit` does; which row is fastest is measured by
`benchmarks/`, where there is a GPU.
"""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.engines.checkpoints import DEMO, GIB, RANDOM, Checkpoint, folder_of, has_weights, read_checkpoint
from server.engines.hardware import Gpu, usable_cores
from server.errors import InvalidValue
from server.settings import Settings
from server.sizing.cards import Card, cards
from server.sizing.demand import LEAST_PIXELS, MOST_PIXELS, Demand, Model, find_model, folder_model
from server.sizing.gpus import Gpu as SizedGpu
from server.sizing.memory import Plan, kv_bytes_per_token
from server.sizing.solve import Fit, at
from server.sizing.weights import PRECISIONS, check_division, weights

TOOL_PARSER = Path(__file__).with_name("tool_parser.py")
CELL_PX = 784
"""Pixels of one visual token."""
TINY_GIB = 0.25
"""Weights below this are the demo's: small enough that processes, not arithmetic, are what costs time on a CPU."""
WORK_SPACE_GIB = 2.0
"""Of a model of another family, whose shapes are not known: all that is neither weights nor KV cache."""
LEAST_KV_TOKENS = 24576
"""A model that leaves the KV cache less than two contexts of 12,288 gets more cards."""
CONTEXT_STEP = 1024


def _published(card: Card) -> Checkpoint:
    shape = card.shape
    one = Plan(card.context_tokens, 1, 1, LEAST_PIXELS, LEAST_PIXELS)
    held = weights(shape, PRECISIONS[card.precision]).total / GIB
    return Checkpoint(round(held, 2), kv_bytes_per_token(shape, one) / 1024, card.context_tokens)


PUBLISHED = {card.id: _published(card) for card in cards().values()}
UNKNOWN = PUBLISHED["Qwen/Qwen2.5-VL-7B-Instruct"]
"""Assumed of a Hugging Face name that is not in the table."""


@dataclass(frozen=True)
class Tier:
    """What is started on one card with at least so much memory."""

    name: str
    least_gib: float
    """What cards sold under that name really have, less what the driver keeps."""
    model: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    memory_used: float
    """Share of the card's memory that vLLM may take."""
    reason: str


# fmt: off
TIERS = (
    Tier("141 GB", 130, "Qwen/Qwen2.5-VL-32B-Instruct", 32768, 256, 32768, 0.92,
         "32B whole in bfloat16, best on screens and clips"),
    Tier("80 GB", 76, "Qwen/Qwen2.5-VL-32B-Instruct-AWQ", 32768, 128, 16384, 0.92,
         "32B in 4 bits leaves 45 GiB for the KV cache; whole it would leave almost none"),
    Tier("48 GB", 43, "Qwen/Qwen2.5-VL-7B-Instruct", 32768, 128, 16384, 0.92,
         "7B whole in bfloat16, with 20 GiB for the KV cache"),
    Tier("24 GB", 21.5, "Qwen/Qwen2.5-VL-7B-Instruct-AWQ", 32768, 64, 8192, 0.90,
         "7B in 4 bits; whole it fits but leaves room for one long request"),
    Tier("16 GB", 14.5, "Qwen/Qwen2.5-VL-7B-Instruct-AWQ", 16384, 32, 8192, 0.90,
         "7B in 4 bits, with 4 GiB for the KV cache"),
    Tier("12 GB", 11, "Qwen/Qwen2.5-VL-7B-Instruct-AWQ", 12288, 8, 8192, 0.92,
         "7B in 4 bits, just"),
    Tier("8 GB", 0, "Qwen/Qwen2.5-VL-3B-Instruct-AWQ", 12288, 8, 8192, 0.90,
         "3B in 4 bits, the smallest there is (research licence)"),
)
# fmt: on
"""The largest first; the first that a card reaches is its row."""


@dataclass(frozen=True)
class Profile:
    """What to start: `args` follow the interpreter, `env` is added to the environment, `reasons` say why."""

    args: list[str]
    env: dict[str, str]
    reasons: list[str]
    served_names: list[str]


def tier_for(gpu: Gpu) -> Tier:
    """The row for one card of this kind.

    >>> tier_for(Gpu("NVIDIA L4", 22.5)).name
    '24 GB'
    """
    return next(tier for tier in TIERS if gpu.memory_gib >= tier.least_gib)


def choose_model(gpus: Sequence[Gpu]) -> tuple[str, str]:
    """(model, why) for the GPUs found: the best that fits on one card, the demo where there is none."""
    if gpus:
        tier = tier_for(gpus[0])
        return tier.model, f"{gpus[0].name} with {gpus[0].memory_gib:g} GiB: {tier.reason}"
    if DEMO.is_dir() and has_weights(DEMO):
        return str(DEMO), "no GPU found: the tiny demo checkpoint, which sees simple scenes; --model for another"
    return str(
        RANDOM
    ), "no GPU found: a tiny checkpoint with random weights, which answers nonsense; --model for another"


def profile(model: str, gpus: Sequence[Gpu], settings: Settings) -> Profile:
    """Arguments and environment of the engine for this model here. `settings` as `checkpoints.fitted` returns them."""
    folder = folder_of(model)
    checkpoint = read_checkpoint(folder) if folder else PUBLISHED.get(model, UNKNOWN)
    names = served_names(model, settings)
    here = _on_gpu(checkpoint, sized(model), gpus[0], settings) if gpus else _on_cpu(checkpoint, settings)
    flags = [*_common(settings, str(folder or model), names), *here]
    env = dict(ENVIRONMENT)
    if folder:
        env["HF_HUB_OFFLINE"] = "1"  # all it needs is in the folder
    if not gpus:
        env |= _cpu_environment(checkpoint)
    args = ["-m", "vllm.entrypoints.openai.api_server"]
    reasons = []
    for words, reason in flags:
        args += words
        reasons.append(f"{' '.join(words)}: {reason}")
    return Profile([*args, *shlex.split(settings.engine_args)], env, reasons, names)


def served_names(model: str, settings: Settings) -> list[str]:
    """The model's own name first, then the aliases that name no other model.

    >>> served_names("/models/my-qwen/", Settings(model_alias=["qwen", "small=other"]))
    ['my-qwen', 'qwen']
    """
    folder = folder_of(model)
    own = model if folder is None else "qwen2.5-vl-demo" if folder in (DEMO, RANDOM) else folder.name
    return list(dict.fromkeys([own, *(alias for alias in settings.model_alias if "=" not in alias)]))


Flag = tuple[list[str], str]
"""Words of a command line, and why they are there."""

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # nothing is reported to anyone
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",  # its last words are in the log when it dies
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",  # beside --allowed-media-domains: it never fetches
}


def _common(settings: Settings, model: str, names: Sequence[str]) -> list[Flag]:
    """The flags of every engine, whatever it runs on."""
    pixels: dict[str, dict[str, Any]] = {
        f"{kind}s_kwargs": {
            "size": {
                "shortest_edge": getattr(settings, f"{kind}_min_pixels"),
                "longest_edge": getattr(settings, f"{kind}_max_pixels"),
            }
        }
        for kind in ("image", "video")
    }
    pixels["videos_kwargs"]["cap_pixels_per_frame"] = False
    video = {"fps": _short(settings.video_fps), "num_frames": settings.video_max_frames}
    return [
        (["--model", model], "chosen"),
        (["--served-model-name", *names], "its own name and the aliases"),
        (["--generation-config", "vllm"], "OpenAI's sampling defaults, not the checkpoint's"),
        (
            ["--structured-outputs-config", _json({"backend": "xgrammar", "disable_any_whitespace": True})],
            "one backend whatever comes first, and no run-away in blanks",
        ),
        (["--enable-prompt-tokens-details"], "says how many visual tokens the model was shown"),
        (["--enable-request-id-headers"], "our request id comes back and is in its log"),
        (["--enable-auto-tool-choice", "--tool-call-parser", "hermes"], "the form that Qwen2.5 was trained on"),
        (["--tool-parser-plugin", str(TOOL_PARSER)], "no run-away in blanks there either"),
        (
            ["--media-io-kwargs", _json({"video": video})],
            "the gateway samples at this rate: times are exact, no frame is lost",
        ),
        (
            ["--mm-processor-kwargs", _json(pixels)],
            "the gateway resizes within these: the engine's resize changes nothing",
        ),
        (
            ["--limit-mm-per-prompt", _json({"image": settings.max_images, "video": settings.max_videos})],
            "the gateway's own caps; memory is measured for them",
        ),
        (["--allowed-media-domains", "media.invalid"], "it fetches nothing; the gateway does, and sends data: URLs"),
        (["--max-num-queued-reqs", str(settings.max_in_flight)], "a bound even if something else asks it"),
        (["--max-logprobs", "20"], "OpenAI's cap"),
        (["--shutdown-timeout", "0"], "the gateway has drained when it stops the engine"),
        (["--disable-fastapi-docs"], "nobody reads them behind a socket"),
        (["--disable-uvicorn-access-log"], "the gateway writes the access line"),
    ]


def sized(model: str) -> Model | None:
    """The model as `server.sizing` knows it; None for one of another family, or a name that is not published."""
    folder = folder_of(model)
    try:
        return folder_model(str(folder)) if folder else find_model(model)
    except InvalidValue:
        return None


def _on_gpu(checkpoint: Checkpoint, model: Model | None, gpu: Gpu, settings: Settings) -> list[Flag]:
    tier = tier_for(gpu)
    count = gpus_needed(checkpoint, model, gpu, settings)
    batched = _batched_tokens(tier, settings)
    length = min(tier.max_model_len, checkpoint.context_tokens)
    if model is not None:
        room = _fit(model, gpu, count, settings).pool_tokens // CONTEXT_STEP * CONTEXT_STEP
        length = min(length, room) if room else length  # with no room at all vLLM says best what is missing
    flags: list[Flag] = [
        (["--gpu-memory-utilization", str(tier.memory_used)], f"tier {tier.name}"),
        (["--max-model-len", str(length)], "a long clip or 16 pictures with their answer; more would only cost memory"),
        (["--max-num-seqs", str(tier.max_num_seqs)], f"tier {tier.name}"),
        (["--max-num-batched-tokens", str(batched)], "the encoder cache, hence the largest clip, is this large"),
    ]
    if not gpu.has_bfloat16:
        flags.append((["--dtype", "half"], "this card has no bfloat16; float16 can overflow into '!!!!'"))
    if count > 1:
        flags += [
            (
                ["--tensor-parallel-size", str(count)],
                f"{checkpoint.weights_gib:g} GiB of weights do not fit on one card",
            ),
            (["--mm-encoder-tp-mode", "data"], "the vision tower is small: whole on each card, pictures divided"),
        ]
    return flags


def _on_cpu(checkpoint: Checkpoint, settings: Settings) -> list[Flag]:
    tiny = checkpoint.weights_gib < TINY_GIB
    return [
        (["--dtype", "bfloat16"], "half the memory of float32"),
        (["--enforce-eager"], "compiling costs a minute and helps little"),
        (
            ["--distributed-executor-backend", "uni"],
            "the worker lives in the engine's process: 9 s less to start, 0.6 GB less, 30 % more tokens a second",
        ),
        (["--max-model-len", str(min(16384, checkpoint.context_tokens))], "KV cache is main memory"),
        (["--max-num-seqs", "64" if tiny else "8"], "more at once only makes each slower"),
        (["--max-num-batched-tokens", str(max(8192, _largest_item_tokens(settings)))], "the largest clip fits"),
        (["--mm-processor-cache-gb", "1"], "the default of 4 GiB is for servers"),
    ]


def _cpu_environment(checkpoint: Checkpoint) -> dict[str, str]:
    """Threads and memory on a CPU.

    `VLLM_ENABLE_V1_MULTIPROCESSING=0` lets vLLM keep the worker in the engine's process; with its default it insists on
    another one, which is there to set thread bindings that we do not use: cores stay shared with the API process and
    the gateway. A tiny model gains nothing from a second thread and loses by waiting for it.
    """
    cores = usable_cores()
    tiny = checkpoint.weights_gib < TINY_GIB
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(min(4, max(1, cores - 1)) if tiny else cores),
        "VLLM_CPU_KVCACHE_SPACE": "1" if tiny else "2",
        "TORCH_COMPILE_DISABLE": "1",  # the first answer with logprobs would wait 6 to 47 s for a compiler, not 0.1 s
    }


def gpus_needed(checkpoint: Checkpoint, model: Model | None, gpu: Gpu, settings: Settings) -> int:
    """The fewest of these cards, 1, 2, 4 and so on, that hold the model and a fair KV cache; if none do, as many as the
    model can be divided over.

    >>> seventy_two = "Qwen/Qwen2.5-VL-72B-Instruct"
    >>> gpus_needed(PUBLISHED[seventy_two], sized(seventy_two), Gpu("A100", 80, count=8), Settings())
    4
    """
    counts = [1 << power for power in range(gpu.count.bit_length())]
    if model is None:
        return next((count for count in counts if _guessed_to_fit(checkpoint, gpu, count)), counts[-1])
    possible = [count for count in counts if check_division(model.shape, model.precision, count) is None]
    fitting = (count for count in possible if _fit(model, gpu, count, settings).pool_tokens >= LEAST_KV_TOKENS)
    return next(fitting, possible[-1])


def _guessed_to_fit(checkpoint: Checkpoint, gpu: Gpu, count: int) -> bool:
    used_gib = gpu.memory_gib * tier_for(gpu).memory_used - WORK_SPACE_GIB
    return checkpoint.weights_gib + LEAST_KV_TOKENS * checkpoint.kv_kib_per_token / 1024**2 <= used_gib * count


def _fit(model: Model, gpu: Gpu, count: int, settings: Settings) -> Fit:
    """What `server.sizing` says of the tier's own flags on these cards."""
    tier = tier_for(gpu)
    card = SizedGpu(gpu.name, gpu.memory_gib * 1024, gpu.compute)
    image_pixels, frame_pixels = (
        min(max(pixels, LEAST_PIXELS), MOST_PIXELS) for pixels in (settings.image_max_pixels, settings.video_max_pixels)
    )
    plan = Plan(
        context_tokens=tier.max_model_len,
        max_num_seqs=tier.max_num_seqs,
        batched_tokens=_batched_tokens(tier, settings),
        image_pixels=image_pixels,
        frame_pixels=frame_pixels,
        gpus=count,
        takes_video=settings.max_videos > 0,
    )
    return at(Demand(model, card, count), plan, tier.memory_used)


def _batched_tokens(tier: Tier, settings: Settings) -> int:
    return max(tier.max_num_batched_tokens, _largest_item_tokens(settings))


def _largest_item_tokens(settings: Settings) -> int:
    return max(settings.video_max_tokens, math.ceil(settings.image_max_pixels / CELL_PX))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _short(number: float) -> float | int:
    return int(number) if number == int(number) else number
