"""See the package. Settings of the server are read from the environment (`QVL_...`)."""

import argparse
import importlib.util
import json
import os
import sys

import uvloop

from server.errors import GatewayError
from server.settings import Settings, unknown_variables

try:
    from server.bulk.run import Job, Progress, run_here, run_on_ray
except ModuleNotFoundError as exc:
    sys.exit(f"{exc.name} is not installed; it comes with the extra `bulk`: pip install '.[bulk]'")


AT_ONCE = 32
INSIDE = 384
"""Rows under way in a worker that has an engine in it: those that it steps, and those that are being decoded."""


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server.bulk", description="A task over a manifest.")
    parser.add_argument("--task", required=True, help="detect, parse-document, localize-events, caption, ...")
    parser.add_argument("--manifest", required=True, help="JSON Lines or Parquet: id and the task's fields a row")
    parser.add_argument("--out", required=True, help="folder of the results; path or URI")
    parser.add_argument("--engine-url", action="append", default=[], help="repeat for several; else QVL_ENGINE_URL")
    parser.add_argument("--model", help="without engines: each worker runs this model in its own process")
    parser.add_argument("--field", action="append", default=[], metavar="NAME=JSON", help="a field of every row")
    parser.add_argument("--shard-rows", type=int, default=64, help="rows of one output file (default 64)")
    parser.add_argument("--at-once", type=int, help=f"rows under way in one worker ({AT_ONCE}; of a model: {INSIDE})")
    parser.add_argument("--ray", metavar="ADDRESS", help="a cluster's address, auto, or local")
    parser.add_argument("--workers", type=int, default=1, help="workers on Ray (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="of a model on a CPU, in each worker (default 1)")
    parser.add_argument("--gpus", type=float, default=0, help="cards of each worker on Ray (default 0)")
    return parser


def say(line: str) -> None:
    sys.stderr.write(f"bulk: {line}\n")
    sys.stderr.flush()


def main() -> int:
    """Do it; 0 even if rows have errors, which the output tells."""
    options = arguments().parse_args()
    unknown = unknown_variables(os.environ)
    if unknown:
        say(f"{', '.join(unknown)}: no such setting")
        return 2
    settings = Settings()
    model = "" if options.engine_url else options.model or ("" if settings.engine_url else settings.model or "")
    job = Job(
        settings=settings.model_dump(exclude_unset=True),
        engine_urls=[] if model else options.engine_url or settings.engine_url,
        task=options.task,
        manifest=options.manifest,
        out=options.out,
        rows_a_shard=options.shard_rows,
        at_once=options.at_once or (INSIDE if model else AT_ONCE),
        common=dict(_field(item) for item in options.field),
        model=model,
        threads=options.threads,
        gpus=options.gpus,
    )
    if not job.engine_urls and not model:
        say("no engine: give --engine-url or QVL_ENGINE_URL, or --model for one in each worker's process")
        return 2
    if model and importlib.util.find_spec("vllm") is None:
        say("vllm is not installed here: scripts/bulk runs this where it is")
        return 2
    progress = Progress(say)
    try:
        if options.ray:
            run_on_ray(job, progress, address=options.ray, workers=options.workers)
        else:
            uvloop.run(run_here(job, progress))
    except (GatewayError, OSError, ValueError) as exc:
        say(getattr(exc, "message", str(exc)))
        return 1
    rate = f"{progress.rows_per_s:.1f} a second once the first worker had its engine"
    say(f"done: {progress.rows} rows in this run, {progress.errors} with an error, {rate}; in {options.out}")
    return 0


def _field(item: str) -> tuple[str, object]:
    name, _, value = item.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    sys.exit(main())
