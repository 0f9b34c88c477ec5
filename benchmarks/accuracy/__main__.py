"""How right a served model is.

    python -m benchmarks.accuracy --url http://127.0.0.1:8000 --suite scenes --pictures 200 --clips 40 --out DIR
    python -m benchmarks.accuracy --url ... --suite coco --data ~/coco --limit 500 --out DIR

Writes figures.json, table.md, plots/*.png and items.jsonl, a line for each answer, into DIR; the same command goes on
where it was stopped. Prints the table; the last line is JSON.
"""

import argparse
import asyncio
import logging
import shlex
import sys
from pathlib import Path

import orjson

from benchmarks.accuracy.asking import OtherRun, Unreachable
from benchmarks.accuracy.limits import LIMITS, broken
from benchmarks.accuracy.run import Options, measure
from benchmarks.accuracy.scoring import SCORERS
from benchmarks.accuracy.suites import SUITES, Wanted
from benchmarks.accuracy.suites.scenes import Sizes

MISSED, USAGE_ERROR = 1, 2


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--url", required=True, help="of the server, without /v1")
    add("--out", type=Path, required=True, help="folder for answers, figures and plots")
    add("--suite", choices=sorted(SUITES), default="scenes")
    add("--model", help="model to ask; the first that is served if left out")
    add("--api-key", help="sent as Authorization: Bearer KEY")
    add("--concurrency", type=int, default=4, help="questions asked at once (default %(default)s)")
    add("--timeout-s", type=float, default=600, help="longest wait for one answer (default %(default)g)")
    add("--kinds", default="", help=f"only these kinds of question, with commas: {', '.join(SCORERS)}")
    add("--fresh", action="store_true", help="ask everything again")
    add("--quiet", action="store_true", help="no progress bar")
    add("--require", choices=sorted(LIMITS), help="fail (status 1) where a figure misses its limit of this set")
    scenes = found.add_argument_group("suite scenes: made here, any number of them")
    sizes = Sizes()
    for name in ("pictures", "clips", "long_clips", "pages", "screens"):
        scenes.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=getattr(sizes, name), help="(default %(default)s)"
        )
    scenes.add_argument("--first", type=int, default=0, help="scenes to leave out: another sample")
    folders = found.add_argument_group("the other suites: a folder that you have")
    folders.add_argument("--data", type=Path, help="the folder; README.md says how it must look")
    folders.add_argument("--limit", type=int, help="most pictures, pages or queries")
    return found


def read_options(arguments: list[str]) -> Options:
    """The command line. Exits with a sentence for what cannot be."""
    found = parser()
    given = found.parse_args(arguments)
    kinds = tuple(filter(None, given.kinds.split(",")))
    unknown = [kind for kind in kinds if kind not in SCORERS]
    if unknown:
        found.error(f"--kinds: {', '.join(unknown)}; known are {', '.join(SCORERS)}")
    if given.concurrency < 1:
        found.error(f"--concurrency is {given.concurrency}; it is at least 1")
    return Options(
        url=given.url.rstrip("/").removesuffix("/v1"),
        out=given.out,
        suite=given.suite,
        wanted=Wanted(
            sizes=Sizes(given.pictures, given.clips, given.long_clips, given.pages, given.screens, given.first),
            data=given.data,
            limit=given.limit,
            kinds=kinds,
        ),
        model=given.model,
        api_key=given.api_key,
        concurrency=given.concurrency,
        timeout_s=given.timeout_s,
        fresh=given.fresh,
        quiet=given.quiet,
        require=given.require,
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs, prints, and says with the exit status whether what was required holds."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = read_options(arguments)
    logging.basicConfig(level="WARNING", format="%(message)s")
    command = shlex.join(["python", "-m", "benchmarks.accuracy", *without_key(arguments)])
    try:
        outcome = asyncio.run(measure(options, command))
    except (Unreachable, OtherRun, FileNotFoundError, ValueError) as exc:
        print(exc, file=sys.stderr)
        return USAGE_ERROR
    print(f"\n{outcome.tables}\n\n{options.out}: figures.json, table.md, plots/, items.jsonl")
    missed = broken(outcome.figures, LIMITS[options.require]) if options.require else []
    for line in missed:
        print(f"missed: {line}")
    print(orjson.dumps(outcome.report).decode())
    return MISSED if missed else 0


def without_key(arguments: list[str]) -> list[str]:
    """The command line as it may be kept.

    >>> without_key(["--api-key", "secret", "--url", "u"]), without_key(["--api-key=secret"])
    (['--url', 'u'], [])
    """
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument != "--api-key" and not argument.startswith("--api-key="):
            kept.append(argument)
        skip = argument == "--api-key"
    return kept


if __name__ == "__main__":
    sys.exit(main())
