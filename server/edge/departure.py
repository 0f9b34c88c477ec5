"""Whether the server is leaving; `server.edge.leaving` says how it leaves."""

from server.errors import Leaving


class Departure:
    """Whether the server is leaving, and whether what runs must end now."""

    def __init__(self) -> None:
        self.began = False
        self.over = False

    def failure(self) -> Leaving:
        """What whoever is too late, or too long, is told."""
        return Leaving("the server is stopping; ask again", headers={"retry-after": "1"})
