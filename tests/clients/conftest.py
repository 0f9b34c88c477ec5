"""A gateway before a mock engine, as processes of their own, for clients that block and for programs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qwenvl import Client
from tests.bad_input.process import running
from tests.tasks.common import picture


@dataclass(frozen=True)
class Served:
    """A gateway at `url` before a mock engine at `engine_url`."""

    url: str
    engine_url: str
    http: httpx2.Client

    def says(self, answer: str, chunks: int = 7, **more: Any) -> None:
        """What the engine answers from now on, and how: `benchmarks/overhead/behaviour.py`."""
        behaviour = {"answer": answer, "chunks": chunks, **more}
        self.http.post(f"{self.engine_url}/mock/behaviour", json=behaviour).raise_for_status()

    def engine(self, what: str) -> Any:
        """`stats`, `requests` or `aborts` of the engine."""
        return self.http.get(f"{self.engine_url}/mock/{what}").json()

    def asked(self) -> dict[str, Any]:
        """The last request that the engine got."""
        return dict(json.loads(self.engine("requests")[-1]["body"]))


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tmp_path_factory.mktemp("server"), "--media-workers", "1") as gateway, httpx2.Client() as http:
        yield Served(f"http://127.0.0.1:{gateway.port}", gateway.engine_url, http)


@pytest.fixture
def served(running_server: Served) -> Served:
    """The server, its engine as if new."""
    running_server.http.post(f"{running_server.engine_url}/mock/reset").raise_for_status()
    return running_server


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, timeout_s=20) as client:
        yield client


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG of 560 x 280, which the model is shown as it is."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(picture())
    return path
