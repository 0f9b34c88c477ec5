"""What admission shows of itself: gauges for Prometheus, numbers for the status page."""

from typing import Any

from server.callers.admission import Admission
from server.seeing import metrics


def expose(admission: Admission) -> None:
    """Let `/metrics` read it."""
    metrics.IN_FLIGHT.read = lambda: iter([((), admission.in_flight)])
    metrics.WAITING.read = lambda: iter([((), admission.queued)])
    metrics.PLACES.read = lambda: iter([(("taken",), admission.taken), (("all",), admission.limit)])
    metrics.BODY_BYTES.read = lambda: iter([((), admission.bytes)])


def places_of(admission: Admission) -> dict[str, Any]:
    """Places, queue and callers, as `/status` has them.

    >>> from server.settings import Settings
    >>> places_of(Admission(Settings(max_in_flight=3)))["places"]
    {'taken': 0, 'all': 3, 'requests': 0}
    """
    shares = sum(flow.share for flow in admission.present.values()) or 1
    return {
        "places": {"taken": admission.taken, "all": admission.limit, "requests": admission.in_flight},
        "queue": {"waiting": admission.queued, "body_bytes": admission.bytes},
        "callers": [
            {
                "name": name,
                "priority": flow.caller.priority,
                "places": flow.taken,
                "waiting": len(flow.waiting),
                "share": round(flow.share / shares, 4),
            }
            for name, flow in sorted(admission.present.items())
        ],
    }
