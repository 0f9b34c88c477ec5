"""The roofline of what `fit` was asked: how many such requests a second, and what one of them sees."""

from server.sizing.memory import TOKEN_PIXELS
from server.sizing.roofline import Machine, Prediction, predict
from server.sizing.solve import Fit
from server.sizing.work import Request

CERTAINTY = (
    "predicted, not measured: published figures of one card are met within a factor of 1.3, of several within 2 "
    "(benchmarks/roofline)"
)


def speed(answer: Fit) -> Prediction | None:
    """None for a card of which the memory alone is known, and where nothing fits.

    >>> from server.sizing.asked import demand_from
    >>> from server.sizing.fit import fit
    >>> found = speed(fit(demand_from({"model": "7B", "gpu": "L4"})))
    >>> found.bound, speed(fit(demand_from({"model": "7B", "gpu": "24 GB"})))
    ('decode', None)
    """
    demand = answer.demand
    if answer.missing or not (demand.gpu.bandwidth_gbs and demand.gpu.bf16_tflops):
        return None
    pictures = (demand.picture_tokens,) * demand.pictures
    clip = (demand.video_tokens,) if demand.frames else ()
    visual = sum(pictures) + 2 * sum(clip)  # a clip's tokens are of two frames each
    request = Request(
        picture_tokens=pictures + clip,
        text_tokens=demand.text_tokens,
        answer_tokens=demand.answer_tokens,
        megapixels=visual * TOKEN_PIXELS / 1e6,
    )
    return predict(demand.model, Machine(demand.gpu, demand.gpus), request, fits=answer.largest_concurrency)
