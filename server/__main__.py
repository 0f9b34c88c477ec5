"""python -m server: the only place that reads the environment and arguments."""

import asyncio
import contextlib
import gc
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Protocol

import orjson
import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp

from server.app import SCOPES, create_server
from server.callers import keys_command
from server.callers.auth import open_auth
from server.callers.keys import is_plain
from server.callers.store import open_store
from server.engines.launcher import EngineProcess, launch
from server.engines.profiles import served_names
from server.engines.watchdog import restart_when_stuck
from server.engines.wire import parse_url
from server.errors import EngineUnavailable
from server.seeing import logs
from server.seeing.telemetry import open_tracer
from server.settings import ENV_PREFIX, Settings, unknown_variables, without_settings
from server.sizing import command as sizing_command
from server.workers.crew import join
from server.workers.line import LineEnded
from server.workers.parent import Parent

HOW_TO_GIVE_KEYS = (
    "give it in QVL_API_KEY, QVL_ENGINE_API_KEY or QVL_REDIS_URL; callers' keys also by --keys-file, or by hash: "
    "--api-key sha256:..."
)
FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130

RED_DISC = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAHAAAABwAQMAAAD8LmYIAAAABlBMVEX////cHh7/Hx2WAAAAxUlEQVR42u2TMQ6CQBBF3w4kUlhQ2slR8CYe"
    "dY/gETwCJSHEsRh23JjFgsJowi8m//MznyHMwI4/wXnOVVCNmTyoDgAIACc4ZvIKFZBqBEJMbgDo86QlSwAaLwLQAtSvZIcAdM7EQ4O/1+YN"
    "sdgbjPbl5OVRV3Zro+3KVB9lY7TZ0vs1ORodt/QuWzOU3YfRe9lVfF/e3Mr/FpfkRlKLpEzLLw05kGaT9GlWBGACuLlUj698TS7ZZajO67cw"
    "LUnlO9rxU3gCbJUtc44dqvcAAAAASUVORK5CYII="
)
"""A picture short enough to be pasted into a shell."""


def read_settings(arguments: Sequence[str]) -> Settings:
    """Flags over environment over defaults; exits with a sentence for what cannot be."""
    unknown = unknown_variables(os.environ)
    if unknown:
        sys.exit(f"{', '.join(unknown)}: no such setting; python -m server --help lists them all")
    try:
        return CliApp.run(Settings, cli_args=list(arguments))
    except ValidationError as exc:
        for error in exc.errors():
            name = str(error["loc"][0])
            say(f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()}): {error['msg']}, got {error['input']!r}")
        sys.exit(USAGE_ERROR)


def plain_keys(arguments: Sequence[str]) -> str:
    """The first flag, as a whole or cut short, that is given a key in plain; "" if none is.

    >>> plain_keys(["--port", "1", "--api-key=sk-1"]), plain_keys(["--engine-api", "x"])
    ('--api-key', '--engine-api')
    >>> plain_keys(["--api-key", "alice=sha256:00", "--access-log"])
    ''
    """
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=False):
        name, sign, inline = flag.partition("=")
        entries = (inline if sign else value).split(",")
        is_callers = len(name) > len("--a") and "--api-key".startswith(name)
        is_engines = len(name) > len("--engine-") and "--engine-api-key".startswith(name)
        is_redis = name == "--redis-url" and "@" in (inline or value)
        if is_engines or is_redis or (is_callers and any(map(is_plain, entries))):
            return name
    return ""


def say(line: str) -> None:
    """Tell the person who started us."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


async def serve(settings: Settings) -> int:
    """Listen until told to stop, with an engine of our own unless others are named; the exit status."""
    try:
        for url in settings.engine_url:
            parse_url(url)
        open_auth(settings, SCOPES)
        open_store(settings)
        open_tracer(settings)
    except ValueError as exc:
        say(str(exc))
        return USAGE_ERROR
    if settings.engine_url or settings.engine_dns:
        return await _listen(settings, settings.engine_url, None)
    try:
        engine, settings = await asyncio.to_thread(launch, settings, say)
    except EngineUnavailable as exc:
        say(exc.message)
        return FAILED
    await engine.start()
    try:
        return await _listen(settings, [engine.url], engine)
    finally:
        await engine.stop()


def spare_the_collector() -> None:
    """Keep the garbage collector off what lives as long as the process: 105,000 objects, for which all streams would
    stand still 40 to 60 ms at each full collection; with 128 streams open one of the rest takes 0.4 ms
    (`python -m benchmarks.overhead.in_process`). A request leaves nothing for it (a test sees to that), so it need not
    look often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


class Serving(Protocol):
    """A server, of one process or of several."""

    started: bool
    should_exit: bool
    listening: asyncio.Event

    async def serve(self) -> None:
        """Listen until told to stop."""

    async def look(self) -> None:
        """See now which engines are ready."""

    def stuck(self, url: str) -> tuple[float, str]:
        """For how many seconds an engine is stuck, and why."""


async def _listen(settings: Settings, engine_urls: Sequence[str], engine: EngineProcess | None) -> int:
    shared = engine.shared if engine else None
    server: Serving
    if settings.workers > 1:
        server = Parent(settings, engine_urls, shared, without_settings(os.environ))
    else:
        server = create_server(settings, engine_urls, shared=shared)
    spare_the_collector()
    welcome = asyncio.create_task(_welcome(settings, server, engine))
    watchdog = None
    if engine is not None:
        watchdog = asyncio.create_task(restart_when_stuck(engine, server.stuck, settings.engine_restart_s))
    await server.serve()
    if watchdog is not None:
        watchdog.cancel()
    welcome.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await welcome
    return 0 if server.started else FAILED


async def _welcome(settings: Settings, server: Serving, engine: EngineProcess | None) -> int:
    """Say how to ask once the engine is ready; stop the server if it will never be."""
    await server.listening.wait()
    if engine is not None:
        try:
            await engine.wait_ready()
        except EngineUnavailable as exc:
            say(exc.message)
            server.should_exit = True
            return FAILED
        await server.look()
    url = f"http://{_reachable(settings.host)}:{settings.port}"
    if settings.playground:
        say(f"\nopen {url}/ in a browser")
    say(f"\nserving on {url}/v1 - ask it, for example:\n")
    say(example(settings))
    await asyncio.Event().wait()
    return 0


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  # compared, not bound


def example(settings: Settings) -> str:
    """A curl command that works as pasted, against a server with these settings."""
    alias = next((name for name in settings.model_alias if "=" not in name), None)
    content = [
        {"type": "image_url", "image_url": {"url": RED_DISC}},
        {"type": "text", "text": "What is in this picture?"},
    ]
    body = {
        "model": alias or served_names(settings.model or "", settings)[0],
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 64,
    }
    key = ' -H "Authorization: Bearer $KEY"' if settings.api_key or settings.keys_file else ""
    url = f"http://{_reachable(settings.host)}:{settings.port}/v1/chat/completions"
    return f"curl {url} -H 'Content-Type: application/json'{key} -d {shlex.quote(orjson.dumps(body).decode())}"


async def work(words: Sequence[str]) -> int:
    """One of several workers, as `Parent` starts it; the exit status."""
    try:
        crew = await join(words)
    except (ValueError, LineEnded):
        say("python -m server worker is for the server itself, which starts it with --workers")
        return USAGE_ERROR
    logs.set_up(crew.settings.log_level, crew.settings.log_format)
    server = create_server(crew.settings, crew.engine_urls, shared=crew.shared, crew=crew)
    spare_the_collector()
    await server.serve()
    return 0 if server.started else FAILED


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the settings, serve, and say how it ended."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["fit"]:
        return sizing_command.main(arguments[1:])
    if arguments[:1] == ["keys"]:
        return keys_command.run(arguments[1:], SCOPES, os.environ.get(f"{ENV_PREFIX}KEYS_FILE"))
    if arguments[:1] == ["worker"]:
        return uvloop.run(work(arguments[1:]))
    shown = plain_keys(arguments)
    if shown:
        say(f"{shown}: whoever lists the processes of this machine would see it; {HOW_TO_GIVE_KEYS}")
        return USAGE_ERROR
    settings = read_settings(arguments)
    logs.set_up(settings.log_level, settings.log_format)
    with contextlib.suppress(KeyboardInterrupt):
        return uvloop.run(serve(settings))
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
