"""What benchmarks/sizing/README.md says is what the code says now."""

from benchmarks.sizing.calculators import CALCULATORS, CASES, ours
from benchmarks.sizing.report import PUBLIC_LOGS, README, TALK, filled


def test_the_readme_is_current() -> None:
    text = README.read_text()
    assert filled(text) == text, "run python -m benchmarks.sizing.report"


def test_there_are_twelve_cases_and_five_calculators() -> None:
    assert len(CASES) == 12
    assert len({name.partition(" ")[0] for name in CALCULATORS}) == 5


def test_a_calculator_without_grouped_heads_is_seen_to_be_wrong() -> None:
    case = next(case for case in CASES if case.requests == 64)
    formula, _ = CALCULATORS["llm-sizer"]
    assert formula(case) > 2 * ours(case)


def test_the_talk_and_the_logs_are_there() -> None:
    assert {size for size, _, _ in TALK} == {"3B", "7B", "32B", "72B"}
    assert len(PUBLIC_LOGS) == 3
