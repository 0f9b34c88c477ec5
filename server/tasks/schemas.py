"""JSON Schemas that callers send: checked, and never followed out of this server."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs

_LINEAR = jsonschema_rs.RegexOptions()
"""A regex engine without backtracking: no pattern takes longer than the text is long."""


def validator(schema: dict[str, Any]) -> Any:
    """Checks values against a schema. Raises ValueError for what is no schema, or refers to a file or a URL.

    >>> validator({"type": "object", "$ref": "file:///etc/passwd"})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: schema is no JSON Schema that stands alone: Resource 'file:///etc/passwd' ...
    """
    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse, pattern_options=_LINEAR)
    except (ValueError, jsonschema_rs.ReferencingError) as exc:
        raise ValueError(f"schema is no JSON Schema that stands alone: {str(exc).splitlines()[0][:200]}") from exc


def problems(value: Any, schema: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a value, in words that name the field.

    >>> list(problems({"a": "x"}, {"properties": {"a": {"type": "number"}}}))
    ['a: "x" is not of type "number"']
    """
    for error in validator(schema).iter_errors(value):
        where = ".".join(str(step) for step in error.instance_path)
        yield f"{where or 'data'}: {error.message[:300]}"


def _refuse(uri: str) -> Any:
    raise ValueError("a schema must not refer to anything outside itself")
