"""The Unix socket between us and an engine of our own: where it lies, and whether somebody answers there."""

import asyncio
import secrets
import tempfile
from pathlib import Path

MOST_SOCKET_PATH = 107  # sizeof(sockaddr_un.sun_path) - 1
LONGEST_CHILD_PATH = len("/tmp/") + 36  # noqa: S108  # vLLM's own sockets: a UUID in our scratch folder


async def is_healthy(socket: Path, timeout_s: float = 5) -> bool:
    """Whether `GET /health` on this Unix socket is answered with 200."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    return status_line.split()[1:2] == [b"200"]


def new_folder() -> Path:
    """A path for an engine's sockets: not yet made, not to be guessed, short enough for their paths."""
    name = f"qvl-{secrets.token_hex(6)}"
    folder = Path(tempfile.gettempdir()) / name
    if len(str(folder)) + LONGEST_CHILD_PATH > MOST_SOCKET_PATH:
        folder = Path("/tmp") / name  # noqa: S108  # made with mkdir 0700 under a random name
    return folder
