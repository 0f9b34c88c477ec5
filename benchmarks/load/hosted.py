"""Files on a web server of the harness's own, so that the server measured has to fetch them.

It is a process of its own: what it does is not taken for the client's work.
"""

import hashlib
import mimetypes
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

START_S = 10


class Hosted:
    """Serves what `url` was given until the `with` ends. Raises ValueError where the port is taken."""

    def __init__(self, host: str, port: int) -> None:
        """`host` is an address of this machine that the server measured can reach, and may fetch from."""
        self._at = (host, port)

    def __enter__(self) -> "Hosted":
        host, port = self._at
        try:
            socket.create_server(self._at).close()
        except OSError as exc:
            raise ValueError(f"nothing can be served at {host}:{port}: {exc.strerror}") from exc
        self._folder = TemporaryDirectory(prefix="hosted-")
        command = ["-m", "http.server", str(port), "--bind", host, "--directory", self._folder.name]
        self._process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends_s = time.monotonic() + START_S
        while True:
            if self._process.poll() is not None or time.monotonic() > ends_s:
                self.__exit__(None, None, None)
                raise ValueError(f"nothing is served at {host}:{port}")
            try:
                socket.create_connection(self._at, timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def url(self, data: bytes, kind: str) -> str:
        """Where these bytes of that media type lie from now on. The same bytes lie at the same place."""
        name = hashlib.sha256(data).hexdigest()[:32] + (mimetypes.guess_extension(kind) or "")
        path = Path(self._folder.name) / name
        if not path.exists():
            path.write_bytes(data)
        host, port = self._at
        return f"http://{host}:{port}/{name}"

    def __str__(self) -> str:
        return "{}:{}".format(*self._at)
