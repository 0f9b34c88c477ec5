"""What the launcher promises, with a stand-in for vLLM that dies on command. The real one: tests/engine."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.engines.guard import family
from server.engines.launcher import EngineProcess, Patience, launch
from server.engines.unix import is_healthy
from server.errors import EngineUnavailable
from server.settings import Settings
from tests.conftest import until

STAND_IN = Path(__file__).with_name("stand_in.py")
QUICK = Patience(start_timeout_s=10, stop_grace_s=0.5, first_backoff_s=0.05, most_backoff_s=0.2, steady_s=60)

Engines = Callable[..., EngineProcess]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engines]:
    """engine("--deaf", ...) makes one whose lives are written to tmp_path/lives; all are stopped afterwards."""
    made: list[EngineProcess] = []

    def make(*arguments: str, patience: Patience = QUICK, **options: object) -> EngineProcess:
        command = [sys.executable, str(STAND_IN), "--lives", str(tmp_path / "lives"), *arguments]
        made.append(EngineProcess(command, {}, patience=patience, **{"on_log": lambda _: None, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        await one.stop()


def lives(tmp_path: Path) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in (tmp_path / "lives").read_text().splitlines()]
    return []


async def test_an_engine_is_ready_when_it_answers_and_not_before(engine: Engines) -> None:
    told: list[str] = []
    one = engine("--ready-after", "0.5", on_progress=told.append)
    await one.start()
    assert one.state == "starting"
    await one.wait_ready()
    assert one.state == "ready"
    assert await is_healthy(Path(one.url.removeprefix("unix:")))
    assert told[0] == "engine: starting Python, 0 s"
    assert told[-1].startswith("engine: ready, ")


async def test_its_folder_is_for_us_alone(engine: Engines) -> None:
    one = engine()
    await one.start()
    await one.wait_ready()
    assert one.folder.stat().st_mode & 0o777 == 0o700


async def test_stop_leaves_no_process_no_socket_and_no_folder(engine: Engines) -> None:
    one = engine()
    await one.start()
    await one.wait_ready()
    assert one.pid is not None
    members = family(one.pid)
    assert len(members) == 2
    await one.stop()
    assert one.state == "stopped"
    assert not any(alive(pid) for pid in members)
    assert not one.folder.exists()


async def test_an_engine_deaf_to_sigterm_is_killed_after_the_grace(engine: Engines) -> None:
    one = engine("--deaf")
    await one.start()
    await one.wait_ready()
    began = time.monotonic()
    await one.stop()
    assert QUICK.stop_grace_s <= time.monotonic() - began < 5


async def test_a_start_can_be_stopped_half_way(engine: Engines, tmp_path: Path) -> None:
    one = engine("--ready-after", "60")
    await one.start()
    await until(lambda: len(lives(tmp_path)) == 1)
    waiting = asyncio.create_task(one.wait_ready())
    await one.stop()
    with pytest.raises(EngineUnavailable, match="it was stopped"):
        await waiting
    assert not alive(lives(tmp_path)[0])


async def test_a_killed_engine_comes_back_at_the_same_address(engine: Engines, tmp_path: Path) -> None:
    told: list[str] = []
    one = engine("--own-session", on_progress=told.append)
    await one.start()
    await one.wait_ready()
    url, first_family = one.url, list(family(one.pid or 0))
    os.kill(lives(tmp_path)[0], signal.SIGKILL)
    await until(lambda: one.state != "ready")
    await one.wait_ready()
    assert one.url == url
    assert one.restarts == 1
    assert "killed (signal 9)" in (one.reason or "")
    assert any("starting it again in 0.05 s" in line for line in told)
    assert not any(alive(pid) for pid in first_family), "the first life's own children are gone too"


async def test_a_killed_guard_takes_its_engine_along(engine: Engines) -> None:
    one = engine()
    await one.start()
    await one.wait_ready()
    guard_pid = one.pid or 0
    members = list(family(guard_pid))
    os.kill(guard_pid, signal.SIGKILL)
    await until(lambda: one.state != "ready")
    await one.wait_ready()
    assert len(members) == 2
    assert not any(alive(pid) for pid in members)


async def test_pauses_double_up_to_a_limit_while_it_keeps_dying(engine: Engines) -> None:
    told: list[str] = []
    one = engine(*(f"--die-in-life={life}" for life in range(2, 7)), on_progress=told.append)
    await one.start()
    await one.wait_ready()
    os.kill(next(iter(family(one.pid or 0))), signal.SIGKILL)
    await until(lambda: one.restarts == 6, timeout_s=10)
    await one.wait_ready()
    pauses = [line.rpartition(" in ")[2] for line in told if "again in" in line]
    assert pauses == ["0.05 s", "0.1 s", "0.2 s", "0.2 s", "0.2 s", "0.2 s"]


async def test_an_engine_that_was_never_ready_is_given_up_after_three_deaths(engine: Engines, tmp_path: Path) -> None:
    one = engine("--die-always", "--say", "RuntimeError: something new", "--status", "3")
    await one.start()
    with pytest.raises(EngineUnavailable, match="RuntimeError: something new"):
        await one.wait_ready()
    assert one.state == "failed"
    assert len(lives(tmp_path)) == 3


async def test_what_will_not_change_is_tried_once(engine: Engines, tmp_path: Path) -> None:
    one = engine("--die-always", "--say", "api_server.py: error: unrecognized arguments: --fast")
    await one.start()
    with pytest.raises(EngineUnavailable, match="does not know the argument --fast"):
        await one.wait_ready()
    assert len(lives(tmp_path)) == 1


async def test_a_start_that_takes_too_long_says_so(engine: Engines) -> None:
    one = engine("--ready-after", "60", patience=Patience(0.3, 0.2, first_tries=1))
    await one.start()
    with pytest.raises(EngineUnavailable, match=r"not ready within 0\.3 s"):
        await one.wait_ready()


async def test_a_missing_interpreter_is_named() -> None:
    one = EngineProcess(["/no/such/python"], {}, patience=QUICK, on_log=lambda _: None)
    await one.start()
    with pytest.raises(EngineUnavailable, match="/no/such/python cannot be started"):
        await one.wait_ready()


async def test_a_stuck_engine_can_be_restarted(engine: Engines, tmp_path: Path) -> None:
    one = engine("--deaf")
    await one.start()
    await one.wait_ready()
    await one.restart("it makes no steps")
    await until(lambda: len(lives(tmp_path)) == 2)
    await one.wait_ready()
    assert one.restarts == 1


async def test_the_log_is_passed_on_line_by_line(engine: Engines) -> None:
    lines: list[str] = []
    one = engine("--say", "weights 1/2\rweights 2/2\n\nno end", on_log=lines.append)
    await one.start()
    await one.wait_ready()
    assert lines == ["weights 1/2", "weights 2/2", "no end"]


def test_a_killed_gateway_leaves_nothing(tmp_path: Path) -> None:
    """A program that starts an engine is killed with SIGKILL: within five seconds nothing of it is left."""
    command = [sys.executable, str(STAND_IN), "--lives", str(tmp_path / "lives"), "--own-session"]
    program = textwrap.dedent(f"""
        import asyncio, sys
        from server.engines.launcher import EngineProcess

        async def main():
            one = EngineProcess({command}, {{}})
            await one.start()
            await one.wait_ready()
            print(one.pid, one.folder, flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        guard_pid, folder = gateway.stdout.readline().split()
        everyone = [int(guard_pid), *family(int(guard_pid))]
        assert len(everyone) == 3
        gateway.kill()
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in everyone) or Path(folder).exists():
        assert time.monotonic() < deadline, f"still there: {[pid for pid in everyone if alive(pid)]}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param({"model": "/no/such/folder"}, "is not a folder here", id="no folder"),
        pytest.param({"engine_python": "/no/python"}, "/no/python does not exist", id="no interpreter"),
        pytest.param({"engine_args": "--max-model-len '8"}, "cannot be read as a shell would", id="open quote"),
    ],
)
def test_what_cannot_start_is_said_before_anything_is_started(spoil: dict[str, str], told: str, tmp_path: Path) -> None:
    settings = Settings(**{"engine_python": sys.executable, "model": str(tmp_path), **spoil})  # type: ignore[arg-type]
    with pytest.raises(EngineUnavailable, match=told):
        launch(settings)


def test_a_folder_is_checked_for_what_a_model_needs(tmp_path: Path) -> None:
    settings = Settings(engine_python=sys.executable, model=str(tmp_path))
    for missing, told in [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer"), ("x", "no weights")]:
        with pytest.raises(EngineUnavailable, match=told):
            launch(settings)
        (tmp_path / missing).write_text("{}")


def alive(pid: int) -> bool:
    """Whether there is such a process; one that ended and was not yet reaped does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
