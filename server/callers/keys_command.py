"""python -m server keys: makes keys, lists them, takes them out of the file. A running server sees it by itself.

A key is printed once, to standard output, and nowhere else; the file gets its hash. Replacing a key without a gap: make
a second one of the same name (it takes over what the first may do), hand it out, drop the first.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from server.callers.keys import HASH_PREFIX, KeyRow, callers, hashed, new_key, read_rows

FAILED = 1
SHOWN_DIGITS = 12
"""Of a hash, in lists; enough to name it for `drop`."""
TABLE = re.compile(r"^\s*\[\[\s*key\s*\]\].*?(?=^\s*\[|\Z)", re.MULTILINE | re.DOTALL)


def run(arguments: Sequence[str], tasks: Iterable[str], default_file: str | None) -> int:
    """Do what is asked; the exit status."""
    options = parser(default_file).parse_args(arguments)
    known = frozenset(tasks)
    path = Path(options.keys_file)
    try:
        if options.command == "new":
            key = add(path, options, known)
            sys.stderr.write(f"the key of {options.name}, shown this once; {path} holds its hash:\n")
            sys.stdout.write(f"{key}\n")
        elif options.command == "list":
            for row in read_rows(path.read_text()):
                sys.stdout.write(f"{line(row)}\n")
        else:
            sys.stderr.write(f"dropped {drop(path, options.hash)}\n")
    except (OSError, ValueError) as exc:
        sys.stderr.write(f"{path}: {exc}\n")
        return FAILED
    return 0


def parser(default_file: str | None) -> argparse.ArgumentParser:
    """The command line."""
    outer = argparse.ArgumentParser(prog="python -m server keys", description="Make, list and drop API keys.")
    commands = outer.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a key; it is shown once")
    listing = commands.add_parser("list", help="what the keys may do")
    dropping = commands.add_parser("drop", help="take a key out")
    for each in (new, listing, dropping):
        each.add_argument(
            "--keys-file", default=default_file or "keys.toml", help="default: QVL_KEYS_FILE or keys.toml"
        )
    new.add_argument("--name", required=True, help="whose key it is; several keys may have one name")
    new.add_argument("--task", action="append", dest="tasks", help="a task it is for; repeat; left out: all")
    new.add_argument("--model", action="append", dest="models", help="a model it is for; repeat; left out: all")
    new.add_argument("--priority", choices=("high", "normal", "low"))
    new.add_argument("--share", type=float, help="of the server, against others' 1, when it is full")
    new.add_argument("--concurrent", type=int, help="most requests at once")
    new.add_argument("--requests-per-minute", type=int)
    new.add_argument("--tokens-per-minute", type=int)
    new.add_argument("--operator", action="store_true", default=None, help="may see the status page and all usage")
    new.add_argument("--expires", help="last day or moment, as 2027-01-31 or 2027-01-31T12:00:00Z")
    dropping.add_argument("hash", help="the first digits of its hash, as `list` shows them")
    return outer


def add(path: Path, options: argparse.Namespace, tasks: frozenset[str]) -> str:
    """Put a new key into the file; the key. What is not said is as with the last key of the same name.

    Raises ValueError for what a key cannot be, and for a file that cannot be read.
    """
    text = path.read_text() if path.exists() else ""
    rows = read_rows(text)
    key = new_key()
    before = [row.model_dump() for row in rows if row.name == options.name][-1:]
    said = {name: value for name, value in vars(options).items() if name in KeyRow.model_fields and value is not None}
    fields = {**(before[0] if before else {}), **said, "hash": hashed(key)}
    table = toml(fields)
    whole = text + ("\n" if text and not text.endswith("\n\n") else "") + table
    callers(read_rows(whole), tasks)
    write(path, whole)
    return key


def drop(path: Path, start: str) -> str:
    """Take out the one key whose hash starts so; its name. Raises ValueError if none or several do."""
    text = path.read_text()
    start = start.removeprefix(HASH_PREFIX)
    found = [row for row in read_rows(text) if row.hash.removeprefix(HASH_PREFIX).startswith(start)]
    if len(found) != 1 or not start:
        raise ValueError(f"{len(found)} keys have a hash that starts with {start!r}; one must")
    kept = TABLE.sub(lambda table: "" if found[0].hash in table[0] else table[0], text)
    if [row for row in read_rows(text) if row is not found[0] and row.hash != found[0].hash] != read_rows(kept):
        raise ValueError("the table of that key cannot be told from its neighbours; take it out by hand")
    write(path, kept)
    return found[0].name


def toml(fields: dict[str, object]) -> str:
    """A table of the file. JSON's strings, numbers and lists are TOML's.

    >>> toml({"name": "alice", "tasks": ("chat",), "share": 1.0, "models": None})
    '[[key]]\\nname = "alice"\\ntasks = ["chat"]\\n'
    """
    lines = ["[[key]]"]
    for name, value in fields.items():
        field = KeyRow.model_fields[name]
        if value is None or value == field.default:
            continue
        written = str(value) if name == "expires" else orjson.dumps(value).decode()
        lines.append(f"{name} = {written}")
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner alone, so that a server never reads half of it."""
    target = path.resolve()
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            if target.exists():
                os.chmod(temporary, target.stat().st_mode & 0o777)  # noqa: PTH101  # mkstemp's 0600 for a new one
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise


def line(row: KeyRow) -> str:
    """A key in a list."""
    facts = [f"{name}={value}" for name, value in row.model_dump().items() if name not in ("name", "hash") and value]
    return f"{row.hash.removeprefix(HASH_PREFIX)[:SHOWN_DIGITS]}  {row.name}  {' '.join(facts)}".rstrip()
