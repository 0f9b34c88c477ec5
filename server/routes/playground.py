"""The web page at `/`: the files of clients/playground/built, as they were built, from memory.

What the page may do is said in its Content-Security-Policy: scripts, styles and connections from this server alone, no
inline script, no `eval`, no frame of another page, and no text made into HTML but by the two policies that it names.
Files under `assets/` carry a hash of their content in their names and are kept by browsers for good; the page itself
is asked for again each time, and answered 304 while it is the same. It is open to everyone: keys guard `/v1`.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from server.errors import NotFound
from server.routes.basics import exchange_of

BUILT = Path(__file__).resolve().parents[2] / "clients" / "playground" / "built"
PAGE = "index.html"
ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""Content-Encoding -> ending of the file that holds it, the smaller one first."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".wasm": "application/wasm",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; worker-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types inert pdf-worker"
)
WORKER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
"""Of scripts where they run as a worker: PDF.js decodes scans in WebAssembly there."""
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
PAGE_HEADERS = HEADERS | {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "x-frame-options": "DENY",
}
ASSET_HEADERS = HEADERS | {
    "cache-control": "public, max-age=31536000, immutable",
    "content-security-policy": WORKER_POLICY,
}


@dataclass(frozen=True, slots=True)
class File:
    """One built file."""

    kind: str
    digest: str
    bodies: Mapping[str, bytes]
    """Its bytes by Content-Encoding; `identity` for what does not compress."""
    headers: Mapping[str, str]

    def answer(self, accepted: str, known: str) -> Response:
        """The file in an encoding of `accepted` (Accept-Encoding), or 304 if `known` (If-None-Match) names it."""
        encoding = chosen(accepted, list(self.bodies))
        tag = f'"{self.digest}-{encoding}"'
        headers = {**self.headers, "etag": tag, "vary": "accept-encoding"}
        if tag in known:
            return Response(status_code=304, headers=headers)
        body = self.bodies[encoding] if encoding in self.bodies else gzip.decompress(self.bodies["gzip"])
        if encoding != "identity":
            headers["content-encoding"] = encoding
        return Response(body, media_type=self.kind, headers=headers)


def chosen(accepted: str, available: list[str]) -> str:
    """The first of `available` that an Accept-Encoding names, else `identity`.

    >>> chosen("gzip, deflate, br;q=0.8", ["br", "gzip"]), chosen("gzip, br;q=0", ["br", "gzip"]), chosen("", ["br"])
    ('br', 'gzip', 'identity')
    """
    names = set()
    for entry in accepted.split(","):
        name, _, weight = entry.replace(" ", "").lower().partition(";q=")
        if weight.strip("0.") or not weight:
            names.add(name)
    return next((name for name in available if name in names), "identity")


def built_files(folder: Path) -> dict[str, File]:
    """Every file of a build by its path, as its manifest lists them; none if there is no build."""
    try:
        manifest: dict[str, dict[str, Any]] = json.loads((folder / "manifest.json").read_text())["files"]
    except FileNotFoundError:
        return {}
    found = {}
    for name, facts in manifest.items():
        packed = "br" in facts
        bodies = {
            encoding: (folder / (name + ending)).read_bytes()
            for encoding, ending in (ENCODINGS if packed else {"identity": ""}).items()
        }
        headers = PAGE_HEADERS if name == PAGE else ASSET_HEADERS
        found[name] = File(TYPES[PurePosixPath(name).suffix], facts["sha256"][:20], bodies, headers)
    return found


def playground_routes(folder: Path = BUILT) -> APIRouter:
    """`/` and what it loads."""
    files = built_files(folder)
    router = APIRouter(dependencies=[Depends(exchange_of)], include_in_schema=False)

    async def page(request: Request) -> Response:
        return _answer(files, PAGE, request)

    async def asset(request: Request, name: str) -> Response:
        return _answer(files, f"assets/{name}", request)

    for path, endpoint in (("/", page), ("/assets/{name}", asset)):
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"], response_model=None)
    return router


def _answer(files: Mapping[str, File], name: str, request: Request) -> Response:
    file = files.get(name)
    if file is None:
        why = "" if files else "; the page is not built here (clients/playground: npm run build)"
        raise NotFound(f"there is nothing at {request.url.path[:200]}{why}")
    return file.answer(request.headers.get("accept-encoding", ""), request.headers.get("if-none-match", ""))
