"""The demo checkpoint, on the real engine, is right often enough; and not half as often with a mistake in the gateway.

Small samples of `python -m benchmarks.accuracy`, which measures the same over more scenes; limits stand in
`benchmarks/accuracy/limits.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.limits import CI, broken
from benchmarks.accuracy.run import Options, Outcome, measure
from benchmarks.accuracy.suites import Wanted
from benchmarks.accuracy.suites.scenes import Sizes
from server.engines.checkpoints import DEMO, ROOT, has_weights
from server.settings import Settings
from tests.accuracy import test_mutations as mutations
from tests.accuracy.conftest import gateway
from tests.engine.conftest import ENGINE_PYTHON, PIXELS, running_engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (DEMO.is_dir() and has_weights(DEMO)),
        reason="demo/checkpoint holds no weights: demo/train.py makes them (random ones see nothing)",
    ),
]

SAMPLE = Sizes(pictures=40, clips=8, long_clips=1, pages=8, screens=10)
KINDS = ("detect", "absent", "count", "ground", "relate", "events", "long-events", "page", "extract", "act")
SMALL: dict[str, Sizes] = {
    "detect": Sizes(pictures=16, clips=0, long_clips=0, pages=0, screens=0),
    "events": Sizes(pictures=0, clips=4, long_clips=0, pages=0, screens=0),
    "long-events": Sizes(pictures=0, clips=0, long_clips=1, pages=0, screens=0),
}
"""Of each mistake."""
LEAST_WITHOUT = 0.2
"""Half of less could be chance."""


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[str, dict[str, Any]]]:
    """URL of an engine with the demo checkpoint, as `scripts/serve` starts it, and the settings of its gateway."""
    settings = Settings(model=str(DEMO), engine_python=str(ENGINE_PYTHON))
    with running_engine(settings, ROOT / ".cache" / "accuracy-engine.log") as (engine, fitted):
        yield engine.url, {name: getattr(fitted, name) for name in PIXELS}


async def measured(demo: tuple[str, dict[str, Any]], out: Path, sizes: Sizes, *kinds: str) -> Outcome:
    engine_url, pixels = demo
    async with gateway(engine_url, **pixels) as url:
        return await measure(Options(url=url, out=out, wanted=Wanted(sizes=sizes, kinds=kinds), quiet=True))


async def test_it_keeps_its_limits_on_scenes_that_training_never_saw(demo: Any, tmp_path: Path):
    outcome = await measured(demo, tmp_path, SAMPLE, *KINDS)
    assert broken(outcome.figures, CI) == [], outcome.tables


@pytest.fixture(scope="module")
def without() -> dict[str, float]:
    """Figures without a mistake, taken once."""
    return {}


@pytest.mark.parametrize("case", mutations.CASES, ids=str)
async def test_a_mistake_in_the_gateway_costs_more_than_half(
    case: mutations.Case, demo: Any, without: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Why tests may patch the gateway here: see tests/accuracy/test_mutations.py."""
    sizes = SMALL[case.kind]
    if case.figure not in without:
        without[case.figure] = (await measured(demo, tmp_path / "without", sizes, case.kind)).figures[case.figure].value
    case.mistake(monkeypatch)
    with_it = (await measured(demo, tmp_path / "with", sizes, case.kind)).figures[case.figure].value
    assert without[case.figure] > LEAST_WITHOUT
    assert with_it < without[case.figure] / 2
