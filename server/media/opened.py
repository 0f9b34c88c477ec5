"""Files that are looked at more than once: the pages of a document, the windows of a clip. Fetched once, and let go
when the request is done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from server.media.view import Clip, Size, View

Facts = tuple[dict[str, Any], str]
"""What a decode process gives: facts, and the URL for the engine."""


@dataclass(frozen=True, slots=True)
class PageView(View):
    """A page of a document."""

    text_layer: str | None = None
    """The words that a PDF's page holds itself; empty for a scan, None where pages cannot have them."""


class Document:
    """A document that is open; pages count from 1."""

    def __init__(self, pages: int, ask: Callable[[int], Awaitable[Facts]]) -> None:
        self.pages = pages
        self._ask = ask

    async def load_page(self, number: int) -> PageView:
        """One page as the model is to see it. Raises MediaUnreadable, MediaTooLarge."""
        facts, url = await self._ask(number)
        points = facts.get("page_wh_pt")
        return PageView(
            original_wh=_size(facts["original_wh"]),
            shown_wh=_size(facts["shown_wh"]),
            url=url,
            digest=facts["digest"],
            page=number,
            page_wh_pt=(points[0], points[1]) if points else None,
            text_layer=facts.get("text_layer"),
        )


class Film:
    """A clip that is open; windows are decoded one at a time, because they share the file's position."""

    def __init__(self, ask: Callable[[float, float | None, float | None], Awaitable[Clip]]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()

    async def load(self, start_s: float, end_s: float | None, *, fps: float | None = None) -> Clip:
        """A window as the model is to see it, at another rate than the clip was opened with if `fps` is given.

        Raises what `MediaLoader.load_clip` raises.
        """
        async with self._turn:
            return await self._ask(start_s, end_s, fps)


def _size(pair: list[int]) -> Size:
    return pair[0], pair[1]
