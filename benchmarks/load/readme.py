"""README.md here: the self-test's table is that of the newest result kept.

python -m benchmarks.load.readme [--check]
"""

import json
import sys
from pathlib import Path

from benchmarks.generated import Sections, main, markdown

README = Path(__file__).with_name("README.md")
RESULTS = README.parents[1] / "results"


def selftest() -> str:
    """Conditions, and a row for each figure; `vllm bench serve`'s stand where the known ones do."""
    result = json.loads(max(RESULTS.glob("load-selftest-*.json")).read_text())
    conditions = (
        f"{result['date'][:10]}, {result['processor']}, {result['cores']} cores, load {result['load_before']} before, "
        f"commit {result['commit']}; {result['rate']:g} requests/s for {result['seconds']:g} s\n\n"
    )
    rows = [["what", "known", "found", ""]]
    rows += [
        [row["what"], f"{row['known']:.1f}", f"{row['found']:.1f}", f"{row['error']:+.2%}"]
        for row in [*result["rows"], *result.get("vllm", [])]
    ]
    return conditions + markdown(rows)


SECTIONS: Sections = {"selftest": selftest}

if __name__ == "__main__":
    sys.exit(main(__doc__, README, SECTIONS, "benchmarks.load.readme"))
