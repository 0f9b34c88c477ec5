"""Stands in for vLLM where a test needs a fault on command: HTTP on a Unix socket, a child of its own, deaths."""

import argparse
import os
import signal
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uds", required=True)
    parser.add_argument("--allowed-local-media-path", required=True)
    parser.add_argument("--lives", type=Path, help="a file that holds the process id of each life, one a line")
    parser.add_argument("--ready-after", type=float, default=0)
    parser.add_argument("--say", default="")
    parser.add_argument("--die-in-life", type=int, action="append", default=[], help="the first one is 1")
    parser.add_argument("--die-always", action="store_true")
    parser.add_argument("--status", type=int, default=1)
    parser.add_argument("--deaf", action="store_true", help="do not heed SIGTERM")
    parser.add_argument("--own-session", action="store_true", help="its child hides in a session of its own")
    options = parser.parse_args()

    with options.lives.open("a") as lives:
        lives.write(f"{os.getpid()}\n")
    life = len(options.lives.read_text().splitlines())
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.say:
        sys.stdout.write(options.say + "\n")
        sys.stdout.flush()
    if options.die_always or life in options.die_in_life:
        sys.exit(options.status)
    # An EngineCore: a process that does not end with its parent, in a session of its own at that.
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=options.own_session)
    Path(os.environ["TMPDIR"], "left-behind").touch()
    time.sleep(options.ready_after)
    with socketserver.ThreadingUnixStreamServer(options.uds, Health) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
