"""The process that decodes: `python -m server.media.worker MEMORY_BYTES`, with its parent's socket as standard input.

Takes one job at a time, answers it, waits for the next, and ends with its parent. It holds no secret: its environment
is empty but for the module path. What it guards against: a file that crashes, hangs or fills memory costs that one
job. What it does not guard against: a file that takes the process over may still read what this user may read, and use
the network.
"""

import contextlib
import ctypes
import importlib
import os
import resource
import select
import signal
import socket
import sys
import traceback
from typing import Any, BinaryIO

from server.errors import GatewayError, MediaUnreadable
from server.media import KINDS
from server.media.jobs import Decode, Part, Result, Unpacker, error_to_json, pack, receive, scratch_file, write_all

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LONGEST_TRACE = 4000
SETTLE_S = 1
"""A new process that has had no job for so long imports what pictures need; tests and short runs are over by then."""
IDLE_S = 5


def main() -> None:
    """Until the parent closes its end."""
    limit_self(int(sys.argv[1]))
    with socket.socket(fileno=os.dup(0)) as channel:
        unpacker = Unpacker()
        idle_s = SETTLE_S
        while True:
            if not select.select([channel], [], [], idle_s)[0]:
                with contextlib.suppress(ImportError, MemoryError):  # a job will say so
                    decoder("image")  # imported now, it costs the first picture nothing
                give_memory_back()
                idle_s = IDLE_S
            data, files = receive(channel)
            if not data:
                return
            if (job := unpacker.feed(data, files)) is not None:
                with unpacker.take_file() as file:
                    file.seek(0)  # the parent's position came along
                    answer(channel, job, file)


def limit_self(memory_bytes: int) -> None:
    """Caps this process's address space, leaves no core files, and ties its life to its parent's."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Ctrl-C is the parent's to handle; it closes us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def give_memory_back() -> None:
    """To the system, what was kept for the next picture; as the allocator allows."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def answer(channel: socket.socket, job: dict[str, Any], file: BinaryIO) -> None:
    """Does the job; sends its facts with a file that holds the URL, or its error."""
    try:
        result = decoder(job["kind"])(file, [Part(*part) for part in job["parts"]], job["options"])
    except GatewayError as error:
        _send_error(channel, error)
    except MemoryError:
        _send_error(channel, _gave_up(job, "needs more memory to decode than this server gives it"))
    except Exception:  # whatever a hostile file makes a decoder raise is an answer; the parent logs it
        _send_error(channel, _gave_up(job, "could not be decoded"), traceback.format_exc()[-LONGEST_TRACE:])
    else:
        _send_result(channel, result)


def decoder(kind: str) -> Decode:
    """What decodes a kind; imported when the first job of that kind comes.

    >>> decoder("image").__module__
    'server.media.image'
    """
    decode: Decode = importlib.import_module(KINDS[kind]).decode
    return decode


def _send_result(channel: socket.socket, result: Result) -> None:
    with scratch_file() as file:
        for piece in result.url:
            write_all(file, piece)
        socket.send_fds(channel, [pack({"facts": result.facts})], [file.fileno()])


def _send_error(channel: socket.socket, error: GatewayError, trace: str = "") -> None:
    channel.sendall(pack({"error": error_to_json(error), "trace": trace}))


def _gave_up(job: dict[str, Any], why: str) -> MediaUnreadable:
    param, noun = job["options"]["param"], job["options"]["noun"]
    return MediaUnreadable(f"{param} {why}", param=param, code=f"{noun}_unreadable")


if __name__ == "__main__":
    main()
