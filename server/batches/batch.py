"""A batch and its requests, as the ledger has them and as OpenAI shows them."""

from dataclasses import dataclass
from typing import Any

import orjson

from server.batches.database import Row

COLUMNS = (
    "id, owner, status, endpoint, input_file_id, completion_window, metadata, keep_s, created_at, expires_at, times, "
    "errors, output_file_id, error_file_id, model, total, completed, failed, tokens_in, tokens_out"
)


@dataclass(frozen=True)
class Batch:
    """One batch."""

    id: str
    owner: str
    status: str
    endpoint: str
    input_file_id: str
    completion_window: str
    metadata: Any
    keep_s: int | None
    """How long its output is kept; None: as long as any file."""
    created_at: int
    expires_at: int
    times: dict[str, int]
    """When it came into which state: `in_progress_at`, `completed_at`, ..."""
    errors: list[dict[str, Any]]
    output_file_id: str | None
    error_file_id: str | None
    model: str | None
    total: int
    completed: int
    failed: int
    tokens_in: int
    tokens_out: int

    def card(self) -> dict[str, Any]:
        """As OpenAI has it."""
        states = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        used = self.tokens_in + self.tokens_out
        usage = {
            "input_tokens": self.tokens_in,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.tokens_out,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used,
        }
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            **{f"{state}_at": self.times.get(f"{state}_at") for state in states},
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "usage": usage if used else None,
            "metadata": self.metadata,
        }


@dataclass(frozen=True, slots=True)
class Claimed:
    """A request that this gateway works on now."""

    batch: Batch
    place: int
    custom_id: str
    first_byte: int
    length: int
    tries: int

    @property
    def id(self) -> str:
        """Its own, in the output."""
        return request_id(self.batch.id, self.place)


def request_id(batch: str, place: int) -> str:
    """A request's id in the output.

    >>> request_id("batch_00ff", 3)
    'batch_req_00ff-3'
    """
    return f"batch_req_{batch.removeprefix('batch_')}-{place}"


def batch_of(row: Row) -> Batch:
    """A row of `COLUMNS`."""
    values = dict(zip(COLUMNS.split(", "), row, strict=True))
    for name in ("metadata", "times", "errors"):
        values[name] = orjson.loads(values[name])
    return Batch(**values)
