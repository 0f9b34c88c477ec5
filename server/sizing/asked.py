"""A demand from words: a query string's or a command line's. Every error names the field and what it may be."""

from collections.abc import Mapping

from server.errors import InvalidValue, MissingField
from server.sizing.demand import Demand, Model, find_model, folder_model
from server.sizing.gpus import find_gpu

NUMBERS = {
    "gpus": "gpus",
    "max_pixels": "max_pixels",
    "pictures": "pictures",
    "frames": "frames",
    "frame_pixels": "frame_pixels",
    "clip_tokens": "clip_tokens",
    "text_tokens": "text_tokens",
    "answer_tokens": "answer_tokens",
    "context": "context_tokens",
    "concurrency": "concurrency",
    "batched_tokens": "batched_tokens",
}
"""Name in a question -> field of Demand."""
WORDS = ("model", "gpu", "precision", "memory_used", "kv_cache")
KV_CACHES = {"auto": 2, "bf16": 2, "fp8": 1}


def demand_from(fields: Mapping[str, str], *, folders: bool = False) -> Demand:
    """The demand that these fields ask for. Raises MissingField, InvalidValue.

    `folders`: whether a model may be a folder of this machine, which is nothing for a caller from elsewhere to ask.

    >>> demand_from({"model": "7B", "gpu": "L4", "concurrency": "8"}).request_tokens
    2848
    >>> demand_from({"model": "7B", "gpu": "L4", "pixels": "9"})
    Traceback (most recent call last):
    server.errors.InvalidValue: there is no field 'pixels'; there are model, gpu, precision, memory_used, kv_cache, gpus, max_pixels, pictures, frames, frame_pixels, clip_tokens, text_tokens, answer_tokens, context, concurrency, batched_tokens
    """  # noqa: E501  # a doctest's line cannot be broken
    for name in fields:
        if name not in (*WORDS, *NUMBERS):
            raise InvalidValue(
                f"there is no field {name[:80]!r}; there are {', '.join((*WORDS, *NUMBERS))}", param=name
            )
    for name in ("model", "gpu"):
        if not fields.get(name):
            raise MissingField(f"{name} is missing", param=name)
    kv_cache = fields.get("kv_cache", "auto").lower()
    if kv_cache not in KV_CACHES:
        raise InvalidValue(f"kv_cache is {kv_cache[:80]!r}; it is one of {', '.join(KV_CACHES)}", param="kv_cache")
    numbers = {field: _whole(name, fields[name]) for name, field in NUMBERS.items() if name in fields}
    demand = Demand(
        _model(fields["model"], fields.get("precision"), folders=folders),
        find_gpu(fields["gpu"]),
        memory_used=_share(fields["memory_used"]) if "memory_used" in fields else None,
        kv_bytes=KV_CACHES[kv_cache],
        **numbers,
    )
    demand.check()
    return demand


def _model(name: str, precision: str | None, *, folders: bool) -> Model:
    is_folder = name.startswith(("/", "./", "../", "~"))
    return folder_model(name, precision) if folders and is_folder else find_model(name, precision)


def _whole(name: str, value: str) -> int:
    try:
        return int(value.replace("_", "").replace(",", ""))
    except ValueError as exc:
        raise InvalidValue(f"{name} is {value[:80]!r}; it is a whole number", param=name) from exc


def _share(value: str) -> float:
    try:
        return float(value)
    except ValueError as exc:
        raise InvalidValue(f"memory_used is {value[:80]!r}; it is a number from 0.1 to 1", param="memory_used") from exc
