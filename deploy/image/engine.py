"""The engine container's entry point: vLLM with the flags that a gateway's own engine gets, over TCP.

    engine-python engine.py [--shutdown-timeout-s 45] [the server's settings, as flags or QVL_ variables]

The model is the one named (`--model`, QVL_MODEL), or the best that fits the cards found; the flags are those of
`server/engines/profiles.py`, each printed with its reason. Give the gateway the same QVL_IMAGE_*, QVL_VIDEO_* and
QVL_MAX_* variables: what it shows is then what this engine sees. Further flags of vLLM go into QVL_ENGINE_ARGS.
"""

import argparse
import os
import sys
from dataclasses import replace
from types import ModuleType
from typing import NoReturn

from pydantic import ValidationError
from pydantic_settings import CliApp

try:
    import server.engines
except ModuleNotFoundError:  # its clients need the gateway's packages; the table of flags needs none of them
    import server

    bare = ModuleType("server.engines")
    bare.__path__ = [f"{path}/engines" for path in server.__path__]
    sys.modules["server.engines"] = bare

from server.engines.checkpoints import fitted, problem
from server.engines.hardware import Gpu, detect_gpus
from server.engines.profiles import Profile, choose_model, profile
from server.settings import Settings, unknown_variables

ANYWHERE = "0.0.0.0"  # noqa: S104  # of the container, whose network decides who reaches it
SHUTDOWN_TIMEOUT_S = 45
"""Time that running requests get after SIGTERM. What stops the container must wait longer: Helm and compose do."""


def launch(settings: Settings, gpus: list[Gpu], shutdown_timeout_s: int) -> Profile:
    """What to start here, and why. Raises ValueError in words."""
    model, why = (settings.model, "named") if settings.model else choose_model(gpus)
    if wrong := problem(settings, model):
        raise ValueError(wrong)
    settings = fitted(settings, model)
    found = profile(model, gpus, settings)
    # The last one of two equal flags counts: this engine drains itself, and listens for others.
    listening = ["--host", ANYWHERE, "--port", str(settings.port), "--shutdown-timeout", str(shutdown_timeout_s)]
    variables = dict(found.env)
    if settings.engine_api_key is not None:
        variables["VLLM_API_KEY"] = settings.engine_api_key.get_secret_value()
    return replace(
        found, args=[*found.args, *listening], env=variables, reasons=[f"model {model}: {why}", *found.reasons]
    )


def main(arguments: list[str]) -> NoReturn:
    """Becomes vLLM, or ends with the reason why it cannot."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--shutdown-timeout-s", type=int, default=SHUTDOWN_TIMEOUT_S)
    options, rest = parser.parse_known_args(arguments)
    unknown = unknown_variables(os.environ)
    try:
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such setting")
        settings = CliApp.run(Settings, cli_args=rest)
        found = launch(settings, detect_gpus(), options.shutdown_timeout_s)
    except (ValidationError, ValueError) as exc:
        sys.exit(f"engine: {exc}")
    sys.stderr.write("".join(f"engine: {reason}\n" for reason in found.reasons))
    sys.stderr.flush()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QVL_")}
    command = [settings.engine_python, *found.args]
    os.execve(command[0], command, {**found.env, **inherited})  # noqa: S606  # the operator's own choice


if __name__ == "__main__":
    main(sys.argv[1:])
