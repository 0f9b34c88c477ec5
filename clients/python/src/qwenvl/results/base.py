"""What every task's result has, and how results that can be drawn know their picture.

Results are pydantic models: they are checked as they come in, a server's newer fields are kept (`extra="allow"`), and
`model_dump()` gives back the JSON that the server sent.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr

from qwenvl.inputs import Source

CoordinateSpace = Literal["pixel", "unit", "per_mille"]


class Model(BaseModel):
    """A piece of an answer."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True, protected_namespaces=())


class Notice(Model):
    """Something that was repaired, clipped, dropped or cut."""

    code: str
    item: Any = None
    action: str


class Usage(Model):
    """Tokens, over all questions that the task asked the model."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Extent(Model):
    """A size in pixels."""

    width: int
    height: int

    @property
    def wh(self) -> tuple[int, int]:
        return self.width, self.height


class Result(Model):
    """The envelope of every task's result."""

    id: str
    object: str
    created: int
    """Unix time, in seconds."""
    model: str
    warnings: list[Notice] = []
    finish_reason: str = "stop"
    """`stop`, `length` (cut off at max_tokens) or `repetition` (the answer went round and was stopped)."""
    usage: Usage = Usage()
    _source: Source | list[Source] | None = PrivateAttr(default=None)
    _request_id: str | None = PrivateAttr(default=None)

    @property
    def request_id(self) -> str | None:
        """What the server's log knows the request by."""
        return self._request_id

    def came_from(self, source: Source | list[Source] | None, request_id: str | None) -> None:
        """Remember what was asked about, so that the result can draw itself."""
        self._source, self._request_id = source, request_id
