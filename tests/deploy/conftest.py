"""Images built without a container engine, and what they need of this machine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

collect_ignore = ["render.py"]
"""Runs in an environment of its own; --doctest-modules would import it."""

ROOT = Path(__file__).resolve().parents[2]
ROOTFS = [sys.executable, str(ROOT / "tests/deploy/rootfs.py")]


@dataclass(frozen=True)
class Built:
    """A stage of the Dockerfile, made in a fresh Debian root."""

    file: Path
    image: dict[str, Any]
    runs: dict[str, list[str]]

    def command(self, variables: dict[str, str], *words: str) -> list[str]:
        """Starts the image, or `words` in it."""
        settings = [f"-e{name}={value}" for name, value in variables.items()]
        return [*ROOTFS, "start", *settings, str(self.file), "--", *words]


@cache
def _missing() -> str:
    if os.geteuid() != 0:
        return "only root can make a root filesystem"
    if not (shutil.which("mmdebstrap") or shutil.which("debootstrap")):
        return "neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap"
    probe = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x20000))"
    if subprocess.run([sys.executable, "-c", probe], check=False).returncode:
        return "no new mount namespace may be made here"
    return ""


@pytest.fixture(scope="session")
def build_image(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Built]:
    """Builds a stage: `build_image("gateway", NAME="value of an ARG")`."""
    if reason := _missing():
        pytest.skip(reason)

    def build(stage: str, **args: str) -> Built:
        words = [f"--arg={name}={value}" for name, value in args.items()]
        made = subprocess.run([*ROOTFS, "build", stage, *words], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr[-4000:]
        file = tmp_path_factory.mktemp(stage) / "image.json"
        file.write_text(made.stdout)
        return Built(file, **json.loads(made.stdout))

    return build
