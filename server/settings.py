"""Every knob of the server, in one table: its default, its unit in its name, one sentence beside it.

Read once, in `__main__`, from flags (`--engine-timeout-s 60`) and environment (`QVL_ENGINE_TIMEOUT_S=60`), and handed
down. Flags win over the environment. A `QVL_` variable that names no setting is refused, because a misspelt limit is
no limit.

>>> Settings(port=9000).port
9000
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "QVL_"


def _split(value: object) -> object:
    """A list in an environment variable is written with commas; a flag is repeated."""
    return [item for item in value.split(",") if item] if isinstance(value, str) else value


def _word_none(value: object) -> object:
    """What flags and variables call none is None elsewhere (`env_parse_none_str`)."""
    return "none" if value is None else value


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


def _dns_name(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("a name needs a port; write name:port")
    return text


Strings = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Networks = Annotated[list[Annotated[str, AfterValidator(_network)]], NoDecode, BeforeValidator(_split)]
DnsNames = Annotated[list[Annotated[str, AfterValidator(_dns_name)]], NoDecode, BeforeValidator(_split)]
Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=65535)]
Ports = Annotated[list[Port], NoDecode, BeforeValidator(_split)]
AtLeastOne = Annotated[int, Field(ge=1)]
"""A number of things of which none would make no sense."""
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What an operator can choose; a flag wins over its environment variable."""

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
    port: Port = 8000
    """Port to listen on."""
    workers: AtLeastOne = 1
    """Processes that answer on this port, each busy with at most one core, beside one that divides the work."""
    auth: Annotated[Literal["auto", "keys", "none"], BeforeValidator(_word_none)] = "auto"
    """Whether callers need a key: keys, none, or auto: if there are any."""
    auth_none_anywhere: bool = False
    """Listen on an address that other machines reach though no key is asked for: something else keeps strangers out."""
    keys_file: str | None = None
    """File of hashed keys and what each may do, read again when it changes; `python -m server keys new` writes it."""
    api_key: Secrets = []
    """Keys that may do everything, as `sha256:HASH` or `name=sha256:HASH`; in plain only as a variable."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is written to stderr: debug, info, warning or error."""
    playground: bool = True
    """Serve the web page at `/`; it asks the same paths as any other client, with the caller's own key."""
    log_format: Literal["text", "json"] = "text"
    """How the log is written: text for people, json for machines, one object a line."""
    access_log: bool = True
    """Write one line a request to stderr: method, path, status, duration, request id, caller, tokens."""
    otlp_endpoint: str | None = None
    """Where traces go, `http://collector:4318` (OpenTelemetry over HTTP); None: none are made."""
    trace_share: Annotated[float, Field(ge=0, le=1)] = 1
    """How many of the traces that begin here are kept, from 0 to 1; a caller's own `traceparent` says so itself."""

    # -- the engine -------------------------------------------------------------------------------------------------
    engine_url: Strings = []
    """Engines that run already, `http://host:port` or `unix:/path`; repeat for several. None given: we start one."""
    engine_dns: DnsNames = []
    """Names whose addresses are engines, `name:port` (a headless service); repeat for several. They come and go."""
    engine_dns_s: Positive = 5
    """Seconds between two lookups of the names of `engine_dns`."""
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
    engine_timeout_s: Positive = 120
    """Longest wait for the engine's next byte, in seconds."""
    engine_connect_timeout_s: Positive = 5
    """Longest wait for a connection to an engine, in seconds."""
    engine_connections: AtLeastOne = 512
    """Most requests at once on one engine; each has a connection."""
    engine_start_timeout_s: Positive = 1800
    """Longest wait for an engine that we start to be ready, in seconds; large weights load slowly."""
    engine_poll_s: Positive = 1
    """Seconds between two looks at an engine's step counter."""
    engine_probe_timeout_s: Positive = 2.5
    """Longest wait for an engine to say how it is, in seconds; one that is late twice in a row counts as stuck."""
    engine_stall_s: Positive = 6
    """An engine that has work and made no step for so many seconds counts as stuck; on a CPU, 30 where not set."""
    engine_restart_s: Positive = 60
    """An engine of our own that was stuck for so many seconds is started anew."""
    engine_slow_start_s: Positive = 30
    """For so many seconds an engine that has come, or come back, gets less than its share of the work."""
    engine_wait_s: Positive = 3
    """How long a request or stream that lost its engine waits for another one to be ready, in seconds."""

    # -- what a request may hold ------------------------------------------------------------------------------------
    max_body_bytes: AtLeastOne = 64 * 1024 * 1024
    """Longest request body, in bytes; pictures as base64 are a third longer than their file."""
    max_header_bytes: AtLeastOne = 64 * 1024
    """Longest request head, in bytes."""
    body_timeout_s: Positive = 30
    """Longest wait for the next piece of a request's body, in seconds."""
    idle_timeout_s: AtLeastOne = 75
    """A connection on which nothing is asked is closed after so many seconds; more than a load balancer's own 60."""
    leave_delay_s: Annotated[float, Field(ge=0)] = 2
    """On SIGTERM, seconds in which requests are still taken though readiness is off, for load balancers to notice."""
    leave_limit_s: Annotated[float, Field(ge=0)] = 20
    """Seconds that running requests then have to finish; what is left ends with an error that says so."""
    max_in_flight: AtLeastOne = 1024
    """Places for work at once: a request takes one, a big one more. Best is what the engines run at once."""
    place_tokens: AtLeastOne = 1024
    """A request takes one more place for each so many visual tokens."""
    place_bytes: AtLeastOne = 1024 * 1024
    """A request takes one more place for each so many bytes of its body."""
    max_in_flight_bytes: AtLeastOne = 1024**3
    """Most bytes of the bodies of all requests that are under way or wait."""
    max_queue: Count = 1024
    """Most requests that wait for a place; the next one is answered 429 or 503 with Retry-After."""
    queue_timeout_s: Positive = 30
    """Longest wait for a place, in seconds."""
    max_concurrent: Count = 0
    """Most requests of one key at once, where the key does not say; 0: no limit."""
    max_requests_per_minute: Count = 0
    """Most requests of one key a minute, where the key does not say; 0: no limit."""
    max_tokens_per_minute: Count = 0
    """Most tokens of one key a minute, prompts and answers, where the key does not say; 0: no limit."""
    redis_url: SecretStr | None = None
    """Redis in which several gateways share those limits, `redis://host:6379/0`; None: each counts for itself."""
    max_n: AtLeastOne = 8
    """Most choices (`n`) in one request."""
    max_tokens_limit: AtLeastOne = 32768
    """Highest `max_tokens` or `max_completion_tokens` in one request."""
    max_messages: AtLeastOne = 1024
    """Most messages in one request."""
    max_json_depth: AtLeastOne = 64
    """Deepest nesting of a request's JSON, a schema in it included (vLLM's own grammar limit is 64)."""
    max_images: Count = 16
    """Most pictures in one request; a frame list counts as one video."""
    max_videos: Count = 2
    """Most videos in one request."""

    # -- media ------------------------------------------------------------------------------------------------------
    image_min_pixels: AtLeastOne = 3136
    """Smallest picture shown to the model, in pixels; smaller ones are enlarged. Must not be below the engine's own."""
    image_max_pixels: AtLeastOne = 1003520
    """Largest picture shown to the model, in pixels (1,280 visual tokens). Must not be above the engine's own."""
    image_low_pixels: AtLeastOne = 200704
    """Largest picture shown for `detail: low`, in pixels (256 visual tokens)."""
    image_high_pixels: AtLeastOne = 1003520
    """Largest picture shown for `detail: high`, in pixels; at most `image_max_pixels` counts."""
    video_min_pixels: AtLeastOne = 100352
    """Smallest frame shown to the model, in pixels. Must not be below the engine's own."""
    video_max_pixels: AtLeastOne = 602112
    """Largest frame shown to the model, in pixels. Must not be above the engine's own."""
    video_max_tokens: AtLeastOne = 8192
    """Visual tokens one clip may cost; the frame size is chosen so that it holds."""
    video_fps: Positive = 2
    """Frames a second sampled from a video; the engine must be started with the same figure in --media-io-kwargs."""
    video_frames: Literal["exact", "reference"] = "exact"
    """Frames that are sampled: exact, those on screen at the moment, or reference, for two thirds of the CPU."""
    video_max_frames: AtLeastOne = 768
    """Most frames sampled from one video; the engine must be started with the same figure in --media-io-kwargs."""
    media_max_bytes: AtLeastOne = 32 * 1024 * 1024
    """Longest file of one picture, in bytes, fetched or sent."""
    video_max_bytes: AtLeastOne = 512 * 1024 * 1024
    """Longest file of one video, in bytes, fetched or sent."""
    media_max_pixels: AtLeastOne = 100_000_000
    """Most pixels of one picture or frame before it is scaled down; checked before decoding."""
    video_max_duration_s: Positive = 4 * 3600
    """Longest video, in seconds."""
    video_window_s: Positive = 60
    """Longest part of a clip shown in one question of a task, in seconds; longer clips come in windows."""
    video_overlap_s: Annotated[float, Field(ge=0)] = 5
    """What neighbouring windows of a clip share, in seconds."""
    document_max_bytes: AtLeastOne = 64 * 1024 * 1024
    """Longest file of one document, in bytes, fetched or sent."""
    document_max_pages: AtLeastOne = 1000
    """Most pages read in one request."""
    document_dpi: Positive = 144
    """Dots an inch in which a PDF's pages count their pixels."""
    task_parallel: AtLeastOne = 4
    """Pages or windows of one task request that are worked on at once."""
    media_workers: Count = 0
    """Processes that decode pictures and clips; 0: one for each core."""
    media_timeout_s: Positive = 30
    """Longest time to decode one picture or window of a clip, in seconds."""
    media_memory_bytes: AtLeastOne = 2 * 1024**3
    """Most address space of a process that decodes, in bytes."""
    fetch_timeout_s: Positive = 20
    """Longest time to fetch one media URL, redirects included, in seconds."""
    fetch_max_redirects: Count = 3
    """Most redirects followed for one media URL; each is checked like the first."""
    fetch_allow_network: Networks = []
    """Private networks (`10.0.0.0/8`) that media URLs may lead to all the same; repeat for several."""
    fetch_allow_port: Ports = [80, 443]
    """Ports that media URLs may name; repeat for several."""

    # -- files and batches ------------------------------------------------------------------------------------------
    batch_store: str = ".cache/batches"
    """Folder of /v1/files and /v1/batches, made when first used; or postgresql://user@host/name, or off."""
    batch_store_password: SecretStr | None = None
    """Password of the database that `batch_store` names."""
    batch_parallel: AtLeastOne = 16
    """Requests of batches worked on at once; those that somebody waits for go before them."""
    batch_max_requests: AtLeastOne = 50_000
    """Most requests in one batch."""
    batch_file_max_bytes: AtLeastOne = 200 * 1024 * 1024
    """Longest file that is kept, in bytes."""
    batch_files_max_bytes: AtLeastOne = 10 * 1024**3
    """Most bytes of files that one caller may keep, output of batches included."""
    batch_keep_s: Positive = 30 * 86400
    """Files are deleted so many seconds after they were made, unless they say otherwise."""


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Names that look like settings and are none.

    >>> unknown_variables(["QVL_PORT", "QVL_PROT", "HOME"])
    ['QVL_PROT']
    """
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """For workers, who are told their settings, keys among them, where no list of processes shows them.

    >>> without_settings({"HOME": "/root", "QVL_API_KEY": "sk-1", "qvl_redis_url": "redis://:secret@store"})
    {'HOME': '/root'}
    """
    return {name: value for name, value in environment.items() if not name.upper().startswith(ENV_PREFIX)}
