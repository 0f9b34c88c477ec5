"""HTTP for the tasks of `server.tasks.TASKS`: a path each, JSON or multipart in, JSON or server-sent events out.

Nothing here knows any task. A client that leaves ends the work at once, on the engine too.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.answering.asker import Asker
from server.answering.idempotency import Idempotency
from server.answering.runs import Event, TaskRun
from server.callers.gate import Gate
from server.callers.weighing import task_tokens
from server.edge.body import ClientLeft
from server.edge.departure import Departure
from server.errors import (
    GatewayError,
    InternalError,
    InvalidValue,
    LimitExceeded,
    MissingField,
    UnsupportedContentType,
    field_path,
)
from server.exchange import LEFT, Exchange
from server.hot import rewrite
from server.media import MediaLoader
from server.protocol import error_event
from server.routes.basics import Caller, exchange_of
from server.settings import Settings
from server.tasks import Task
from server.tasks.task import TaskRequest

log = logging.getLogger(__name__)

T = TypeVar("T")
PING_S = 15
"""A stream that is silent for so long sends a comment, so that no proxy thinks it dead."""
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
MAX_FORM_FIELDS = 1000
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def task_routes(tasks: Sequence[Task[Any]]) -> APIRouter:
    """A route for every task, and the list of them."""
    router = APIRouter()

    async def listed(_: Caller, request: Request) -> dict[str, Any]:
        """Every task: what it takes, what it gives, and the limits."""
        return {"object": "list", "data": [card(task, request.app.state.settings) for task in tasks]}

    router.add_api_route("/v1/tasks", listed, methods=["GET"], tags=["tasks"], name="tasks")
    for task in tasks:
        router.add_api_route(
            task.path,
            _endpoint(task),
            methods=["POST"],
            tags=["tasks"],
            name=task.name,
            summary=task.summary,
            response_model=None,
            responses={200: {"model": task.result_model}},
            openapi_extra={"requestBody": request_body(task)},
        )
    return router


def card(task: Task[Any], settings: Settings) -> dict[str, Any]:
    """A task as `GET /v1/tasks` describes it."""
    return {
        "id": task.name,
        "object": "task",
        "path": task.path,
        "summary": task.summary,
        "inputs": task.inputs,
        "result_object": task.object,
        "request_schema": task.request.model_json_schema(),
        "result_schema": task.result_model.model_json_schema(),
        "limits": {
            "max_body_bytes": settings.max_body_bytes,
            "max_tokens": settings.max_tokens_limit,
            "image_max_bytes": settings.media_max_bytes,
            "image_max_pixels": settings.media_max_pixels,
            "video_max_bytes": settings.video_max_bytes,
            "video_max_duration_s": settings.video_max_duration_s,
            "document_max_bytes": settings.document_max_bytes,
            "document_max_pages": settings.document_max_pages,
        },
    }


def request_body(task: Task[Any]) -> dict[str, Any]:
    """OpenAPI's description of a task's request, as JSON and as a form with files."""
    schema = task.request.model_json_schema()
    form = {**schema, "properties": {**schema["properties"]}}
    for name in task.inputs:
        form["properties"][name] = {"type": "string", "format": "binary", "title": name}
    return {
        "required": True,
        "content": {"application/json": {"schema": schema}, "multipart/form-data": {"schema": form}},
    }


def _endpoint(task: Task[Any]) -> Callable[..., Awaitable[Response]]:
    async def endpoint(request: Request, exchange: Annotated[Exchange, Depends(exchange_of)]) -> Response:
        app: FastAPI = request.app
        settings: Settings = app.state.settings
        gate: Gate = app.state.gate
        caller = gate.caller(exchange, task.name)
        raw_key = request.headers.get("idempotency-key")
        visit = await gate.arrive(exchange, caller)
        with contextlib.ExitStack() as stay:
            stay.callback(visit.leave)
            fields = await _fields(task, request, settings)
            asked = checked(task, fields, settings)

            async def run() -> TaskRun:
                await gate.admit(exchange, visit, task_tokens(task, asked, settings))
                asker = Asker(app.state.pool, settings, exchange.id, caller, exchange.trace_head())
                media: MediaLoader = app.state.media
                return TaskRun(task, asked, asker=asker, media=media, settings=settings, costs=exchange)

            async def answered() -> bytes:
                with stay.pop_all():  # the work may outlast this request: see `Idempotency`
                    return orjson.dumps(await (await run()).result())

            try:
                if asked.stream:
                    if raw_key is not None:
                        wrong = "Idempotency-Key is for requests that are not streamed"
                        raise InvalidValue(wrong, param="Idempotency-Key")
                    response = await while_present(request.receive, _begun(run))
                    response.place = stay.pop_all()
                    response.departure = app.state.departure
                    return response
                if raw_key is None:
                    return Response(await while_present(request.receive, answered()), media_type="application/json")
                kept: Idempotency = app.state.idempotency
                name = orjson.dumps([task.name, fields], option=orjson.OPT_SORT_KEYS)
                once = kept.once(exchange.caller, raw_key, name, answered)
                body, replayed = await while_present(request.receive, once)
                headers = {"idempotency-replayed": "true"} if replayed else {}
                return Response(body, media_type="application/json", headers=headers)
            except ClientLeft:
                return Response(status_code=LEFT)

    return endpoint


async def _begun(run: Callable[[], Awaitable[TaskRun]]) -> "EventStream":
    """The stream of a run that has its first event."""
    response = EventStream((await run()).events())
    await response.first()
    return response


# -- the request -----------------------------------------------------------------------------------------------------


async def _fields(task: Task[Any], request: Request, settings: Settings) -> dict[str, Any]:
    """The request's fields, from JSON or from a form. Raises InvalidJSON, UnsupportedContentType."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form(task, request)
    if "json" not in kind:
        raise UnsupportedContentType(
            f"content-type is {kind[:100]}; it must be application/json or multipart/form-data", param="content-type"
        )
    return rewrite.read_body(await request.body(), settings)


async def _form(task: Task[Any], request: Request) -> dict[str, Any]:
    """A form's fields: files become data: URIs, lists and objects are JSON or a field given several times."""
    fields: dict[str, Any] = {}
    async with request.form(max_fields=MAX_FORM_FIELDS, max_part_size=64 * 1024) as form:
        for name in dict.fromkeys(form.keys()):
            values = [await _form_value(value) for value in form.getlist(name)]
            wants_list = _takes(task, name, list)
            if len(values) == 1 and not (wants_list and not isinstance(values[0], list) and name not in task.inputs):
                fields[name] = values[0]
            else:
                fields[name] = values
    return fields


async def _form_value(value: UploadFile | str) -> Any:
    if isinstance(value, UploadFile):
        data = await value.read()
        kind = (value.content_type or "application/octet-stream").partition(";")[0]
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"
    if value[:1] in {"[", "{"}:
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(value)
    return value


def _takes(task: Task[Any], name: str, kind: type) -> bool:
    field = task.request.model_fields.get(name)
    return field is not None and kind.__name__ in str(field.annotation)


def checked(task: Task[Any], fields: dict[str, Any], settings: Settings) -> TaskRequest:
    """The request, valid. Raises InvalidValue, MissingField or LimitExceeded, each naming the field."""
    try:
        asked = task.request.model_validate(fields)
    except ValidationError as exc:
        raise refusal(exc, fields) from exc
    if asked.max_tokens is not None and asked.max_tokens > settings.max_tokens_limit:
        raise LimitExceeded("max_tokens", value=asked.max_tokens, limit=settings.max_tokens_limit)
    return asked


def refusal(exc: ValidationError, given: Any) -> GatewayError:
    """The first thing that pydantic found in what it was `given`, in OpenAI's terms."""
    first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    path = field_path(first["loc"], given)
    if first["type"] == "missing":
        return MissingField(f"{path} is missing", param=path)
    if first["type"] == "extra_forbidden":
        return InvalidValue(f"{path} is no field of this task", param=path, code="unknown_parameter")
    message = first["msg"].removeprefix("Value error, ")
    return InvalidValue(f"{path}: {message}" if path else message, param=path or None)


# -- the answer ------------------------------------------------------------------------------------------------------


async def while_present(receive: Receive, work: Awaitable[T]) -> T:
    """`work`, cancelled when the client leaves. Raises ClientLeft then."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        for each in (working, leaving):
            each.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events of a run. The first one is awaited before the status line, so that a failure has its own."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        super().__init__(media_type="text/event-stream", headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._events = events
        self.place = contextlib.ExitStack()
        """The run's place among those admitted, given back with the last event."""
        self.departure = Departure()
        self._first: Event | None = None

    async def first(self) -> None:
        """Waits for the first event. Raises what the run raises."""
        try:
            self._first = await anext(self._events)
        except BaseException:
            await self._events.aclose()
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with contextlib.suppress(ClientLeft):
                await while_present(receive, self._sent(send))
        finally:
            await self._events.aclose()
            self.place.close()

    async def _sent(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for data in self._bytes():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _bytes(self) -> AsyncGenerator[bytes, None]:
        assert self._first is not None
        yield _event(self._first)
        waiting = self._next()
        try:
            while True:
                if not (await asyncio.wait((waiting,), timeout=PING_S))[0]:
                    yield PING
                    continue
                event = waiting.result()
                if event is None:
                    break
                yield _event(event)
                waiting = self._next()
            yield DONE
        except GatewayError as failure:
            yield error_event(failure)
        except asyncio.CancelledError:
            if not self.departure.over:
                raise
            yield error_event(self.departure.failure())
        except Exception:
            log.exception("a task's stream failed")
            yield error_event(InternalError("the server made a mistake; its log has the request id"))
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    def _next(self) -> "asyncio.Task[Event | None]":
        async def following() -> Event | None:
            return await anext(self._events, None)

        return asyncio.create_task(following())


def _event(event: Event) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.kind.encode(), orjson.dumps(event.data))
