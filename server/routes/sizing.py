"""HTTP for sizing: what fits which card, and what a request would cost in tokens."""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from server.callers.gate import Gate
from server.callers.weighing import places
from server.edge.body import ClientLeft
from server.errors import InvalidValue, UnsupportedContentType
from server.estimates import Estimate, Estimator
from server.exchange import LEFT, Exchange
from server.hot import rewrite
from server.routes.basics import Caller, exchange_of
from server.routes.tasks import checked, while_present
from server.settings import Settings
from server.sizing.asked import NUMBERS, WORDS, demand_from
from server.sizing.explain import as_json
from server.sizing.fit import fit
from server.tasks import Task

FORMS = {"messages": rewrite.CHAT, "input": rewrite.RESPONSE}
"""Field that a body has -> how it is read; a task's body has neither and is told by `?task=`."""
FIT_FIELDS = [
    {"name": name, "in": "query", "required": name in ("model", "gpu"), "schema": {"type": "string"}}
    for name in (*WORDS, *NUMBERS)
]


def sizing_routes(tasks: Sequence[Task[Any]]) -> APIRouter:
    """The two routes; `tasks` are those whose requests can be estimated."""
    router = APIRouter()
    by_name = {task.name: task for task in tasks}

    def fits(_: Caller, request: Request) -> dict[str, Any]:
        """Whether a model fits a card, how much of it, and how to start it; each term of its memory explained."""
        return as_json(fit(demand_from(request.query_params)))

    async def estimate(request: Request, exchange: Annotated[Exchange, Depends(exchange_of)]) -> Response:
        """Tokens that a request would cost: the body of a chat, responses or (with `?task=`) task request."""
        gate: Gate = request.app.state.gate
        caller = gate.caller(exchange, request.query_params.get("task", "chat"))
        visit = await gate.arrive(exchange, caller)
        try:
            work = await _work(request, by_name)
            # Pictures are decoded, so it takes places; no engine sees them, so it spends no tokens.
            weight = places(0, visit.bytes, request.app.state.settings)
            if not visit.enter(weight):
                await visit.wait(weight)
            found = await while_present(request.receive, work())
        except ClientLeft:
            return Response(status_code=LEFT)
        finally:
            visit.leave()
        return JSONResponse(found.public())

    fits.__name__ = "fit"
    router.add_api_route("/v1/fit", fits, methods=["GET"], tags=["sizing"], openapi_extra={"parameters": FIT_FIELDS})
    router.add_api_route(
        "/v1/tokens/estimate", estimate, methods=["POST"], tags=["sizing"], response_model=None, openapi_extra=ESTIMATE
    )
    return router


ESTIMATE: dict[str, Any] = {
    "parameters": [
        {"name": "task", "in": "query", "required": False, "schema": {"type": "string"}, "description": "a task's name"}
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}


async def _work(request: Request, tasks: dict[str, Task[Any]]) -> Callable[[], Coroutine[Any, Any, Estimate]]:
    """What is to be done for this request, its body read and checked."""
    state = request.app.state
    settings: Settings = state.settings
    if "json" not in request.headers.get("content-type", "application/json").lower():
        raise UnsupportedContentType("content-type must be application/json", param="content-type")
    raw = await request.body()
    body = rewrite.read_body(raw, settings)
    estimator = Estimator(state.pool, state.media, settings)
    name = request.query_params.get("task")
    if name is not None:
        task = _task(name, tasks)
        return partial(estimator.task, task, checked(task, body, settings))
    for field, form in FORMS.items():
        if field in body:
            return partial(estimator.chat, rewrite.prepare(body, raw, form, settings), field)
    raise InvalidValue(
        f"the body has no messages and no input; for a task's body name the task: ?task={'|'.join(tasks)}",
        param="messages",
    )


def _task(name: str, tasks: dict[str, Task[Any]]) -> Task[Any]:
    if name not in tasks:
        raise InvalidValue(f"task is {name[:80]!r}; it is one of {', '.join(tasks)}", param="task")
    return tasks[name]
