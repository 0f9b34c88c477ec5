"""A model folder's shape, precision and context, from its config.json."""

import json
from pathlib import Path

from server.errors import InvalidValue
from server.sizing.shapes import Shape, read_shape
from server.sizing.weights import PRECISIONS, Precision

DEFAULT_CONTEXT_TOKENS = 32768


def read_folder(folder: Path) -> tuple[Shape, Precision, int]:
    """(shape, precision as stored, longest context). Raises InvalidValue for no folder, no config, another family."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except OSError as exc:
        raise InvalidValue(f"model {folder.name} is no folder with a config.json", param="model") from exc
    except ValueError as exc:
        raise InvalidValue(f"config.json of {folder.name} is not JSON", param="model") from exc
    if not isinstance(config, dict):
        raise InvalidValue(f"config.json of {folder.name} is not a JSON object", param="model")
    text = config.get("text_config") or config
    return read_shape(config), _stored(config), int(text.get("max_position_embeddings", DEFAULT_CONTEXT_TOKENS))


def _stored(config: dict[str, object]) -> Precision:
    """What the files hold, as `quantization_config` says. Raises InvalidValue for a method that is not known here."""
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict):
        return PRECISIONS["bf16"]
    method = str(quantization.get("quant_method", "")).lower()
    for name in ("awq", "gptq", "fp8"):
        if name in method:
            return PRECISIONS[name]
    raise InvalidValue(
        f"quant_method is {method!r}; sizing knows awq, gptq and fp8: name a precision yourself", param="precision"
    )
