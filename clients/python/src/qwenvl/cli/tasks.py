"""The commands that ask one task of many files."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from qwenvl import calls
from qwenvl.cli import words
from qwenvl.cli.batch import Job, run
from qwenvl.cli.exits import USAGE, UsageError, say
from qwenvl.cli.files import DOCUMENTS, IMAGES, VIDEOS
from qwenvl.cli.options import Answer, Run, Server
from qwenvl.results import CoordinateSpace

Files = list[str]
Words = list[str] | None
Repeated = Parameter(negative="")
Flag = Parameter(negative="")
TYPES = ("string", "number", "integer", "boolean", "array", "object")


def detect(
    files: Files,
    /,
    *,
    label: Annotated[Words, Parameter(name=("--label", "-l"), negative="")] = None,
    sub_label: Annotated[Words, Repeated] = None,
    prompt: Annotated[str | None, Parameter(name=("--prompt", "-p"))] = None,
    mode: Literal["box", "point"] = "box",
    coordinate_space: CoordinateSpace = "pixel",
    answer: Answer = Answer(),
    how: Run = Run(),
    server: Server = Server(),
) -> int:
    """Find things in pictures, as boxes or points in the pixels of each file.

    ```
    qwenvl detect street.jpg -l car -l person --text
    qwenvl detect photos/ -l cat --out cats.jsonl --overlay seen/ -j 16
    qwenvl detect team.jpg -p "the person who holds the cup" --mode point
    ```

    Parameters
    ----------
    files
        Pictures, folders, quoted patterns ("photos/**/*.jpg"), URLs; - is stdin.
    label
        What to find; repeat it. Neither this nor --prompt: everything.
    sub_label
        A state or kind to tell each found thing apart by; repeat it.
    prompt
        A description of what to find, instead of labels.
    mode
        Boxes or points.
    coordinate_space
        Of the numbers: pixels of the file, shares of it, or thousandths.
    """
    asked: dict[str, Any] = {
        "labels": label or None,
        "sub_labels": sub_label or None,
        "prompt": prompt,
        "mode": mode,
        "coordinate_space": coordinate_space,
        **answer.options(),
    }
    job = Job("detect", lambda file: calls.detect(file, **asked), words.detection, IMAGES, asked)
    return run(job, files, server, how)


def parse(
    files: Files,
    /,
    *,
    pages: str | None = None,
    image_captions: Annotated[bool, Flag] = False,
    answer: Answer = Answer(),
    how: Run = Run(),
    server: Server = Server(),
) -> int:
    """Turn PDFs and pictures of pages into blocks in reading order, HTML and Markdown.

    ```
    qwenvl parse bill.pdf --text > bill.md
    qwenvl parse scans/ --out pages.jsonl --overlay drawn/
    ```

    Parameters
    ----------
    files
        PDFs, TIFFs, pictures, folders, quoted patterns, URLs; - is stdin.
    pages
        Some pages of each: 1-5,8.
    image_captions
        Let the model describe figures.
    """
    asked: dict[str, Any] = {"pages": pages, "image_captions": image_captions or None, **answer.options()}
    job = Job("parse", lambda file: calls.parse_document(file, **asked), words.document, DOCUMENTS, asked)
    return run(job, files, server, how)


def events(
    files: Files,
    /,
    *,
    query: Annotated[str | None, Parameter(name=("--query", "-p"))] = None,
    max_events: int | None = None,
    min_duration: float | None = None,
    max_duration: float | None = None,
    fps: float | None = None,
    answer: Answer = Answer(),
    how: Run = Run(),
    server: Server = Server(),
) -> int:
    """Say what happens when in videos, in seconds of each file.

    ```
    qwenvl events kitchen.mp4 --text
    qwenvl events clips/ -p "someone opens the door" --out doors.jsonl
    ```

    Parameters
    ----------
    files
        Videos, folders, quoted patterns, URLs; - is stdin.
    query
        What to find: "seasoning the steak". Left out: everything that happens.
    max_events
        Most events of each file.
    min_duration
        Shortest event, in seconds.
    max_duration
        Longest event, in seconds.
    fps
        Frames looked at a second; the server's default if left out.
    """
    asked: dict[str, Any] = {
        "query": query,
        "max_events": max_events,
        "min_duration": min_duration,
        "max_duration": max_duration,
        "fps": fps,
        **answer.options(),
    }
    job = Job("events", lambda file: calls.localize_events(file, **asked), words.events, VIDEOS, asked)
    return run(job, files, server, how)


def read(
    files: Files,
    /,
    *,
    level: Literal["text", "line", "word"] = "text",
    order: Literal["model", "position"] = "model",
    page: int | None = None,
    answer: Answer = Answer(),
    how: Run = Run(),
    server: Server = Server(),
) -> int:
    """Read the words in pictures, plain or with the place of each line or word.

    ```
    qwenvl read sign.jpg --text
    qwenvl read shelf.jpg --level line --overlay drawn/
    ```

    Parameters
    ----------
    files
        Pictures, folders, quoted patterns, URLs; - is stdin.
    level
        The text alone, or the place of each line or word too.
    order
        As the model reads, or from the top left.
    page
        The files are documents, of which this page is read.
    """
    asked: dict[str, Any] = {"level": level, "order": order, "page": page, **answer.options()}
    suffixes = IMAGES if page is None else DOCUMENTS
    return run(
        Job("read", lambda file: calls.read_text(file, **asked), words.read, suffixes, asked), files, server, how
    )


def caption(
    files: Files,
    /,
    *,
    length: Literal["short", "normal", "long"] = "normal",
    answer: Answer = Answer(),
    how: Run = Run(),
    server: Server = Server(),
) -> int:
    """Describe pictures and videos.

    ```
    qwenvl caption photo.jpg --length short --text
    qwenvl caption photos/ --out captions.jsonl -j 16
    ```

    Parameters
    ----------
    files
        Pictures, videos, folders, quoted patterns, URLs; - is a picture on stdin.
    length
        A sentence, a paragraph, or at length.
    """
    asked: dict[str, Any] = {"length": length, **answer.options()}

    def call(file: Any) -> calls.Call[Any, Any]:
        is_video = isinstance(file, str) and Path(file.partition("?")[0]).suffix.lower() in VIDEOS
        return calls.caption(None if is_video else file, video=file if is_video else None, **asked)

    return run(Job("caption", call, words.caption, IMAGES | VIDEOS, asked), files, server, how)


def extract(
    files: Files,
    /,
    *,
    schema: Annotated[str | None, Parameter(name=("--schema", "-s"))] = None,
    field: Annotated[Words, Parameter(name=("--field", "-f"), negative="")] = None,
    question: Annotated[str | None, Parameter(name=("--question", "-p"))] = None,
    pages: str | None = None,
    evidence: Annotated[bool, Flag] = False,
    answer: Answer = Answer(),
    how: Run = Run(),
    server: Server = Server(),
) -> int:
    """Find facts in pictures and documents, as JSON that holds to a schema.

    ```
    qwenvl extract bill.jpg -f total:number -f date --text
    qwenvl extract bills/ --schema bill.schema.json --evidence --out bills.jsonl
    qwenvl extract menu.jpg -p "How much is the latte?" --text
    ```

    Parameters
    ----------
    files
        Pictures, PDFs, folders, quoted patterns, URLs; - is stdin.
    schema
        JSON Schema of an object: a file, or the JSON itself.
    field
        One field of a flat schema, NAME or NAME:TYPE, instead; repeat it.
    question
        A question instead of, or beside, the schema.
    pages
        Some pages of each document: 1-5,8.
    evidence
        Say where each value stands.
    """
    try:
        wanted = _schema(schema, field)
        if wanted is None and question is None:
            raise UsageError("give --schema, --field or --question")
    except UsageError as exc:
        say(f"qwenvl: {exc}")
        return USAGE
    asked: dict[str, Any] = {
        "schema": wanted,
        "question": question,
        "pages": pages,
        "evidence": evidence or None,
        **answer.options(),
    }
    job = Job("extract", lambda file: calls.extract(file, **asked), words.extraction, DOCUMENTS, asked)
    return run(job, files, server, how)


def act(
    files: Files,
    /,
    *,
    task: Annotated[str, Parameter(name=("--task", "-p"))],
    did: Annotated[Words, Repeated] = None,
    environment: Literal["computer", "mobile"] = "computer",
    device_pixel_ratio: float | None = None,
    format: Literal["native", "openai", "anthropic"] = "native",
    answer: Answer = Answer(),
    how: Run = Run(),
    server: Server = Server(),
) -> int:
    """Choose the next action on a screen. Nothing is clicked or typed: that is yours to do.

    ```
    qwenvl act screen.png -p "open the settings" --text --overlay drawn/
    qwenvl act screen.png -p "book a ticket" --did '{"action": "left_click", "coordinate": [10, 20]}'
    ```

    Parameters
    ----------
    files
        Screenshots, folders, quoted patterns, URLs; - is stdin.
    task
        What is to be done.
    did
        An action done so far, as it was answered or in words; repeat it in order.
    environment
        What the screenshot shows.
    device_pixel_ratio
        Pixels of the screenshot to one in which the device takes clicks; 2 on most Retina screens.
    format
        Adds the action as OpenAI's or Anthropic's computer tool has it.
    """
    asked: dict[str, Any] = {
        "history": [_step(each) for each in did or []] or None,
        "environment": environment,
        "device_pixel_ratio": device_pixel_ratio,
        "format": format,
        **answer.options(),
    }
    job = Job("act", lambda file: calls.act(file, task, **asked), words.action, IMAGES, {"task": task, **asked})
    return run(job, files, server, how)


def _step(text: str) -> dict[str, Any] | str:
    try:
        step = json.loads(text)
    except ValueError:
        return text
    return step if isinstance(step, dict) else text


def _schema(schema: str | None, fields: Words) -> dict[str, Any] | None:
    """The schema of a file, of JSON, or of fields. Raises UsageError.

    >>> _schema(None, ["total:number", "date"])["properties"]
    {'total': {'type': 'number'}, 'date': {'type': 'string'}}
    """
    if schema and fields:
        raise UsageError("give --schema or --field, not both")
    if fields:
        properties = {}
        for each in fields:
            name, _, kind = each.partition(":")
            if not name or kind not in ("", *TYPES):
                raise UsageError(f"--field is {each!r}; it is NAME or NAME:TYPE, TYPE one of {', '.join(TYPES)}")
            properties[name] = {"type": kind or "string"}
        return {"type": "object", "properties": properties, "required": list(properties)}
    if schema is None:
        return None
    try:
        text = schema if schema.lstrip().startswith("{") else Path(schema).read_text("utf-8")
        read = json.loads(text)
    except (OSError, ValueError) as exc:
        raise UsageError(f"--schema cannot be read: {exc}") from exc
    if not isinstance(read, dict):
        raise UsageError("--schema is no JSON object")
    return read
