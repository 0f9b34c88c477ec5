"""A model that never errs is measured as one: through the real gateway, its media, its reading and its geometry."""

from benchmarks.accuracy.limits import PERFECT, broken
from tests.accuracy.conftest import Measured


async def test_a_perfect_model_gets_perfect_figures(measured: Measured):
    outcome = await measured()
    assert broken(outcome.figures, PERFECT) == []
