"""Which file may know which: the arrows of the design, kept by looking at the import statements.

    __main__ -> app -> routes, hot.chat -> { tasks -> media, geometry; engines } -> { protocol, errors, settings }

Imports inside functions count too: they can hide a cycle. Imports for types alone (TYPE_CHECKING) do not.
"""

import ast
import graphlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import server

ROOT = Path(server.__file__).parent
WEB = {"server.app", "server.edge", "server.routes", "server.hot.chat", "server.callers.auth"}
FOREIGN: dict[str, set[str]] = {
    "fastapi": WEB,
    "starlette": WEB,
    "uvicorn": WEB,
    "httpx2": {"server.media.fetch"},
    "httpcore2": {"server.media.fetch"},
    "av": {"server.media"},
    "PIL": {"server.media", "server.tasks"},
    # the one is loaded by vLLM, and by nobody here; the other starts it in its own process, where both are installed
    "vllm": {"server.engines.tool_parser", "server.bulk.inside"},
    "torch": set(),
    "transformers": set(),
}
"""Package of others -> the parts that may know it."""
MAY_READ_ENVIRONMENT = {
    "server.__main__",
    "server.bulk.__main__",
    "server.bulk.inside",  # writes to it what vLLM reads there
    "server.engines.guard",  # a program of its own, which hands what it was started with to vLLM
}
STARTS_IT = {"server.__main__", "server.on_ray"}
LEAVES = {"server.errors", "server.settings"}
ABOVE = {"server.app", "server.routes", "server.hot.chat", "server.answering"}
"""Parts that bring others together."""
FORBIDDEN: dict[str, set[str]] = {
    "server.tasks": ABOVE | {"server.engines"},
    "server.engines": ABOVE | {"server.media", "server.tasks", "server.estimates"},
    "server.media": ABOVE | {"server.engines", "server.tasks"},
    "server.geometry": {"server.engines", "server.media", "server.tasks"},
    # a leaf of arithmetic: the launch profiles of engines ask it, and so do the command line and the routes
    "server.sizing": ABOVE | {"server.engines", "server.media", "server.tasks", "server.estimates"},
    "server.protocol": {"server.engines", "server.media", "server.tasks"},
    "server.hot.checks": {"server.engines", "server.media", "server.tasks"},
    "server.hot.rewrite": {"server.engines", "server.media", "server.tasks"},
}
"""Part -> parts that nothing in it may import."""


def sources() -> dict[str, str]:
    """Module name -> its text, for every module of the server."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        steps = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(steps[:-1] if steps[-1] == "__init__" else steps)] = path.read_text()
    return found


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that are for type checkers alone."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            continue
        yield child
        yield from nodes(child)


@cache
def imports(text: str, known: frozenset[str]) -> frozenset[str]:
    """What a module imports; of our own, the module that a name comes from.

    >>> sorted(imports("from server import errors\\nfrom os import environ", frozenset({"server.errors"})))
    ['os', 'server.errors']
    """
    found = set()
    for node in nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else str(node.module))
    return frozenset(found)


def is_in(module: str, part: str) -> bool:
    """Whether a module is a part or lies in it."""
    return module == part or module.startswith(part + ".")


@cache
def reads_environment(text: str) -> bool:
    """Whether it looks at the process's environment."""
    tree = ast.parse(text)
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return not names.isdisjoint({"environ", "environb", "getenv", "getenvb"})


def violations(texts: Mapping[str, str]) -> list[str]:
    """Every import that goes against an arrow, in words."""
    graph = {module: imports(text, frozenset(texts)) for module, text in texts.items()}
    found = []
    for module, imported in graph.items():
        ours = {name for name in imported if is_in(name, "server")}
        for part, others in FORBIDDEN.items():
            wrong = [name for name in ours if is_in(module, part) and any(is_in(name, other) for other in others)]
            found += [f"{module} imports {name}; nothing in {part} may" for name in wrong]
        if module in LEAVES and ours:
            found.append(f"{module} imports {', '.join(sorted(ours))}; it is a leaf")
        if module not in STARTS_IT and "server.app" in ours:
            found.append(f"{module} imports server.app; only {', '.join(sorted(STARTS_IT))} may")
        if "server.__main__" in ours:
            found.append(f"{module} imports server.__main__; nothing may")
        for package in {name.partition(".")[0] for name in imported} & FOREIGN.keys():
            if not any(is_in(module, part) for part in FOREIGN[package]):
                found.append(f"{module} imports {package}; only {', '.join(sorted(FOREIGN[package])) or 'nobody'} may")
        if reads_environment(texts[module]) and module not in MAY_READ_ENVIRONMENT:
            found.append(f"{module} reads the environment; only {', '.join(sorted(MAY_READ_ENVIRONMENT))} may")
    modules = {module: graph[module] & graph.keys() for module in graph}
    rooms: dict[str, set[str]] = {}
    for module, imported in modules.items():
        rooms.setdefault(room(module), set()).update(room(name) for name in imported if room(name) != room(module))
    for arrows in (modules, rooms):
        try:
            graphlib.TopologicalSorter(arrows).prepare()
        except graphlib.CycleError as exc:
            found.append(f"a cycle: {' -> '.join(exc.args[1])}")
    return found


def room(module: str) -> str:
    """The folder that a module lies in, or the module itself where it lies in none.

    >>> room("server.hot.chat"), room("server.errors")
    ('server.hot', 'server.errors')
    """
    return ".".join(module.split(".")[:2])


def test_imports_go_along_the_arrows() -> None:
    assert violations(sources()) == []


PLANTED = {
    "a task that asks an engine": ("server.tasks.reading", "from server.engines.pool import Pool"),
    "a task that asks an engine later": ("server.tasks.reading", "def ask():\n    import server.engines.wire"),
    "an engine that decodes": ("server.engines.wire", "from server.media import view"),
    "an engine that knows a task": ("server.engines.pool", "from server.tasks import reading"),
    "media that asks": ("server.media.image", "import server.engines"),
    "media that knows a task": ("server.media.loader", "from server.tasks.reading import x"),
    "geometry that decodes": ("server.geometry", "from server.media import view"),
    "a leaf that knows more": ("server.errors", "from server.seeing import metrics"),
    "a task on the web": ("server.tasks.reading", "from fastapi import Request"),
    "the engine's own packages": ("server.engines.checkpoints", "from transformers import AutoConfig"),
    "a way out of the house": ("server.tasks.reading", "import httpx2"),
    "an engine on the web": ("server.engines.vllm", "import starlette.requests"),
    "a part that wires": ("server.routes.basics", "from server.app import create_app"),
    "the environment": ("server.hot.chat", "import os\nkey = os.environ['KEY']"),
    "the environment by another name": ("server.media.fetch", "from os import getenv"),
    "a cycle": ("server.seeing.metrics", "from server.callers import gate"),
    "a cycle of rooms": ("server.seeing.stages", "from server.callers import keys"),
    "a cycle behind a function": ("server.seeing.metrics", "def late():\n    from server.callers.gate import Gate"),
}


@pytest.mark.parametrize(("module", "line"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_found(module: str, line: str) -> None:
    texts = sources()
    texts[module] += f"\n{line}\n"
    assert len(violations(texts)) >= 1


def test_every_part_that_a_rule_names_exists() -> None:
    texts = sources()
    named = (
        set().union(*FOREIGN.values())
        | MAY_READ_ENVIRONMENT
        | LEAVES
        | FORBIDDEN.keys()
        | set().union(*FORBIDDEN.values())
    )
    assert {part for part in named if not any(is_in(module, part) for module in texts)} == set()


def test_an_import_for_types_alone_is_none() -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from server.engines import pool\n"
    assert imports(text, frozenset()) == {"typing"}
