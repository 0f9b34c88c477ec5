"""`/v1/extract`: facts out of a picture or a document, as JSON that holds to the caller's schema.

The model never says where a fact stands. Evidence is found afterwards: each value is looked up among the lines of the
page, as they were spotted in a question of their own, and what is not found there says `match: none`.
"""

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from server.media.view import Clip, View
from server.tasks.evidence import Line, evidence
from server.tasks.inputs import Media
from server.tasks.read_text import ReadText, ReadTextRequest
from server.tasks.reading import Notice
from server.tasks.reading_value import read_value
from server.tasks.schemas import problems, validator
from server.tasks.task import (
    Ask,
    Extent,
    MediaKind,
    Part,
    Reader,
    Shown,
    Task,
    TaskRequest,
    TaskResult,
    extent,
    json_answer,
    question,
)

MAX_QUESTION_CHARS = 4000
MAX_SCHEMA_CHARS = 60_000
_MAX_SKELETON_LEVELS = 8


class ExtractRequest(TaskRequest):
    """What to find out."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, populate_by_name=True)

    image: Media | None = None
    """URL, data: URI or OpenAI content part."""
    document: Media | None = None
    """A PDF or TIFF instead."""
    pages: str | None = Field(default=None, pattern=r"^[0-9,\- ]+$", max_length=200)
    """Pages of the document: `1-5,8`. All if left out."""
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    """JSON Schema of an object; `data` in the result holds to it."""
    evidence: bool = False
    """Say where each value stands; asks the model for the lines of every page as well."""
    question: str | None = Field(default=None, min_length=1, max_length=MAX_QUESTION_CHARS)
    """A question instead of, or beside, the schema: `How much did the latte cost?`"""

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is None:
            return None
        if len(orjson.dumps(schema)) > MAX_SCHEMA_CHARS:
            raise ValueError(f"schema is longer than {MAX_SCHEMA_CHARS} bytes")
        if schema.get("type") != "object":
            raise ValueError("schema must be of type object")
        validator(schema)
        return schema

    @model_validator(mode="after")
    def _one_of_each(self) -> "ExtractRequest":
        if (self.image is None) == (self.document is None):
            raise ValueError("give image or document, one of them")
        if self.json_schema is None and self.question is None:
            raise ValueError("give schema or question")
        return self


class Evidence(BaseModel):
    """Where a value of the data stands."""

    field: str
    page: int
    bbox_2d: list[float] | None
    quote: str | None
    match: str


class PageSize(BaseModel):
    """A page, or the one picture; boxes are in pixels of `image`."""

    page: int
    image: Extent
    model_input: Extent


class ExtractResult(TaskResult):
    """Facts, valid against the schema that was given."""

    data: dict[str, Any]
    valid: bool
    evidence: list[Evidence]
    """Empty unless asked for."""
    pages: list[PageSize]


class RecordReader(Reader):
    """One JSON object."""

    def __init__(self, request: ExtractRequest, shown: Shown) -> None:
        super().__init__(shown)
        self._schema = request.json_schema
        self.data: dict[str, Any] = {}

    def read(self, text: str) -> list[dict[str, Any]]:
        return []

    def end(self) -> list[dict[str, Any]]:
        value, notices = read_value(self.good_text)
        self.warnings += notices
        if value is None:
            raise self.unreadable("holds no JSON object")
        value = coerced(value, self._schema or {}, self.warnings)
        wrong = list(islice(problems(value, self._schema or {}), 20))
        if wrong:
            raise self.unreadable(f"does not hold to the schema: {wrong[0]}", problems=wrong, data=value)
        self.data = value
        return [{"data": value}]


class Extract(Task[ExtractRequest]):
    """See the module."""

    name = "extract"
    object = "extraction"
    summary = "Find facts in a picture or document, as JSON valid against a schema, or as the answer to a question."
    inputs: ClassVar[dict[str, MediaKind]] = {"image": "image", "document": "document"}
    request = ExtractRequest
    result_model = ExtractResult
    together = True

    def ask(self, request: ExtractRequest, shown: Shown) -> Ask:
        options: dict[str, Any] = {}
        if request.constrained:
            options = json_answer("data", request.json_schema or {"type": "object"})
        return Ask(question(shown, prompt(request)), options)

    def reader(self, request: ExtractRequest, shown: Shown) -> RecordReader:
        return RecordReader(request, shown)

    def support(self, request: ExtractRequest) -> tuple[Task[Any], TaskRequest] | None:
        if not request.evidence:
            return None
        lines = ReadTextRequest(
            image="shown", level="line", temperature=request.temperature, constrained=request.constrained
        )
        return ReadText(), lines

    def result(self, request: ExtractRequest, parts: Sequence[Part]) -> dict[str, Any]:
        reader = parts[0].reader
        assert isinstance(reader, RecordReader)
        pages = [part for part in parts[1:] if part.reader is not None]
        lines = [
            Line(part.about or 1, item["text"], item["bbox_2d"])
            for part in pages
            if part.reader is not None
            for item in part.reader.items
        ]
        return {
            "data": reader.data,
            "valid": True,
            "evidence": evidence(reader.data, lines) if request.evidence else [],
            "pages": [_page(each) for each in parts[0].shown],
        }


def _page(shown: View | Clip) -> dict[str, Any]:
    page = shown.page if isinstance(shown, View) else None
    return {"page": page or 1, "image": extent(shown.original_wh), "model_input": extent(shown.shown_wh)}


def prompt(request: ExtractRequest) -> str:
    """Qwen's words for key information: the empty record itself says what is wanted.

    >>> prompt(ExtractRequest(image="data:,", schema={"type": "object", "properties": {"total": {"type": "number"}}}))
    'Extract the key-value information in the format:{"total": ""}'
    >>> prompt(ExtractRequest(image="data:,", question="How much did the latte cost?"))
    'How much did the latte cost? Output in JSON format.'
    """
    if request.json_schema is None:
        return f"{request.question} Output in JSON format."
    record = _json(skeleton(request.json_schema))
    asked = f"Extract the key-value information in the format:{record}"
    return f"{request.question} {asked}" if request.question else asked


def skeleton(schema: Any, levels: int = _MAX_SKELETON_LEVELS) -> Any:
    """The empty record of a schema.

    >>> skeleton({"properties": {"a": {"type": "number"}, "b": {"items": {"properties": {"c": {}}}, "type": "array"}}})
    {'a': '', 'b': [{'c': ''}]}
    """
    if not isinstance(schema, dict) or levels == 0:
        return ""
    if isinstance(schema.get("properties"), dict):
        return {name: skeleton(inner, levels - 1) for name, inner in schema["properties"].items()}
    if schema.get("type") == "array":
        inner = skeleton(schema.get("items"), levels - 1)
        return [inner] if inner else []
    return {} if schema.get("type") == "object" else ""


def coerced(value: Any, schema: Any, warnings: list[Notice], field: str = "", levels: int = 16) -> Any:
    """The value with numbers and booleans that were written as strings, where the schema asks for those.

    >>> coerced({"total": "$5.25", "count": "3", "paid": "yes"}, {"properties": {"total": {"type": "number"},
    ...     "count": {"type": "integer"}, "paid": {"type": "boolean"}}}, [])
    {'total': 5.25, 'count': 3, 'paid': True}
    """
    if not isinstance(schema, dict) or levels == 0:
        return value
    if isinstance(value, dict) and isinstance(schema.get("properties"), dict):
        inner = schema["properties"]
        return {
            key: coerced(each, inner.get(key), warnings, f"{field}.{key}".lstrip("."), levels - 1)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [
            coerced(each, schema.get("items"), warnings, f"{field}[{at}]", levels - 1) for at, each in enumerate(value)
        ]
    changed = _as_type(value, schema.get("type"))
    if changed is not value:
        warnings.append(Notice("value_coerced", {"field": field, "written": value}, f"read as {_json(changed)}"))
    return changed


def _as_type(value: Any, wanted: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and wanted == "string":
        return str(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if wanted in {"number", "integer"}:
        bare = text.lstrip("$€£¥").replace(",", "").removesuffix("%").strip()
        try:
            number = float(bare)
        except ValueError:
            return value
        if number != number or number in {float("inf"), float("-inf")}:
            return value
        return int(number) if number.is_integer() and (wanted == "integer" or "." not in bare) else number
    if wanted == "boolean" and text.casefold() in {"true", "yes", "false", "no"}:
        return text.casefold() in {"true", "yes"}
    if wanted == "null" and text.casefold() in {"", "null", "none", "n/a"}:
        return None
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
