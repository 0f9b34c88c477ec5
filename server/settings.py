"""Every knob of the server, in one table: its default, its unit in its name, one sentence beside it.

Read once, in `__main__`, from flags (`--engine-timeout-s 60`) and environment (`QVL_ENGINE_TIMEOUT_S=60`), and handed
down. Flags win over the environment. A `QVL_` variable that names no setting is refused, because a misspelt limit is
no limit.
"""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BeforeValidator, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "QVL_"


def _split(value: object) -> object:
    """A list in an environment variable is written with commas; a flag is repeated."""
    return [item for item in value.split(",") if item] if isinstance(value, str) else value


Strings = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split)]
Integers = Annotated[list[int], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """What an operator can choose.

    >>> Settings(port=9000).port
    9000
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_parse_none_str="none",
        cli_prog_name="python -m server",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    # -- where we listen --------------------------------------------------------------------------------------------
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on."""
    api_key: Secrets = []
    """Keys that callers may present as `Authorization: Bearer KEY`; repeat for several. None given: anyone may call."""
    log_level: str = "info"
    """debug, info, warning or error."""
    access_log: bool = True
    """Write one line a request to stderr: method, path, status, duration, request id, caller."""

    # -- the engine -------------------------------------------------------------------------------------------------
    engine_url: Strings = []
    """Engines that run already, `http://host:port` or `unix:/path`; repeat for several. None given: we start one."""
    engine_api_key: SecretStr | None = None
    """Key that the engines of `engine_url` ask for."""
    engine_python: str = ".venv-engine/bin/python"
    """Interpreter that has vLLM, for the engine that we start."""
    engine_args: str = ""
    """Further arguments for vLLM, quoted as for a shell: `--engine-args "--max-model-len 8192"`."""
    model: str | None = None
    """Model folder or Hugging Face name. None given: the demo checkpoint on a CPU, the best that fits on a GPU."""
    model_alias: Strings = ["qwen2.5-vl"]
    """Names that callers may use for the first served model besides its own; `alias=model` names another one."""
    engine_timeout_s: float = 120
    """Longest wait for the engine's next byte, in seconds."""
    engine_connect_timeout_s: float = 5
    """Longest wait for a connection to an engine, in seconds."""
    engine_connections: int = 512
    """Most connections to one engine."""
    engine_start_timeout_s: float = 1800
    """Longest wait for an engine that we start to be ready, in seconds; large weights load slowly."""
    engine_poll_s: float = 1
    """Seconds between two looks at an engine's step counter."""
    engine_stall_s: float = 20
    """An engine that has work and made no step for so many seconds counts as stuck."""

    # -- what a request may hold ------------------------------------------------------------------------------------
    max_body_bytes: int = 64 * 1024 * 1024
    """Longest request body, in bytes; pictures as base64 are a third longer than their file."""
    max_header_bytes: int = 64 * 1024
    """Longest request head, in bytes."""
    body_timeout_s: float = 30
    """Longest wait for the next piece of a request's body, in seconds."""
    max_in_flight: int = 1024
    """Requests worked on at once; the next one is answered 503 with Retry-After."""
    max_n: int = 8
    """Most choices (`n`) in one request."""
    max_tokens_limit: int = 32768
    """Highest `max_tokens` or `max_completion_tokens` in one request."""
    max_messages: int = 1024
    """Most messages in one request."""
    max_json_depth: int = 64
    """Deepest nesting of a request's JSON, a schema in it included (vLLM's own grammar limit is 64)."""
    max_images: int = 16
    """Most pictures in one request; a frame list counts as one video."""
    max_videos: int = 2
    """Most videos in one request."""

    # -- media ------------------------------------------------------------------------------------------------------
    image_min_pixels: int = 3136
    """Smallest picture shown to the model, in pixels; smaller ones are enlarged. Must not be below the engine's own."""
    image_max_pixels: int = 1003520
    """Largest picture shown to the model, in pixels (1,280 visual tokens). Must not be above the engine's own."""
    image_low_pixels: int = 200704
    """Largest picture shown for `detail: low`, in pixels (256 visual tokens)."""
    image_high_pixels: int = 1003520
    """Largest picture shown for `detail: high`, in pixels; at most `image_max_pixels` counts."""
    video_min_pixels: int = 100352
    """Smallest frame shown to the model, in pixels. Must not be below the engine's own."""
    video_max_pixels: int = 602112
    """Largest frame shown to the model, in pixels. Must not be above the engine's own."""
    video_max_tokens: int = 8192
    """Visual tokens one clip may cost; the frame size is chosen so that it holds."""
    video_fps: float = 2
    """Frames a second sampled from a video; the engine must be started with the same figure in --media-io-kwargs."""
    video_max_frames: int = 768
    """Most frames sampled from one video; the engine must be started with the same figure in --media-io-kwargs."""
    media_max_bytes: int = 32 * 1024 * 1024
    """Longest file of one picture, in bytes, fetched or sent."""
    video_max_bytes: int = 512 * 1024 * 1024
    """Longest file of one video, in bytes, fetched or sent."""
    media_max_pixels: int = 100_000_000
    """Most pixels of one picture or frame before it is scaled down; checked before decoding."""
    video_max_duration_s: float = 4 * 3600
    """Longest video, in seconds."""
    video_window_s: float = 60
    """Longest part of a clip shown in one question of a task, in seconds; longer clips come in windows."""
    video_overlap_s: float = 5
    """What neighbouring windows of a clip share, in seconds."""
    document_max_bytes: int = 64 * 1024 * 1024
    """Longest file of one document, in bytes, fetched or sent."""
    document_max_pages: int = 1000
    """Most pages read in one request."""
    document_dpi: float = 144
    """Dots an inch in which a PDF's pages count their pixels."""
    task_parallel: int = 4
    """Pages or windows of one task request that are worked on at once."""
    media_workers: int = 0
    """Processes that decode pictures and clips; 0: one for each core."""
    media_timeout_s: float = 30
    """Longest time to decode one picture or window of a clip, in seconds."""
    media_memory_bytes: int = 2 * 1024**3
    """Most address space of a process that decodes, in bytes."""
    fetch_timeout_s: float = 20
    """Longest time to fetch one media URL, redirects included, in seconds."""
    fetch_max_redirects: int = 3
    """Most redirects followed for one media URL; each is checked like the first."""
    fetch_allow_network: Strings = []
    """Private networks (`10.0.0.0/8`) that media URLs may lead to all the same; repeat for several."""
    fetch_allow_port: Integers = [80, 443]
    """Ports that media URLs may name; repeat for several."""


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Names that look like settings and are none.

    >>> unknown_variables(["QVL_PORT", "QVL_PROT", "HOME"])
    ['QVL_PROT']
    """
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.startswith(ENV_PREFIX) and name.upper() not in known)
