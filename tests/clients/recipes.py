"""Where recipes run: in an environment that `clients/recipes/setup.sh` made for one, or here if its package is here."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "clients" / "recipes"
MADE = ROOT / ".cache" / "recipes"
PACKAGES = {
    "openai_sdk": "openai",
    "langchain_chat": "langchain_openai",
    "llamaindex_chat": "llama_index.llms.openai_like",
    "qwen_agent_chat": "qwen_agent",
    "docling_vlm": "docling.document_converter",
}
"""Recipe -> the module that it is about. `vercel-ai` is Node's, `label_studio` needs nothing."""


def command(name: str) -> list[str]:
    """How to run a recipe; the test is skipped where it cannot be."""
    made = MADE / name
    if name == "vercel-ai":
        node = made / "node_modules" / ".bin" / "node"
        if not (made / ".ready").exists():
            pytest.skip("the AI SDK is not installed: clients/recipes/setup.sh vercel-ai")
        found = str(node) if node.exists() else shutil.which("node")
        if found is None:
            pytest.skip("Node is not installed")
        shutil.copy(FOLDER / name / "chat.mjs", made)  # Node looks for packages beside the file
        return [found, str(made / "chat.mjs")]
    if (made / ".ready").exists():
        return [str(made / "bin" / "python"), str(FOLDER / f"{name}.py")]
    if _is_here(PACKAGES[name]):
        return [sys.executable, str(FOLDER / f"{name}.py")]
    pytest.skip(f"{PACKAGES[name]} is not installed: clients/recipes/setup.sh {name}")


def run(name: str, url: str, *arguments: object) -> dict[str, str]:
    """What a recipe printed, by the name of each way to ask."""
    environment = {**os.environ, "QWENVL_URL": url, "NO_PROXY": "*"}
    environment.pop("PYTHONWARNINGS", None)
    with TemporaryDirectory(prefix="recipe-") as folder:  # qwen-agent makes one of its own where it stands
        done = subprocess.run(
            [*command(name), *map(str, arguments)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    printed: dict[str, str] = {}
    last = ""
    for line in done.stdout.splitlines():
        head, found, rest = line.partition(": ")
        if found and head.isidentifier():
            last, line = head, rest
            printed[last] = line
        elif last:
            printed[last] += f"\n{line}"
    return printed


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
