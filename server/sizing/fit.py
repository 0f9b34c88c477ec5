"""Whether a model fits, how much of it, and what would make it fit. The one function that all who size ask.

    fit(Demand(find_model("7B"), find_gpu("L4"), concurrency=8))

The launch profiles, `GET /v1/fit` and `python -m server fit` call it. It does not say how fast: see `roofline`.
"""

from dataclasses import replace

from server.sizing.changes import alternatives, changes
from server.sizing.demand import Demand
from server.sizing.solve import Fit, solve


def fit(demand: Demand) -> Fit:
    """The verdict, with what would change it. Raises InvalidValue for a demand that cannot be.

    >>> from server.sizing.demand import find_model
    >>> from server.sizing.gpus import find_gpu
    >>> fit(Demand(find_model("7B"), find_gpu("L4"))).verdict
    'fits'
    >>> no = fit(Demand(find_model("7B"), find_gpu("12 GB")))
    >>> no.verdict, no.alternatives[0].what
    ('does_not_fit', 'the precision is awq')
    """
    demand.check()
    answer = solve(demand)
    if not answer.missing:
        return answer
    return replace(answer, changes=changes(demand), alternatives=alternatives(demand))
