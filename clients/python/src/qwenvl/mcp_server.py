"""The tasks as tools of an MCP server, for agents and chat programs that speak the Model Context Protocol.

Tools read files below the folders that they are started with, and nothing else of this machine; URLs are fetched by the
server that answers, behind its own guard. What this does not do: act on anything. `act` says where to click.
"""

import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from PIL import Image as Pillow
from pydantic import Field

from qwenvl import calls
from qwenvl.async_client import AsyncClient
from qwenvl.calls import Call, R
from qwenvl.cli import words
from qwenvl.cli.files import is_url
from qwenvl.drawing import Drawable
from qwenvl.errors import QwenVLError
from qwenvl.parts import ask as message
from qwenvl.parts import image_part, video_part
from qwenvl.results import (
    Action,
    Caption,
    CoordinateSpace,
    Detection,
    Document,
    EventList,
    Extraction,
    ReadText,
    Result,
)

INSTRUCTIONS = """Tools that look at pictures, documents, videos and screens with Qwen2.5-VL. Coordinates are pixels of
the file as it was given, times are seconds of the clip. Files are paths below the folders this server was given, or
URLs."""
LARGEST_OVERLAY_PX = 1280
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=True)

Picture = Annotated[str, Field(description="Path or URL of a picture.")]
Paper = Annotated[str, Field(description="Path or URL of a PDF, TIFF or picture of a page.")]
Film = Annotated[str, Field(description="Path or URL of a video.")]
Drawn = Annotated[bool, Field(description="Give the picture with what was found drawn on it, too; for files.")]
Pages = Annotated[str | None, Field(description="Some pages: 1-5,8. All if left out.")]


@dataclass(frozen=True)
class Tools:
    """The tools, before a server, for files below some folders."""

    client: AsyncClient
    roots: Sequence[Path]

    async def detect(
        self,
        image: Picture,
        labels: Annotated[list[str] | None, Field(description="Names of what to find; any words.")] = None,
        prompt: Annotated[str | None, Field(description="A description of what to find, instead of labels.")] = None,
        sub_labels: Annotated[list[str] | None, Field(description="States to tell each found thing apart by.")] = None,
        mode: Literal["box", "point"] = "box",
        coordinate_space: CoordinateSpace = "pixel",
        overlay: Drawn = False,
    ) -> Annotated[CallToolResult, Detection]:
        """Find things in a picture: boxes or points, by label, by description, or everything there is. Also counts."""
        call = calls.detect(
            self._file(image),
            labels,
            prompt=prompt,
            sub_labels=sub_labels,
            mode=mode,
            coordinate_space=coordinate_space,
        )
        result = await self._asked(call)
        return self._told(result, words.detection(result), [result] if overlay and not is_url(image) else [])

    async def parse_document(
        self, document: Paper, context: Context[Any, Any], pages: Pages = None, image_captions: bool = False
    ) -> Annotated[CallToolResult, Document]:
        """Turn a PDF or a picture of a page into Markdown, and blocks with their places in reading order."""
        call = calls.parse_document(self._file(document), pages=pages, image_captions=image_captions or None)
        result = await self._streamed(call, context)
        return self._told(result, words.document(result))

    async def localize_events(
        self,
        video: Film,
        context: Context[Any, Any],
        query: Annotated[str | None, Field(description="What to find; left out, everything that happens.")] = None,
        max_events: int | None = None,
    ) -> Annotated[CallToolResult, EventList]:
        """Say what happens when in a video, or when what is asked for happens."""
        result = await self._streamed(calls.localize_events(self._file(video), query, max_events=max_events), context)
        return self._told(result, words.events(result))

    async def read_text(
        self,
        image: Picture,
        level: Annotated[
            Literal["text", "line", "word"], Field(description="The text alone, or the place of each line or word too.")
        ] = "text",
        overlay: Drawn = False,
    ) -> Annotated[CallToolResult, ReadText]:
        """Read the words in a picture."""
        result = await self._asked(calls.read_text(self._file(image), level=level))
        return self._told(result, words.read(result), [result] if overlay and not is_url(image) else [])

    async def caption(
        self,
        image: Annotated[str | None, Field(description="Path or URL of a picture.")] = None,
        video: Annotated[str | None, Field(description="Path or URL of a video, instead.")] = None,
        length: Literal["short", "normal", "long"] = "normal",
    ) -> Annotated[CallToolResult, Caption]:
        """Describe a picture or a video in a sentence, a paragraph, or at length."""
        if (image is None) == (video is None):
            raise ToolError("give image or video, one of them")
        call = calls.caption(
            None if image is None else self._file(image),
            video=None if video is None else self._file(video),
            length=length,
        )
        result = await self._asked(call)
        return self._told(result, words.caption(result))

    async def extract(
        self,
        document: Paper,
        json_schema: Annotated[
            dict[str, Any] | None, Field(description="JSON Schema of the object wanted; the data holds to it.")
        ] = None,
        question: Annotated[str | None, Field(description="A question instead of, or beside, the schema.")] = None,
        pages: Pages = None,
        evidence: Annotated[bool, Field(description="Say where each value stands.")] = False,
    ) -> Annotated[CallToolResult, Extraction]:
        """Find facts in a picture or document, as JSON valid against a schema or as the answer to a question."""
        call = calls.extract(
            self._file(document), json_schema, question=question, pages=pages, evidence=evidence or None
        )
        result = await self._asked(call)
        return self._told(result, words.extraction(result))

    async def act(
        self,
        screenshot: Picture,
        task: Annotated[str, Field(description="What the user wants done.")],
        history: Annotated[
            list[dict[str, Any] | str] | None, Field(description="Actions done so far, as answered or in words.")
        ] = None,
        environment: Literal["computer", "mobile"] = "computer",
        device_pixel_ratio: float = 1,
        overlay: Drawn = False,
    ) -> Annotated[CallToolResult, Action]:
        """Choose the next action on a screen: where to click, what to type, when to stop. Does nothing itself."""
        call = calls.act(
            self._file(screenshot),
            task,
            history=history,
            environment=environment,
            device_pixel_ratio=device_pixel_ratio,
        )
        result = await self._asked(call)
        return self._told(result, words.action(result), [result] if overlay and not is_url(screenshot) else [])

    async def ask(
        self,
        question: str,
        images: Annotated[list[str] | None, Field(description="Paths or URLs of pictures.")] = None,
        videos: Annotated[list[str] | None, Field(description="Paths or URLs of videos.")] = None,
    ) -> str:
        """Ask anything about pictures and videos, and get an answer in words."""
        from openai import OpenAIError

        with _told_to_the_model():
            parts = [image_part(self._file(name)) for name in images or []]
            parts += [video_part(self._file(name)) for name in videos or []]
            model = self.client.settings.model or (await self.client.models())[0].id
        messages: Any = [message(question, *parts)]
        try:
            answer = await self.client.openai.chat.completions.create(model=model, messages=messages)
        except OpenAIError as exc:
            raise ToolError(str(exc)) from exc
        return answer.choices[0].message.content or ""

    # -- asking and answering ----------------------------------------------------------------------------------------
    def _file(self, name: str) -> str:
        """The file that is meant. Raises ToolError for one outside of the folders."""
        if is_url(name):
            return name
        for root in self.roots:
            path = (root / name).resolve()
            if path.is_relative_to(root.resolve()):
                if not path.is_file():
                    raise ToolError(f"{name} is no file below {root}")
                return str(path)
        folders = ", ".join(map(str, self.roots)) or "none: give a URL"
        raise ToolError(f"{name} is not below the folders that this server may read ({folders})")

    async def _asked(self, call: Call[R, Any]) -> R:
        with _told_to_the_model():
            return await self.client.run(call)

    async def _streamed(self, call: Call[R, Any], context: Context[Any, Any]) -> R:
        """The result, with progress told for each page or event."""
        with _told_to_the_model():
            async with await self.client.stream(call) as stream:
                done = 0
                async for _ in stream:
                    done += 1
                    await context.report_progress(done)
                return await stream.result()

    def _told(self, result: Result, text: str, drawn: Iterable[Drawable] = ()) -> CallToolResult:
        """Words for the model, numbers for the program, pictures for the person."""
        content: list[ContentBlock] = [TextContent(type="text", text=text)]
        content += [_picture(each) for each in drawn]
        data = result.model_dump(mode="json", exclude_unset=True)
        return CallToolResult(content=content, structured_content=data)


def _picture(drawn: Drawable) -> ContentBlock:
    picture = drawn.draw()
    picture.thumbnail((LARGEST_OVERLAY_PX, LARGEST_OVERLAY_PX), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return Image(data=out.getvalue(), format="jpeg").to_image_content()


@contextmanager
def _told_to_the_model() -> Iterator[None]:
    """Failures that a model can do something about, in words."""
    try:
        yield
    except (QwenVLError, OSError, ValueError, TypeError) as exc:
        raise ToolError(str(exc)) from exc


def mcp_server(client: AsyncClient, roots: Sequence[Path]) -> MCPServer[None]:
    """An MCP server with the tasks as tools; it closes the client when it ends."""
    from qwenvl import __version__

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        yield None
        await client.close()

    server: MCPServer[None] = MCPServer(
        "qwenvl", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING", lifespan=lifespan
    )
    tools = Tools(client, roots)
    for tool in (
        tools.detect,
        tools.parse_document,
        tools.localize_events,
        tools.read_text,
        tools.caption,
        tools.extract,
        tools.act,
        tools.ask,
    ):
        server.add_tool(tool, annotations=READ_ONLY)
    return server
