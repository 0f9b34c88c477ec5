"""What a model folder says about itself, without loading it: size, context, the pixels its processor works within."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo" / "checkpoint"
"""The trained demo checkpoint."""
RANDOM = ROOT / ".cache" / "random"
"""Its stand-in with random weights, made by scripts/serve and scripts/test; it serves, it does not see."""
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
GIB = 1024**3


@dataclass(frozen=True)
class Checkpoint:
    """What decides where a model runs and with which flags."""

    weights_gib: float
    kv_kib_per_token: float
    context_tokens: int


def folder_of(model: str) -> Path | None:
    """The folder that `model` names; None for a Hugging Face name. A name that only a folder could have is one."""
    path = Path(model).expanduser()
    if path.is_dir() or model.startswith(("/", "./", "../", "~")):
        return path.resolve()
    return None


def has_weights(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in WEIGHTS)


def problem(settings: Settings, model: str) -> str | None:
    """Why an engine cannot start, as far as files tell: seconds sooner than vLLM says it."""
    if not Path(settings.engine_python).is_file():
        return f"engine_python {settings.engine_python} does not exist: run scripts/serve, which makes it"
    try:
        shlex.split(settings.engine_args)
    except ValueError as exc:
        return f"engine_args cannot be read as a shell would: {exc}"
    folder = folder_of(model)
    if folder is None:
        return None
    if not folder.is_dir():
        return f"model {model} is not a folder here, and no Hugging Face name"
    if not (folder / "config.json").is_file():
        return f"model folder {model} has no config.json: it holds no model"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        return f"model folder {model} has no tokenizer.json: the engine would start and answer nonsense"
    if not has_weights(folder) and "load-format" not in settings.engine_args:
        return f"model folder {model} holds no weights ({', '.join(WEIGHTS)})"
    return None


def read_checkpoint(folder: Path) -> Checkpoint:
    """From config.json and the files' sizes; keys and values are counted as bfloat16."""
    config = _json(folder / "config.json")
    text = config.get("text_config") or config
    heads = text["num_attention_heads"]
    head_dim = text.get("head_dim") or text["hidden_size"] // heads
    kv_bytes = 2 * 2 * text["num_hidden_layers"] * text.get("num_key_value_heads", heads) * head_dim
    size = sum(file.stat().st_size for pattern in WEIGHTS for file in folder.glob(pattern))
    return Checkpoint(size / GIB, kv_bytes / 1024, text.get("max_position_embeddings", 32768))


def pixel_limits(folder: Path) -> dict[str, tuple[int, int]]:
    """(least, most) pixels of `image` and `video` that the folder's processor works within; absent where it is silent.

    Read as transformers does: `processor_config.json` holds both; older folders have a file for each, and one without a
    file for videos uses the picture's limits for them.
    """
    both = _json(folder / "processor_config.json")
    image = both.get("image_processor") or _json(folder / "preprocessor_config.json")
    video = both.get("video_processor") or _json(folder / "video_preprocessor_config.json") or image
    found = {"image": _pixels(image), "video": _pixels(video)}
    return {kind: limits for kind, limits in found.items() if limits is not None}


def fitted(settings: Settings, model: str) -> Settings:
    """The same settings with pixel limits that lie within the model's own.

    A limit that the operator set stays. The engine is started with these limits, so that what the gateway shows is what
    the model sees; a model trained on small pictures is not shown large ones. Where the two have nothing in common,
    the model's hold.
    """
    folder = folder_of(model)
    changes: dict[str, int] = {}
    for kind, (least, most) in (pixel_limits(folder) if folder else {}).items():
        low, high = f"{kind}_min_pixels", f"{kind}_max_pixels"
        common = (max(least, getattr(settings, low)), min(most, getattr(settings, high)))
        changes[low], changes[high] = common if common[0] <= common[1] else (least, most)
    changes = {name: value for name, value in changes.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=changes) if changes else settings


def _pixels(processor: dict[str, Any]) -> tuple[int, int] | None:
    size = processor.get("size") or {}
    least = processor.get("min_pixels") or size.get("shortest_edge")
    most = processor.get("max_pixels") or size.get("longest_edge")
    return (int(least), int(most)) if least and most else None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
