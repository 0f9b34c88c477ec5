"""Two gateways that share a Postgres share the work of a batch."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks.overhead.behaviour import Behaviour
from benchmarks.overhead.mock import Mock
from server.batches.database import open_database
from tests.batches.conftest import Caller, line
from tests.conftest import Running, until

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def as_nobody_special(command: list[str]) -> list[str]:
    """Postgres does not run as root."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command] if os.geteuid() == 0 else command


@pytest.fixture
async def postgres(unused_tcp_port: int) -> AsyncIterator[str]:
    """The URL of a Postgres of our own. Its folder is not pytest's, which each run closes to others again."""
    program = str(FOLDERS[0] / "postgres") if FOLDERS else shutil.which("postgres")
    if program is None:
        pytest.skip("postgres is not installed: apt-get install postgresql")
    with TemporaryDirectory(prefix="postgres-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, 65534, 65534)
        async with serving(program, folder, unused_tcp_port) as url:
            yield url


@asynccontextmanager
async def serving(program: str, folder: str, port: int) -> AsyncIterator[str]:
    initdb = [str(Path(program).with_name("initdb")), "-D", folder, "-U", "me", "--auth=trust", "--no-sync"]
    subprocess.run(as_nobody_special(initdb), check=True, capture_output=True)
    quick = ["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]
    command = as_nobody_special([program, "-D", folder, "-p", str(port), *quick])
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    url = f"postgresql://me@127.0.0.1:{port}/postgres"
    database = open_database(url)

    async def is_up() -> bool:
        assert process.returncode is None, "postgres ended"
        await asyncio.sleep(0.05)
        try:
            return bool(await database.run(lambda sql: sql("SELECT 1")))
        except Exception:
            return False

    try:
        await until(is_up, timeout_s=30)
        await database.close()
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # SIGTERM waits until every client has gone by itself
        await process.wait()


async def test_two_gateways_answer_every_request_of_a_batch_once(mock: Mock, running: Running, postgres: str) -> None:
    mock.behaviour = Behaviour(json_ms=200)
    engine = await mock.listen()
    few = {"batch_store": postgres, "batch_parallel": 4}
    async with (
        running([engine], **few) as one_url,
        running([engine], **few) as other_url,
        Caller(one_url) as one,
        Caller(other_url) as other,
    ):
        batch = await one.batch([line(f"q{number}") for number in range(120)])
        await until(lambda: len(mock.running) > 4, timeout_s=20)  # more than one of them may do
        batch = await other.ended(batch)
        assert batch.status == "completed"
        names = Counter(each["custom_id"] for each in await other.answers(batch.output_file_id))
        assert names == Counter(f"q{number}" for number in range(120))
    assert mock.stats()["requests"] == 120


async def test_a_connection_that_is_cut_is_made_anew(postgres: str) -> None:
    database, other = open_database(postgres), open_database(postgres)
    (mine,) = (await database.run(lambda sql: sql("SELECT pg_backend_pid()")))[0]
    await other.run(lambda sql: sql("SELECT pg_terminate_backend(?)", mine))
    assert await database.run(lambda sql: sql("SELECT 1")) == [(1,)]
    await database.close()
    await other.close()


def test_a_password_in_the_url_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValueError, match="batch_store_password") as refused:
        open_database("postgresql://me:hunter2@host/name")
    assert "hunter2" not in str(refused.value)
