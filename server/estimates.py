"""What a request would cost in tokens, without asking the model: from the same body as the request itself.

Pictures and clips are decoded and sized by the code that would show them, so their tokens are exact. Text is counted by
an engine's tokenizer where one is up, else guessed from its length. Long documents and clips are not decoded to their
end: pages after the first few, and windows after the first, are reckoned from those.
"""

import asyncio
import contextlib
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from server.answering.showing import Showing, showings
from server.engines.pool import Pool
from server.errors import EngineFailed, EngineTimeout, EngineUnavailable, Overloaded
from server.hot.rewrite import MediaPart, Prepared
from server.media import MediaLoader
from server.media.sizes import clip_tokens, frame_size
from server.media.view import Clip, View
from server.protocol import engine_error
from server.settings import Settings
from server.tasks.task import Task, TaskRequest

MOST_PAGES_LOOKED_AT = 8
AROUND_TOKENS = 2
"""`<|vision_start|>` and `<|vision_end|>` of each picture or clip."""
MARKS = {"type": "text", "text": "<|vision_start|><|image_pad|><|vision_end|>"}
TEMPLATE_TOKENS, MESSAGE_TOKENS = 3, 5
SYSTEM_TOKENS = 11
"""The default system message with its marks, where the caller gives none."""
ASCII_PER_TOKEN, OTHERS_PER_TOKEN = 3.8, 1.2
"""Characters a token, for the guess: English and code about 3.8, Chinese about 1.5, the careful side taken."""
MEDIA_PARTS = ("image_url", "video_url", "input_image", "image", "video", "input_video")


@dataclass(frozen=True, slots=True)
class Item:
    """One picture, page or clip."""

    kind: str
    tokens: int
    original_wh: tuple[int, int]
    shown_wh: tuple[int, int]
    param: str | None = None
    frames: int | None = None
    is_exact: bool = True

    def public(self) -> dict[str, Any]:
        sizes = {
            name: {"width": wh[0], "height": wh[1]}
            for name, wh in (("original", self.original_wh), ("model_input", self.shown_wh))
        }
        frames = {"frames": self.frames} if self.frames else {}
        return {
            "kind": self.kind,
            "param": self.param,
            **sizes,
            **frames,
            "tokens": self.tokens,
            "exact": self.is_exact,
        }


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt to the model: its items, its text, and the longest answer it asks for."""

    items: Sequence[Item]
    text_tokens: int
    is_exact: bool
    max_tokens: int | None = None
    about: int | None = None
    span_s: tuple[float, float] | None = None

    @property
    def visual_tokens(self) -> int:
        return sum(item.tokens for item in self.items)

    @property
    def prompt_tokens(self) -> int:
        return self.text_tokens + self.visual_tokens

    def public(self) -> dict[str, Any]:
        about = {"page": self.about} if self.about is not None else {}
        span = {"start_s": self.span_s[0], "end_s": self.span_s[1]} if self.span_s else {}
        return {
            **about,
            **span,
            "prompt_tokens": self.prompt_tokens,
            "text_tokens": self.text_tokens,
            "visual_tokens": self.visual_tokens,
            "max_tokens": self.max_tokens,
            "items": [item.public() for item in self.items],
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """All questions of a request. A chat request is one; a task asks one for each page or window."""

    questions: Sequence[Question]
    model: str | None
    context_tokens: int | None
    text_is_exact: bool = field(default=False)

    def public(self) -> dict[str, Any]:
        """As `POST /v1/tokens/estimate` answers."""
        visual = sum(question.visual_tokens for question in self.questions)
        text = sum(question.text_tokens for question in self.questions)
        longest = max((_with_answer(question) for question in self.questions), default=0)
        return {
            "object": "token_estimate",
            "model": self.model,
            "prompt_tokens": visual + text,
            "visual_tokens": visual,
            "text_tokens": text,
            "visual_tokens_are": _said(all(item.is_exact for each in self.questions for item in each.items)),
            "text_tokens_are": _said(self.text_is_exact),
            "max_model_len": self.context_tokens,
            "longest_question": longest,
            "fits_context": longest <= self.context_tokens if self.context_tokens else None,
            "questions": [question.public() for question in self.questions],
        }


def _said(is_exact: bool) -> str:
    return "exact" if is_exact else "estimated"


def _with_answer(question: Question) -> int:
    return question.prompt_tokens + (question.max_tokens or 1)


class Estimator:
    """Estimates for one request at a time; shares the server's media loader and engines."""

    def __init__(self, pool: Pool, media: MediaLoader, settings: Settings) -> None:
        self._pool, self._media, self._settings = pool, media, settings

    async def chat(self, prepared: Prepared, name: str) -> Estimate:
        """Of a chat or responses request, checked; its pictures are not loaded yet. Raises what loading raises."""
        model, context = self._model(prepared.body.get("model"))
        try:
            async with asyncio.TaskGroup() as group:
                loading = [group.create_task(self._load(part)) for part in prepared.media]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        items = [
            _item(each.result(), part.kind, part.param) for each, part in zip(loading, prepared.media, strict=True)
        ]
        body = prepared.body
        text, exact = await self._text_tokens(body[name], len(items), model, body.get("tools"))
        most = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
        return Estimate([Question(items, text, exact, most)], model, context, exact)

    async def task(self, task: Task[Any], request: TaskRequest) -> Estimate:
        """Of a task's request. Raises what loading raises."""
        model, context = self._model(request.model)
        questions: list[Question] = []
        async with AsyncExitStack() as opened:
            found = showings(task, request, self._media, self._settings, opened)
            async with contextlib.aclosing(found):
                async for showing in found:
                    questions.append(await self._question(task, request, showing, questions, model))
        return Estimate(questions, model, context, all(question.is_exact for question in questions))

    async def _question(
        self, task: Task[Any], request: TaskRequest, showing: Showing, before: Sequence[Question], model: str | None
    ) -> Question:
        """The next page or window: looked at, or reckoned from those before it."""
        if before and showing.span_s is not None:
            return _window(before[0], showing.span_s, request, self._settings)
        if len(before) >= MOST_PAGES_LOOKED_AT and showing.about is not None:
            return _page(before, showing.about)
        shown = await showing.load()
        items = [_item(each, _kind(each), None) for each in shown]
        ask = task.ask(request, shown)
        text, exact = await self._text_tokens(ask.messages, len(items), model, None)
        most = request.max_tokens or ask.options.get("max_tokens")
        return Question(items, text, exact, most, showing.about, showing.span_s)

    async def _load(self, part: MediaPart) -> View | Clip:
        if part.kind == "video":
            return await self._media.load_clip(part.source, param=part.param)
        assert isinstance(part.source, str)
        return await self._media.load_image(part.source, param=part.param, max_pixels=part.max_pixels)

    # -- text ---------------------------------------------------------------------------------------------------------
    def _model(self, name: str | None) -> tuple[str | None, int | None]:
        """(served name, its context); (None, None) where no engine is known. Raises ModelNotFound."""
        cards = self._pool.models()
        if not cards:
            return None, None
        model = self._pool.resolve(name) if name is not None else str(cards[0]["id"])
        longest = next((card.get("max_model_len") for card in cards if card["id"] == model), None)
        return model, longest if isinstance(longest, int) else None

    async def _text_tokens(self, messages: Any, items: int, model: str | None, tools: Any) -> tuple[int, bool]:
        """(tokens beside those of the pictures themselves, whether counted)."""
        if model is not None and isinstance(messages, list):
            with contextlib.suppress(EngineUnavailable, EngineFailed, EngineTimeout, Overloaded):
                body = {"model": model, "messages": with_marks(messages)}
                return await self._counted(body if tools is None else {**body, "tools": tools}, model) - items, True
        return guessed_tokens(messages, tools) + items * AROUND_TOKENS, False

    async def _counted(self, body: dict[str, Any], model: str) -> int:
        headers = b"content-type: application/json\r\n"
        answer = await self._pool.ask("POST", "/tokenize", orjson.dumps(body), headers, model)
        try:
            if answer.status != 200:
                raise engine_error(answer.status, answer.body())
            return int(orjson.loads(answer.body())["count"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
            raise EngineFailed("the engine's tokenizer gave no count") from exc
        finally:
            answer.close()


def with_marks(messages: Sequence[Any]) -> list[Any]:
    """The same messages with a picture's three marks in each picture's place: the engine's tokenizer counts them as it
    would with the picture, of whose tokens the middle mark is one.

    >>> with_marks([{"role": "user", "content": [{"type": "image_url"}]}])[0]["content"]
    [{'type': 'text', 'text': '<|vision_start|><|image_pad|><|vision_end|>'}]
    """
    return [
        {**message, "content": [MARKS if _is_media(part) else part for part in message["content"]]}
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _is_media(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in MEDIA_PARTS or not part.keys().isdisjoint(MEDIA_PARTS))


def guessed_tokens(messages: Any, tools: Any = None) -> int:
    """From the lengths of all texts.

    >>> guessed_tokens([{"role": "user", "content": "What is in this picture?"}])
    26
    """
    if not isinstance(messages, list):
        messages = [{"role": "user", "content": messages}]
    roles = [message.get("role") for message in messages if isinstance(message, dict)]
    frame = TEMPLATE_TOKENS + MESSAGE_TOKENS * len(roles) + (0 if "system" in roles else SYSTEM_TOKENS)
    texts = [*_texts([message.get("content") for message in messages if isinstance(message, dict)])]
    if tools:
        texts.append(orjson.dumps(tools).decode())
    return frame + sum(_guess(text) for text in texts)


def _guess(text: str) -> int:
    ascii_letters = sum(letter.isascii() for letter in text)
    return math.ceil(ascii_letters / ASCII_PER_TOKEN + (len(text) - ascii_letters) / OTHERS_PER_TOKEN)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return [value["text"]]
    return []


# -- items -----------------------------------------------------------------------------------------------------------


def _item(shown: View | Clip, kind: str, param: str | None) -> Item:
    frames = len(shown.frame_times_s) if isinstance(shown, Clip) else None
    return Item(kind, shown.visual_tokens, shown.original_wh, shown.shown_wh, param, frames)


def _kind(shown: View | Clip) -> str:
    return "video" if isinstance(shown, Clip) else "image" if shown.page is None else "page"


def _window(first: Question, span_s: tuple[float, float], request: TaskRequest, settings: Settings) -> Question:
    """A later window of a clip: as many frames as its seconds give, sized as the first window's would be."""
    seen = first.items[0]
    fps = getattr(request, "fps", None) or settings.video_fps
    frames = max(1, math.ceil((span_s[1] - span_s[0]) * fps))
    shown = frame_size(
        seen.original_wh,
        frames,
        min_pixels=settings.video_min_pixels,
        max_pixels=settings.video_max_pixels,
        max_tokens=settings.video_max_tokens,
    )
    item = replace(seen, tokens=clip_tokens(frames, shown), shown_wh=shown, frames=frames, is_exact=False)
    return replace(first, items=[item], span_s=span_s)


def _page(before: Sequence[Question], number: int) -> Question:
    """A later page: the mean of those that were looked at."""
    looked_at = [question for question in before if all(item.is_exact for item in question.items)]
    mean = sum(question.visual_tokens for question in looked_at) / len(looked_at)
    like = min(looked_at, key=lambda question: abs(question.visual_tokens - mean))
    item = replace(like.items[0], tokens=round(mean), is_exact=False)
    return replace(like, items=[item], about=number)
