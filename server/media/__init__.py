"""Pictures and clips: from what a caller sends to what the model is shown.

Adding a kind is one file that has a `decode` function (see `jobs.py: Decode`), one line in KINDS, and a method of
`MediaLoader` that says what the kind's limits are.
"""

from typing import TYPE_CHECKING, Any

from server.media.view import Clip, View

if TYPE_CHECKING:
    from server.media.loader import MediaLoader

__all__ = ["KINDS", "Clip", "MediaLoader", "View"]

KINDS = {
    "image": "server.media.image",
    "video": "server.media.video",
    "document": "server.media.document",
}
"""Kind of content -> the module whose `decode` runs in a decode process. The kind starts its error codes."""


def __getattr__(name: str) -> Any:
    """Late: a decode process imports this package too, and must not wait for an HTTP client and the settings."""
    if name == "MediaLoader":
        from server.media.loader import MediaLoader

        return MediaLoader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
