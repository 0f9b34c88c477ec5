"""`AsyncClient`: as `Client`, with `await`."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

import httpx2

from qwenvl import calls
from qwenvl.calls import Call, I, P, R, signature
from qwenvl.cards import ModelCard, TaskCard
from qwenvl.errors import QwenVLError, status_error
from qwenvl.requests import answer, body, close, failed, once, wait_s
from qwenvl.settings import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, Settings
from qwenvl.streams import AsyncStream

if TYPE_CHECKING:
    import openai


class AsyncTaskMethod(Generic[P, R, I]):
    """A task of a client: `await` it for the result, or `await` its `.stream(...)` for items as they come."""

    def __init__(self, client: "AsyncClient", make: Callable[P, Call[R, I]]) -> None:
        functools.update_wrapper(self, make)
        self.__signature__ = signature(make)
        self._client, self._make = client, make

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._client.run(self._make(*args, **kwargs))

    async def stream(self, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[R, I]:
        """Items as they are found, then the result."""
        return await self._client.stream(self._make(*args, **kwargs))


class task(Generic[P, R, I]):  # noqa: N801 - used as a decorator is
    """A function that makes a call, as a method of `AsyncClient`."""

    def __init__(self, make: Callable[P, Call[R, I]]) -> None:
        self._make = make

    def __get__(self, client: "AsyncClient", owner: type["AsyncClient"]) -> AsyncTaskMethod[P, R, I]:
        return AsyncTaskMethod(client, self._make)


class AsyncClient:
    """As `Client`, for programs that do several things at once."""

    detect = task(calls.detect)
    parse_document = task(calls.parse_document)
    localize_events = task(calls.localize_events)
    read_text = task(calls.read_text)
    caption = task(calls.caption)
    extract = task(calls.extract)
    act = task(calls.act)
    ask = task(calls.ask)

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_RETRIES,
        model: str | None = None,
        headers: dict[str, str] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = Settings.of(base_url, api_key, timeout_s, max_retries, model, headers)
        self._http = httpx2.AsyncClient(**self.settings.http(), transport=transport)

    @functools.cached_property
    def openai(self) -> "openai.AsyncOpenAI":
        """OpenAI's own client, pointed at this server: `await client.openai.chat.completions.create(...)`."""
        from openai import AsyncOpenAI

        key, timeout = self.settings.api_key or "none", self.settings.timeout(None)
        retries, headers = self.settings.max_retries, self.settings.headers
        url = f"{self.settings.base_url}/v1"
        return AsyncOpenAI(base_url=url, api_key=key, timeout=timeout, max_retries=retries, default_headers=headers)

    async def models(self) -> list[ModelCard]:
        """The models that can be asked."""
        return [ModelCard.model_validate(card) for card in (await self._get("/v1/models"))["data"]]

    async def tasks(self) -> list[TaskCard]:
        """The tasks that the server has, with their schemas and limits."""
        return [TaskCard.model_validate(card) for card in (await self._get("/v1/tasks"))["data"]]

    # -- sending -----------------------------------------------------------------------------------------------------
    async def run(self, call: Call[R, I]) -> R:
        """The result of a call."""
        headers = once(call, self.settings.max_retries)
        response = await self._tried(lambda: self._sent(call, headers, stream=False))
        return answer(call, response)

    async def stream(self, call: Call[R, I]) -> AsyncStream[R, I]:
        """A call's items as they come. Tried again only until the first of them."""
        return AsyncStream(call, await self._tried(lambda: self._sent(call, {}, stream=True)))

    async def _sent(self, call: Call[Any, Any], headers: dict[str, str], *, stream: bool) -> httpx2.Response:
        arguments, opened = body(call.asked_of(self.settings.model), stream=stream).arguments(
            call.options.get("on_upload")
        )
        timeout = self.settings.timeout(call.options.get("timeout_s"))
        try:
            request = self._http.build_request("POST", call.path, headers=headers, timeout=timeout, **arguments)
            return await self._http.send(request, stream=stream)
        finally:
            close(opened)

    async def _get(self, path: str) -> Any:
        return (await self._tried(lambda: self._http.get(path))).json()

    async def _tried(self, send: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
        tries = 0
        while True:
            tries += 1
            error: QwenVLError
            try:
                response = await send()
                if response.status_code < 400:
                    return response
                error = status_error(response.status_code, await response.aread(), response.headers)
                await response.aclose()
            except httpx2.TransportError as exc:
                error = failed(exc, self.settings.base_url)
                error.__cause__ = exc
            pause_s = None if tries > self.settings.max_retries else wait_s(tries, error)
            if pause_s is None:
                raise error
            await asyncio.sleep(pause_s)

    # -- closing -----------------------------------------------------------------------------------------------------
    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        if "openai" in self.__dict__:
            await self.openai.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
