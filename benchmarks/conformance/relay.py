"""An engine behind a Unix socket as an HTTP URL, for clients that only know TCP."""

import contextlib
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator

PIECE_BYTES = 65536


@contextlib.contextmanager
def over_tcp(url: str) -> Iterator[str]:
    """`url` itself, or for `unix:/path` a URL on loopback that leads there as long as the context lasts."""
    if not url.startswith("unix:"):
        yield url.rstrip("/")
        return
    with _Relay(url.removeprefix("unix:")) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{relay.server_address[1]}"
        finally:
            relay.shutdown()
            thread.join()


class _Relay(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.path = path


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Relay)
        client: socket.socket = self.request
        with socket.socket(socket.AF_UNIX) as engine, selectors.DefaultSelector() as ready:
            engine.connect(self.server.path)
            ready.register(client, selectors.EVENT_READ, engine)
            ready.register(engine, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    assert isinstance(key.fileobj, socket.socket)
                    try:
                        piece = key.fileobj.recv(PIECE_BYTES)
                        key.data.sendall(piece)
                    except OSError:
                        return
                    if not piece:
                        return
