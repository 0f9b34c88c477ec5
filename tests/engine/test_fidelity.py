"""Fidelity, in short: a few photos against the reference path; benchmarks/fidelity.py is the whole of it."""

import pytest

from benchmarks.fidelity import TARGET_DB, cases, measure, worst
from server.settings import Settings

pytestmark = pytest.mark.engine


async def test_photos_reach_the_model_as_the_reference_path_would_bring_them():
    results = await measure(cases([0.8, 5, 12], ["street", "document"]), 1003520, Settings().engine_python)

    assert (worst(results)["psnr_db"] or 99) >= TARGET_DB, results
