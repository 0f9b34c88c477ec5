"""`/v1/files` and `/v1/batches`, as OpenAI has them; a batch's endpoint may also be one of our tasks."""

import re
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from server.batches.service import Batches
from server.errors import InvalidValue, MissingField, quoted
from server.routes.basics import Caller

PIECE_BYTES = 256 * 1024
PURPOSES = ("batch", "user_data", "vision", "assistants", "fine-tune", "evals")
WINDOW = re.compile(r"([1-9]\d{0,3})([smhd])")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_WINDOW_S = 7 * 86400
LONGEST_NAME = 255
MOST_FORM_FIELDS = 16


class ExpiresAfter(BaseModel):
    """How long a file is kept."""

    model_config = ConfigDict(extra="forbid")

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=30 * 86400)]


class NewBatch(BaseModel):
    """The body of `POST /v1/batches`."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    output_expires_after: ExpiresAfter | None = None


def batches_of(request: Request) -> Batches:
    """Files and batches."""
    batches: Batches = request.app.state.batches
    return batches


Kept = Annotated[Batches, Depends(batches_of)]


def batch_routes(endpoints: Iterable[str]) -> APIRouter:
    """The routes; `endpoints` are the paths that a batch may ask."""
    router = APIRouter()
    known = frozenset(endpoints)

    @router.post("/v1/files", tags=["files"], openapi_extra=_form("file", "purpose"))
    async def upload(caller: Caller, batches: Kept, request: Request) -> dict[str, Any]:
        """Keep a file: form fields `file` and `purpose`, and `expires_after[anchor]` and `expires_after[seconds]`."""
        async with request.form(max_files=1, max_fields=MOST_FORM_FIELDS) as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile):
                raise MissingField("file is missing, or is not a file", param="file")
            if purpose not in PURPOSES:
                raise InvalidValue(f"purpose is {quoted(purpose)}; it can be {', '.join(PURPOSES)}", param="purpose")
            name = (file.filename or "file")[:LONGEST_NAME]
            kept = await batches.files.add(caller.name, name, str(purpose), _pieces(file), _keep_s(form))
        return kept.card()

    @router.get("/v1/files", tags=["files"])
    async def list_files(
        caller: Caller,
        batches: Kept,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        purpose: str | None = None,
    ) -> dict[str, Any]:
        """The caller's files."""
        found = await batches.files.page(
            caller.name, after=after, limit=limit + 1, ascending=order == "asc", purpose=purpose
        )
        return _page([file.card() for file in found], limit)

    @router.get("/v1/files/{file_id}", tags=["files"])
    async def get_file(file_id: str, caller: Caller, batches: Kept) -> dict[str, Any]:
        """One file, without its bytes."""
        return (await batches.files.get(caller.name, file_id)).card()

    @router.get("/v1/files/{file_id}/content", tags=["files"], response_class=StreamingResponse)
    async def content(file_id: str, caller: Caller, batches: Kept) -> StreamingResponse:
        """A file's bytes."""
        file = await batches.files.get(caller.name, file_id)
        headers = {
            "content-length": str(file.bytes),
            "content-disposition": "attachment",  # whatever it is, it is not a page of ours
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(batches.files.chunks(file.id), 200, headers, "application/octet-stream")

    @router.delete("/v1/files/{file_id}", tags=["files"])
    async def delete_file(file_id: str, caller: Caller, batches: Kept) -> dict[str, Any]:
        """Forget a file. A batch that is under way with it fails for what it has not asked yet."""
        await batches.files.delete(caller.name, file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    @router.post("/v1/batches", tags=["batches"])
    async def create(new: NewBatch, caller: Caller, batches: Kept) -> dict[str, Any]:
        """Ask every line of a file, when there is room."""
        if new.endpoint not in known:
            raise InvalidValue(
                f"endpoint is {quoted(new.endpoint)}; it can be {', '.join(sorted(known))}", param="endpoint"
            )
        window = (new.completion_window, window_s(new.completion_window))
        keep_s = new.output_expires_after.seconds if new.output_expires_after else None
        batch = await batches.ledger.add(caller.name, new.endpoint, new.input_file_id, window, new.metadata, keep_s)
        batches.wake()
        return batch.card()

    @router.get("/v1/batches", tags=["batches"])
    async def list_batches(
        caller: Caller, batches: Kept, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> dict[str, Any]:
        """The caller's batches, the newest first."""
        found = await batches.ledger.page(caller.name, after=after, limit=limit + 1)
        return _page([batch.card() for batch in found], limit)

    @router.get("/v1/batches/{batch_id}", tags=["batches"])
    async def get_batch(batch_id: str, caller: Caller, batches: Kept) -> dict[str, Any]:
        """How far a batch is."""
        return (await batches.ledger.get(caller.name, batch_id)).card()

    @router.post("/v1/batches/{batch_id}/cancel", tags=["batches"])
    async def cancel(batch_id: str, caller: Caller, batches: Kept) -> dict[str, Any]:
        """Ask no more of it; what is answered is kept."""
        batch = await batches.ledger.cancel(caller.name, batch_id)
        batches.wake()
        return batch.card()

    return router


def window_s(text: str) -> int:
    """Seconds of a completion window. OpenAI takes `24h` alone; here it is any time up to a week.

    >>> window_s("24h")
    86400
    """
    found = WINDOW.fullmatch(text)
    seconds = int(found[1]) * UNIT_S[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_WINDOW_S:
        raise InvalidValue(
            f"completion_window is {quoted(text)}; it must be like 24h, and 7d at most", param="completion_window"
        )
    return seconds


def _keep_s(form: Any) -> int | None:
    seconds = form.get("expires_after[seconds]")
    if seconds is None:
        return None
    try:
        return ExpiresAfter(anchor=form.get("expires_after[anchor]"), seconds=seconds).seconds
    except ValueError:
        raise InvalidValue(
            "expires_after must be anchor created_at and 3600 to 2592000 seconds", param="expires_after"
        ) from None


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(PIECE_BYTES):
        yield piece


def _page(cards: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A list as OpenAI has it; `cards` may be one more than asked for."""
    shown = cards[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(cards) > limit,
    }


def _form(*fields: str) -> dict[str, Any]:
    """OpenAPI's description of a form with a file."""
    properties = {name: {"type": "string", **({"format": "binary"} if name == "file" else {})} for name in fields}
    schema = {"type": "object", "required": list(fields), "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
