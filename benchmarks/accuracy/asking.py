"""Asks a server, a few questions at once, and keeps every answer as one line; a run that was stopped goes on there."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.accuracy.items import Item, Record

TRIES = 8
FIRST_WAIT_S = 1.0
"""Before a question is asked again, doubled each time, where the server names no other time."""
LONGEST_WAIT_S = 30.0
BUSY = (429, 503)
ANSWERS = "items.jsonl"
Tell = Callable[[Record], None]


class Unreachable(RuntimeError):
    """There is no server, or it serves no model."""


class OtherRun(RuntimeError):
    """The folder holds answers of another run."""


async def served_model(client: httpx2.AsyncClient, wanted: str | None) -> str:
    """The model to ask: the one wanted, or the first that is served. Raises Unreachable."""
    try:
        answer = await client.get("/v1/models")
        answer.raise_for_status()
        names = [str(each["id"]) for each in answer.json()["data"]]
    except (httpx2.HTTPError, ValueError, KeyError) as exc:
        raise Unreachable(f"{client.base_url} does not list its models: {exc}") from exc
    if not names:
        raise Unreachable(f"{client.base_url} serves no model yet")
    return wanted or names[0]


def open_run(folder: Path, run: dict[str, Any], *, fresh: bool) -> dict[str, Record]:
    """Final records of this run that the folder holds already, by id; an empty folder is made one of this run.

    Raises OtherRun if it holds answers of another model or suite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about, answers = folder / "run.json", folder / ANSWERS
    if fresh:
        about.unlink(missing_ok=True)
        answers.unlink(missing_ok=True)
    if about.exists():
        before = orjson.loads(about.read_bytes())
        other = [f"{name} {before.get(name)!r}" for name in run if before.get(name) != run[name]]
        if other:
            raise OtherRun(f"{folder} holds answers of {', '.join(other)}: take another folder, or ask afresh")
    about.write_bytes(orjson.dumps(run, option=orjson.OPT_INDENT_2))
    return {record.id: record for record in read_records(answers) if record.is_final}


def read_records(file: Path) -> Iterator[Record]:
    """Every whole line; the last one may be cut off where a run was killed."""
    if not file.exists():
        return
    for line in file.read_bytes().splitlines():
        try:
            yield Record(**orjson.loads(line))
        except (orjson.JSONDecodeError, TypeError):  # cut off, or of an older form
            continue


async def answers(
    items: Sequence[Item],
    client: httpx2.AsyncClient,
    folder: Path,
    known: dict[str, Record],
    *,
    model: str,
    concurrency: int,
    tell: Tell = lambda record: None,
) -> list[Record]:
    """A record for each item, in their order: those known, and the server's answers to the others. A record of another
    truth is of another question, asked before the suite was changed.
    """
    records = {item.id: known[item.id] for item in items if is_known(item, known)}
    waiting = iter([item for item in items if item.id not in records])
    with (folder / ANSWERS).open("ab") as file:
        if file.tell() and not (folder / ANSWERS).read_bytes().endswith(b"\n"):
            file.write(b"\n")  # behind a line that was cut off

        async def worker() -> None:
            for item in waiting:
                record = await asked(item, client, model)
                records[item.id] = record
                file.write(orjson.dumps(record.line()) + b"\n")
                file.flush()
                tell(record)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    return [records[item.id] for item in items]


def is_known(item: Item, known: dict[str, Record]) -> bool:
    return item.id in known and known[item.id].truth == _json(item.truth)


async def asked(item: Item, client: httpx2.AsyncClient, model: str) -> Record:
    """One question; asked again where the server is busy or the connection breaks."""
    body = {"model": model, **await asyncio.to_thread(item.body)}
    began = time.monotonic()
    error, wait_s = "", FIRST_WAIT_S
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(min(wait_s, LONGEST_WAIT_S))
            wait_s *= 2
        try:
            response = await client.post(item.path, json=body)
        except httpx2.HTTPError as exc:
            error = type(exc).__name__
            continue
        if response.status_code == 200:
            # as JSON has it, so that an answer of this run and one that is read back are the same
            return Record(
                item.id, item.kind, _json(item.truth), _json(item.about), slim(response.json()),
                seconds=round(time.monotonic() - began, 3),
            )  # fmt: skip
        error = error_code(response)
        if response.status_code not in BUSY:
            break
        wait_s = float(response.headers.get("retry-after", wait_s))
    seconds = round(time.monotonic() - began, 3)
    return Record(item.id, item.kind, _json(item.truth), _json(item.about), None, error, seconds)


def error_code(response: httpx2.Response) -> str:
    """OpenAI's `code`, else the status."""
    try:
        error = response.json()["error"]
        return str(error.get("code") or error.get("type") or response.status_code)
    except (ValueError, KeyError, AttributeError):
        return f"status {response.status_code}"


def slim(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what figures do not need and would fill the disk.

    >>> slim({"id": "1", "objects": [], "html": "<p>", "pages": [{"html": "<p>", "blocks": []}]})
    {'objects': [], 'pages': [{'blocks': []}]}
    """
    dropped = {"id", "created", "html", "markdown", "tables", "overlay"}
    kept = {name: value for name, value in answer.items() if name not in dropped}
    if isinstance(kept.get("pages"), list):
        kept["pages"] = [{name: value for name, value in page.items() if name not in dropped} for page in kept["pages"]]
    return kept


def _json(value: dict[str, Any]) -> dict[str, Any]:
    return dict(orjson.loads(orjson.dumps(value)))


@contextmanager
def progress(total: int, done: int, *, quiet: bool) -> Iterator[Tell]:
    """A bar of answers, with how many came to nothing."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bad]}"),
    )
    bad = 0
    with Progress(*columns, disable=quiet) as bar:
        task = bar.add_task("asking", total=total, completed=done, bad="")

        def tell(record: Record) -> None:
            nonlocal bad
            bad += record.error is not None
            bar.update(task, advance=1, description=record.kind, bad=f"{bad} unreadable or failed" if bad else "")

        yield tell
