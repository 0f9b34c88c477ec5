"""The distribution stands alone: it imports nothing of the server's, and nothing heavy before it is asked to."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import qwenvl
from tests.clients.recipes import ROOT

FOLDER = ROOT / "clients" / "python"


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_it_imports_nothing_of_ours():
    for path in (FOLDER / "src").rglob("*.py"):
        assert not imported(path) & {"server", "benchmarks", "demo", "tests"}, path


def test_what_costs_most_is_imported_when_it_is_needed():
    code = "import sys, qwenvl; print(*{'openai', 'numpy', 'mcp', 'cyclopts', 'pypdfium2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER / "src")
    assert done.stdout.strip() == ""


def test_public_names_are_sorted_and_there():
    assert qwenvl.__all__ == sorted(qwenvl.__all__)
    assert all(hasattr(qwenvl, name) for name in qwenvl.__all__)


def test_the_versions_are_one():
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert qwenvl.__version__ == project["version"]
