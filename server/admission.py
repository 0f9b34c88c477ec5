"""How much is worked on at once: beyond the limit a request is turned away before anything of it is decoded."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import Overloaded


class Admission:
    """Counts requests in flight.

    >>> door = Admission(limit=1)
    >>> door.enter(); door.in_flight
    1
    >>> door.enter()
    Traceback (most recent call last):
        ...
    server.errors.Overloaded: 1 requests are in flight; the limit is 1 (max_in_flight)
    >>> door.leave(); door.in_flight
    0
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0

    def enter(self) -> None:
        """Take a place. Raises Overloaded when there is none; whoever entered must `leave()`."""
        if self.in_flight >= self.limit:
            raise Overloaded(
                f"{self.in_flight} requests are in flight; the limit is {self.limit} (max_in_flight)",
                headers={"retry-after": "1"},
            )
        self.in_flight += 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for as long as the `with` lasts. Raises Overloaded when there is none."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
