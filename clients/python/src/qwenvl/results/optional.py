"""Libraries that results can turn into, imported when asked for."""

import importlib
from typing import Any


def library(name: str, extra: str, what: str) -> Any:
    """The module. Raises ImportError that says what to install.

    >>> library("no_such_library", "pandas", "a table")
    Traceback (most recent call last):
    ImportError: a table needs no_such_library: pip install 'qwenvl[pandas]'
    """
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise ImportError(f"{what} needs {name.partition('.')[0]}: pip install 'qwenvl[{extra}]'") from exc


def table(rows: list[dict[str, Any]]) -> Any:
    """A pandas.DataFrame of the rows."""
    return library("pandas", "pandas", "a table").DataFrame(rows)
