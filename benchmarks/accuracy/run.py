"""One run: questions, answers, figures, and the files they are left in."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.accuracy import asking, plots, report
from benchmarks.accuracy.figures import Figures, distributions, figures
from benchmarks.accuracy.items import Record
from benchmarks.accuracy.limits import LIMITS, needed
from benchmarks.accuracy.slices import slices
from benchmarks.accuracy.suites import Wanted, items


@dataclass(frozen=True)
class Options:
    """What `python -m benchmarks.accuracy` takes."""

    url: str
    out: Path
    suite: str = "scenes"
    wanted: Wanted = field(default_factory=Wanted)
    model: str | None = None
    api_key: str | None = None
    concurrency: int = 4
    timeout_s: float = 600
    fresh: bool = False
    quiet: bool = False
    require: str | None = None
    """A set of `limits.LIMITS`."""


@dataclass(frozen=True)
class Outcome:
    figures: Figures
    records: Sequence[Record]
    report: dict[str, Any]
    tables: str


async def measure(options: Options, command: str = "") -> Outcome:
    """Asks what is not answered yet and computes all figures; writes everything below `options.out`.

    Raises asking.Unreachable, asking.OtherRun, FileNotFoundError and ValueError.
    """
    asked = items(options.suite, options.wanted)
    headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    async with httpx2.AsyncClient(base_url=options.url, headers=headers, timeout=options.timeout_s) as client:
        model = await asking.served_model(client, options.model)
        run = {"suite": options.suite, "model": model}
        known = asking.open_run(options.out, run, fresh=options.fresh)
        done = sum(asking.is_known(item, known) for item in asked)
        if done and not options.quiet:  # the model of that name may be another one by now
            sys.stderr.write(f"{done} of {len(asked)} answers are taken from {options.out}; --fresh asks them anew\n")
        with asking.progress(len(asked), done, quiet=options.quiet) as tell:
            records = await asking.answers(
                asked, client, options.out, known, model=model, concurrency=options.concurrency, tell=tell
            )
    found = figures(records)
    limits = LIMITS[options.require] if options.require else {}
    found_slices = slices(records)
    tables = "\n\n".join(filter(None, (report.table(found, needed(limits, found)), report.slice_tables(found_slices))))
    told = report.summary(found, found_slices, distributions(records), run, command)
    report.write(options.out, told, tables)
    plots.draw(options.out / "plots", records, found)
    return Outcome(found, records, told, tables)
