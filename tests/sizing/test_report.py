"""What benchmarks/sizing/README.md says is what the code says now."""

from benchmarks.generated import filled
from benchmarks.sizing.calculators import CALCULATORS, CASES, ours
from benchmarks.sizing.report import PUBLIC_LOGS, README, SECTIONS, TALK
from server.sizing.asked import demand_from
from server.sizing.explain import text
from server.sizing.fit import fit


def test_the_readme_is_current() -> None:
    now = README.read_text()
    assert filled(now, SECTIONS) == now, "run python -m benchmarks.sizing.report"


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


def test_the_projects_readme_shows_what_the_command_says() -> None:
    readme = (README.parents[2] / "README.md").read_text()
    shown = readme.split("<!-- fit -->\n```\n")[1].split("```\n<!-- /fit -->")[0]
    command, _, said = shown.partition("\n")
    assert command == "$ python -m server fit --model 7B --gpu L4"
    assert text(fit(demand_from({"model": "7B", "gpu": "L4"}))).startswith(said)
