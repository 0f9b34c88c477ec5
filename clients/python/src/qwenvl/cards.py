"""What a server has: its models and tasks."""

from typing import Any

from qwenvl.results.base import Model


class ModelCard(Model):
    """A model that can be asked; a server may say more of it."""

    id: str
    owned_by: str | None = None
    root: str | None = None
    """The served model that this is an alias of."""
    max_model_len: int | None = None
    """Longest prompt and answer together, in tokens."""


class TaskCard(Model):
    """A task."""

    id: str
    path: str
    summary: str
    inputs: dict[str, str]
    request_schema: dict[str, Any]
    result_schema: dict[str, Any]
    limits: dict[str, int | float]
