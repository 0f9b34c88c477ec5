"""Files that do harm, or look as if they did, and a web server on another loopback address that gives them out."""

import base64
import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
from PIL import Image

ELSEWHERE = "127.0.0.2"
"""Where the web server listens; the gateway under test may fetch from there, and from no other private address."""


def picture(wh: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """A picture with nothing wrong about it."""
    buffer = io.BytesIO()
    Image.new("RGB", wh, (200, 30, 30)).save(buffer, kind)
    return buffer.getvalue()


def uri(data: bytes, media_type: str = "image/png") -> str:
    """A data: URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(wh: tuple[int, int], pixels: bytes = b"", *more: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header claims the size `wh` of grey pixels, whatever is in it; `more` are further chunks."""
    header = struct.pack(">IIBBBBB", *wh, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def text_bomb() -> bytes:
    """A PNG of 28x28 with a comment of kilobytes that unpacks to 64 MiB."""
    squeezer = zlib.compressobj(9)
    packed = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(64)) + squeezer.flush()
    return png_of((28, 28), bytes(29) * 28, (b"zTXt", b"Comment\0\0" + packed))


def gif_of(frames: int) -> bytes:
    """An animation of pictures of one pixel."""
    buffer = io.BytesIO()
    images = [Image.new("P", (28, 28), index % 2) for index in range(frames)]
    for index, image in enumerate(images):
        image.putpixel((0, 0), index % 256)
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=100)
    return buffer.getvalue()


def clip(*, frames: int, wh: tuple[int, int] = (64, 48), fps: int = 10, audio_s: float = 0) -> bytes:
    """An MP4 file; with no frames one that has a video stream in which there is nothing."""
    buffer = io.BytesIO()
    options = {} if frames or audio_s else {"movflags": "empty_moov+frag_keyframe"}
    with av.open(buffer, "w", format="mp4", options=options) as container:
        sound = container.add_stream("aac", rate=8000) if audio_s else None
        if wh[0]:
            stream = container.add_stream("mpeg4", rate=fps)
            stream.width, stream.height = wh
            container.start_encoding()
            for index in range(frames):
                image = Image.new("RGB", wh, (index % 256, 0, 0))
                container.mux(stream.encode(av.VideoFrame.from_image(image)))  # type: ignore[no-untyped-call]
            container.mux(stream.encode(None))
        if sound is not None:
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate = 8000
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            for index in range(int(audio_s * 8000 / 1024)):
                frame.pts = index * 1024
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return buffer.getvalue()


Respond = Callable[[BaseHTTPRequestHandler], None]


def _gives(data: bytes, media_type: str, **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", media_type)
        handler.send_header("content-length", headers.pop("length", str(len(data))))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return respond


def _sends_to(location: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("location", location)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return respond


def _fails(status: int) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_error(status)

    return respond


def _never_ends(handler: BaseHTTPRequestHandler) -> None:
    """Zeros without a length, until the other side has had enough."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1 << 16))


def _drips(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: no wait is long, the whole is endless."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.stopped.wait(0.1):  # type: ignore[attr-defined]
        handler.wfile.write(b"\xff")


def _says_nothing(handler: BaseHTTPRequestHandler) -> None:
    handler.server.stopped.wait(30)  # type: ignore[attr-defined]


def _speaks_no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")


PAGES: dict[str, Respond] = {
    "/picture.png": _gives(picture(), "image/png"),
    "/says-jpeg.jpg": _gives(picture(), "image/jpeg"),
    "/says-text": _gives(picture(), "text/plain"),
    "/html.png": _gives(b"<!doctype html><title>Sign in</title>", "image/png"),
    "/empty.png": _gives(b"", "image/png"),
    "/claims-much.png": _gives(picture(), "image/png", length=str(1 << 40)),
    "/cut.png": _gives(picture()[:40], "image/png", length="2000"),
    "/packed.png": _gives(zlib.compress(bytes(1 << 20)), "image/png", content_encoding="gzip"),
    "/never-ends.png": _never_ends,
    "/drips.png": _drips,
    "/says-nothing.png": _says_nothing,
    "/no-http.png": _speaks_no_http,
    "/missing.png": _fails(404),
    "/broken.png": _fails(500),
    "/hop-1": _sends_to("/hop-2"),
    "/hop-2": _sends_to("/hop-3"),
    "/hop-3": _sends_to("/picture.png"),
    "/hop-0": _sends_to("/hop-1"),
    "/round": _sends_to("/round"),
    "/to-metadata": _sends_to("http://169.254.169.254/latest/meta-data/"),
    "/to-us": _sends_to("http://127.0.0.1/metrics"),
    "/to-file": _sends_to("file:///etc/passwd"),
    "/to-nowhere": _sends_to("http://"),
    "/to-other-port": _sends_to(f"http://{ELSEWHERE}:22/"),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path.partition("?")[0])  # type: ignore[attr-defined]
        PAGES[self.path.partition("?")[0]](self)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Web(ThreadingHTTPServer):
    """Gives out PAGES until it is stopped."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__((ELSEWHERE, 0), _Handler)
        self.stopped = threading.Event()
        self.asked: list[str] = []
        """Paths that were asked for."""

    def url(self, path: str) -> str:
        """Of one of PAGES."""
        return f"http://{ELSEWHERE}:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """The gateway hangs up on what it has had enough of; that is no error."""


@contextmanager
def serving() -> Iterator[Web]:
    """A running web server."""
    with Web() as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield web
        finally:
            web.stopped.set()
            web.shutdown()
            thread.join()
