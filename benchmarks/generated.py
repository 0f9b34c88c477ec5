"""Sections of a README that a benchmark writes from its results, each between `<!-- name -->` and `<!-- /name -->`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

Sections = Mapping[str, Callable[[], str]]
"""Name -> what makes its text."""


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """The first row is the header.

    >>> print(markdown([["a", "b"], ["1", "2"]]), end="")
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    header, *others = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *others))


def filled(text: str, sections: Sections) -> str:
    """`text` with every generated section as it is now.

    >>> filled("Of it:\\n<!-- sum -->\\n3\\n<!-- /sum -->", {"sum": lambda: "4\\n"})
    'Of it:\\n<!-- sum -->\\n4\\n<!-- /sum -->'
    """
    for name, section in sections.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = before + start + section() + end + rest.split(end)[1]
    return text


def into_readme(readme: Path, name: str, text: str) -> None:
    """Write one section, of a benchmark that has just been run."""
    readme.write_text(filled(readme.read_text(), {name: lambda: f"{text}\n"}))


def main(description: str | None, readme: Path, sections: Sections, program: str) -> int:
    """The command of `python -m {program}`: writes the sections, or with `--check` says whether they are current."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="say whether README.md is current; change nothing")
    options = parser.parse_args()
    old = readme.read_text()
    new = filled(old, sections)
    if not options.check:
        readme.write_text(new)
    elif old != new:
        sys.stderr.write(f"{readme} is not current: python -m {program}\n")
        return 1
    return 0
