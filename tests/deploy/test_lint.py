"""The Dockerfile and the compose file against their linter and their schema."""

import subprocess

import pytest

from tests.deploy.conftest import ROOT

TOOLS = ROOT / ".venv-deploy/bin"


def tool(name: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of the tools of scripts/locks/deploy.txt, from the repository's root."""
    if not (TOOLS / name).is_file():
        pytest.skip(f"{name} is not installed: scripts/test installs scripts/locks/deploy.txt")
    return subprocess.run([TOOLS / name, *words], cwd=ROOT, input=text, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    found = tool("hadolint", "--no-color", "Dockerfile")
    assert (found.stdout, found.returncode) == ("", 0)


def test_hadolint_finds_a_planted_mistake() -> None:
    mistaken = "FROM debian:bookworm-slim\nRUN cd /tmp\nRUN apt-get install -y x=1 | cat\n"
    assert "DL3003" in tool("hadolint", "-", text=mistaken).stdout
