"""Writes the generated sections of README.md here: the talk's table, the calculators', the checks' results.

python -m benchmarks.sizing.report [--check]
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.generated import Sections, main, markdown
from benchmarks.sizing.calculators import CALCULATORS, table
from server.sizing.demand import Demand, find_model
from server.sizing.gpus import Gpu, gpus
from server.sizing.memory import GIB, Plan, pool_tokens, tables_bytes
from server.sizing.solve import Fit, solve
from server.sizing.weights import PRECISIONS, weights

README = Path(__file__).with_name("README.md")
RESULTS = Path(__file__).resolve().parents[1] / "results"
COUNTS = (1, 2, 4, 8)
TALK = (
    ("3B", "fp8", "3.5 GB"),
    ("3B", "bf16", "7 GB"),
    ("7B", "fp8", "8 GB"),
    ("7B", "bf16", "16 GB"),
    ("32B", "awq", "24 GB and more"),
    ("32B", "bf16", "24 GB and more"),
    ("72B", "awq", "80 GB and more, or several cards"),
    ("72B", "bf16", "80 GB and more, or several cards"),
)
"""Model, precision, and what the talk says that it needs."""
PUBLIC_LOGS = (
    # where, model, cards, text layers alone, longest position, GiB loaded on each card
    ("vllm#15136, V1 0.8.0", "7B", 4, False, 128_000, 3.9972),
    ("vllm#16570, V0 and V1 0.8.3", "72B", 4, False, 128_000, 34.4340),
    ("vllm#15815, V0: Qwen2.5-32B, the same language layers", "32B", 2, True, 8_192, 30.7098),
)


# -- the talk --------------------------------------------------------------------------------------------------------


def talk() -> str:
    rows = [["model", "the talk", "weights", "weights and one request at work", "smallest that fits", "there at once"]]
    for size, precision, said in TALK:
        model = find_model(size, precision)
        held = weights(model.shape, model.precision).total
        one = _one_request(size, precision)
        gpu, count, answer = _smallest(size, precision)
        on = gpu.name if count == 1 else f"{count} x {gpu.name}"
        found = f"{answer.largest_concurrency}, context {answer.plan.context_tokens:,}"
        rows.append([f"{size} {precision}", said, f"{held / 1e9:.1f} GB", f"{one / 1e9:.1f} GB", on, found])
    return markdown(rows)


def _one_request(size: str, precision: str) -> float:
    """Bytes of all terms and the cache of one request, on one card however large."""
    large = Gpu("large", 1_000_000)
    answer = solve(Demand(find_model(size, precision), large, concurrency=1, context_tokens=4096))
    per_token = answer.pool_bytes / max(1, answer.pool_tokens)
    return sum(term.bytes for term in answer.terms) + pool_tokens(answer.demand.request_tokens + 15, 1) * per_token


def _smallest(size: str, precision: str) -> tuple[Gpu, int, Fit]:
    """The fewest cards that hold the model, and of those the one with the least memory."""
    model = find_model(size, precision)
    for count in COUNTS:
        for gpu in (gpu for gpu in gpus().values() if gpu.has_bfloat16):
            demand = Demand(model, gpu, count)
            answer = solve(demand)
            if not answer.missing:
                return gpu, count, answer
    raise AssertionError(f"{size} {precision} fits nothing")


# -- checks ----------------------------------------------------------------------------------------------------------


def calculators() -> str:
    misses = "".join(f"- **{name}**: {about}.\n" for name, (_, about) in CALCULATORS.items())
    return markdown(table()) + "\n" + misses


def logs() -> str:
    rows = [["logged by", "model", "cards", "logged, GiB a card", "ours", "error"]]
    for where, size, count, is_text, positions, logged in PUBLIC_LOGS:
        shape = find_model(size).shape
        plan = Plan(8192, 8, 8192, 1_003_520, 602_112, gpus=count, whole_vision=False)
        held = weights(shape, PRECISIONS["bf16"], count, whole_vision=False)
        tables = tables_bytes(shape, PRECISIONS["bf16"], plan) - 2 * 4 * (128_000 - positions) * shape.head_dim
        own = (held.total - (held.vision if is_text else 0) + tables) / GIB
        rows.append([where, size, str(count), f"{logged:.4f}", f"{own:.4f}", f"{own / logged - 1:+.2%}"])
    return markdown(rows)


def shapes() -> str:
    result = _latest("sizing-shapes")
    rows = [["model", "ours", "transformers", "tensors", "that differ"]]
    for row in result["rows"]:
        cells = (row["model"], f"{row['ours']:,}", f"{row['transformers']:,}", str(row["tensors"]))
        rows.append([*cells, str(len(row["different"]))])
    return _conditions(result, f"torch {result['torch']}") + markdown(rows)


def loaded() -> str:
    result = _latest("sizing-loaded")
    rows = [["model", "ours, bytes", "held by vLLM, bytes", "error"]]
    rows += [
        [row["model"], *(f"{row[name]:,}" for name in ("predicted", "held")), f"{row['error']:+.3%}"]
        for row in result["rows"]
    ]
    return _conditions(result, f"vLLM 0.32.0, torch {result['torch']}") + markdown(rows)


def budget() -> str:
    result = _latest("sizing-budget")
    rows = [["started with", "largest picture", "largest clip", "tried out at the start", "ours is the same"]]
    for row in result["rows"]:
        theirs = row["vllm"]
        cells = (f"{theirs[name]:,}" for name in ("image_tokens", "video_tokens", "profiled_tokens"))
        rows.append([row["plan"], *cells, "yes" if row["same"] else "no"])
    return _conditions(result, "vLLM 0.32.0") + markdown(rows)


def traced() -> str:
    result = _latest("sizing-traced")
    rows = [["model", "visual tokens", "predicted, MiB", "traced, MiB", "error"]]
    for row in result["rows"]:
        sizes = (f"{row[name] / 1024**2:,.1f}" for name in ("predicted", "traced"))
        rows.append([row["model"], f"{row['tokens']:,}", *sizes, f"{row['error']:+.2%}"])
    return _conditions(result, f"vLLM 0.32.0, torch {result['torch']}") + markdown(rows)


def cpu_engine() -> str:
    result = _latest("sizing-cpu-engine")
    rows = [["what", "predicted", "reported", "error"]]
    rows += [
        [row["what"], f"{row['predicted']:,}", f"{row['reported']:,}", f"{row['error']:+.2%}"] for row in result["rows"]
    ]
    return _conditions(result, f"{result['model']}, dummy weights, vLLM 0.32.0 on the CPU") + markdown(rows)


def _latest(name: str) -> dict[str, Any]:
    """The newest kept result of a check."""
    found: dict[str, Any] = json.loads(sorted(RESULTS.glob(f"{name}-*.json"))[-1].read_text())
    return found


def _conditions(result: Mapping[str, Any], what: str) -> str:
    return f"{result['date']}, {result['processor']}, {what}, commit {result['commit']}\n\n"


SECTIONS: Sections = {
    "talk": talk,
    "calculators": calculators,
    "logs": logs,
    "shapes": shapes,
    "loaded": loaded,
    "budget": budget,
    "traced": traced,
    "cpu-engine": cpu_engine,
}

if __name__ == "__main__":
    sys.exit(main(__doc__, README, SECTIONS, "benchmarks.sizing.report"))
