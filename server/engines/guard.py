"""Stands between the gateway and vLLM so that neither outlives the other; standard library only, run as a script.

    python -I -S guard.py --parent PID --scratch DIR [--also-remove DIR] [--env NAME=VALUE]... [--grace S] -- COMMAND...

vLLM is several processes. Killed with SIGKILL, its API process leaves EngineCore behind, and the gateway would leave
both, with gigabytes of memory. The guard lives in a session of its own, adopts what its child leaves behind
(PR_SET_CHILD_SUBREAPER), and ends the whole family when the child ends, when it is told to (SIGTERM, then SIGKILL
after `grace`), or within half a second of its parent's death. `scratch` is made fresh, is the family's TMPDIR, and
goes with it.

What it does not guard: a guard that is killed itself takes only its direct child along (PR_SET_PDEATHSIG); the launcher
sweeps the rest. Linux only.
"""

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
POLL_S = 0.25
TRACKER_GRACE_S = 1.0
"""Python's resource tracker outlives its clients by a moment to unlink their shared memory: it is let finish."""
END_S = 5.0
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
NOT_STARTED = 127
NOT_INHERITED = ("QVL_", "VLLM_API_KEY")
"""The gateway's settings hold its callers' keys; a key for the engine would lock the gateway itself out."""


def family(root: int) -> dict[int, str]:
    """Command lines, by process id, of what descends from `root` or is in its session; without `root` and the dead."""
    parents, sessions = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _, session = stat.read_text(errors="replace").rpartition(")")[2].split()[:4]
            if state not in "ZX":
                parents[int(stat.parent.name)], sessions[int(stat.parent.name)] = int(parent), int(session)

    def descends(pid: int) -> bool:
        while (pid := parents.get(pid, 0)) > 1:
            if pid == root:
                return True
        return False

    found = {}
    for pid in parents:
        if pid != root and (sessions[pid] == root or descends(pid)):
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def end_family(root: int) -> bool:
    """Kill what `family` finds until nothing is left; False if something survived `END_S` seconds."""
    started = time.monotonic()
    while members := family(root):
        waited_s = time.monotonic() - started
        for pid, command in members.items():
            if "multiprocessing.resource_tracker" not in command or waited_s > TRACKER_GRACE_S:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if waited_s > END_S:
            return False
        time.sleep(0.02)
        reap()
    return True


def reap() -> list[tuple[int, int]]:
    """(process id, exit status as a shell counts it) of every child that has ended and was not yet asked after."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (result := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            pid, status = result
            ended.append((pid, 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)))
    return ended


def environment(defaults: list[str], scratch: Path) -> dict[str, str]:
    """Ours, where it says nothing the defaults, and the scratch folder; without the gateway's own settings and keys."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    return {**dict(item.split("=", 1) for item in defaults), **inherited, "TMPDIR": str(scratch)}


def start(command: list[str], variables: dict[str, str], libc: ctypes.CDLL) -> int:
    """Start the command, to die with this process; its process id."""

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=variables, preexec_fn=before_exec)  # noqa: S603
    child.returncode = 0  # reap() waits for it, not Popen
    return child.pid


def watch(child: int, parent: int, grace_s: float) -> int:
    """Wait until the child ends, the parent is gone, or the grace after SIGTERM is over; the exit status to pass on."""
    deadline = float("inf")
    while True:
        received = signal.sigtimedwait(SIGNALS, POLL_S)
        for pid, status in reap():
            if pid == child:
                return status
        if os.getppid() != parent or time.monotonic() > deadline:
            return 128 + signal.SIGKILL
        if received is not None and received.si_signo != signal.SIGCHLD and deadline == float("inf"):
            deadline = time.monotonic() + grace_s
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--also-remove", type=Path)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--grace", type=float, default=10.0)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    shutil.rmtree(options.scratch, ignore_errors=True)
    options.scratch.mkdir(mode=0o700, parents=True)
    try:
        child = start(options.command, environment(options.env, options.scratch), libc)
        status = watch(child, options.parent, options.grace)
    except OSError as exc:
        sys.stderr.write(f"guard: cannot start {options.command[0]}: {exc.strerror}\n")
        status = NOT_STARTED
    finally:
        end_family(os.getpid())
        shutil.rmtree(options.scratch, ignore_errors=True)
        if options.also_remove is not None and os.getppid() != options.parent:
            shutil.rmtree(options.also_remove, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
