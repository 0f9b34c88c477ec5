"""Questions that applications ask. To add one: a file here with a `Task`, and a line in TASKS.

The paths, the streaming, multipart, OpenAPI and `GET /v1/tasks` follow from the table; HTTP is not touched.
"""

from typing import Any

from server.tasks.act import Act
from server.tasks.caption import Caption
from server.tasks.detect import Detect
from server.tasks.extract import Extract
from server.tasks.localize_events import LocalizeEvents
from server.tasks.parse_document import ParseDocument
from server.tasks.read_text import ReadText
from server.tasks.task import Task

__all__ = ["TASKS", "Task"]

TASKS: tuple[Task[Any], ...] = (
    Detect(),
    ParseDocument(),
    LocalizeEvents(),
    ReadText(),
    Caption(),
    Extract(),
    Act(),
)
"""Every task, in the order in which `GET /v1/tasks` lists them."""
