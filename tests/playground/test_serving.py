"""The page's files over HTTP, without a browser: what a browser may keep, what the page may do, what it weighs."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image, ImageChops

from server.routes.playground import BUILT
from tests.conftest import Running
from tests.playground.oracle import SAMPLES, samples

SOURCES = BUILT.parent
MANIFEST: dict[str, Any] = json.loads((BUILT / "manifest.json").read_text())
SHELL_LIMIT = 100 * 1024
PACKED = {name: facts for name, facts in MANIFEST["files"].items() if "br" in facts}
BUNDLED = ("index.html", "package-lock.json", "scripts/pack.mjs", "tsconfig.json", "vite.config.ts")


async def test_the_page_is_served_at_the_root_and_may_not_do_much(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(each.strip().partition(" ")[::2] for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\ssrc=)", answer.text), "no inline script"
    assert not re.search(r"""(src|href)=["'](?!\./)""", answer.text), "nothing from elsewhere"


async def test_it_is_asked_for_again_and_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    first = await client.get("/")
    assert first.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


async def test_what_is_named_by_its_hash_is_kept_for_good(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/")).text
    script = re.search(r'src="\./(assets/[^"]+\.js)"', page)
    assert script is not None
    answer = await client.get(f"/{script[1]}")
    assert "immutable" in answer.headers["cache-control"]
    assert hashlib.sha256(answer.content).hexdigest() == MANIFEST["files"][script[1]]["sha256"]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip;q=0.5", "gzip"), ("identity", None), ("", None)],
)
async def test_every_client_gets_the_same_text_as_small_as_it_takes_it(
    client: httpx2.AsyncClient, accepted: str, encoding: str | None
) -> None:
    async with client.stream("GET", "/", headers={"accept-encoding": accepted}) as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "accept-encoding"
    ending = {"br": ".br", "gzip": ".gz"}.get(encoding or "")
    page = gzip.decompress((BUILT / "index.html.gz").read_bytes())
    assert raw == ((BUILT / f"index.html{ending}").read_bytes() if ending else page)


async def test_every_file_is_served_with_its_type(client: httpx2.AsyncClient) -> None:
    kinds = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}
    for name in MANIFEST["files"]:
        answer = await client.head(f"/{'' if name == 'index.html' else name}")
        assert (answer.status_code, answer.content) == (200, b""), name
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"].startswith(kinds.get(Path(name).suffix, "")), name


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/manifest.json", "/assets/..%2fmanifest.json", "/built"])
async def test_nothing_else_is(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_an_operator_can_leave_the_page_out(running: Running) -> None:
    async with running(["http://127.0.0.1:9"], playground=False) as url, httpx2.AsyncClient(base_url=url) as client:
        assert (await client.get("/")).status_code == 404


async def test_the_page_is_open_where_keys_guard_the_rest(running: Running) -> None:
    async with (
        running(["http://127.0.0.1:9"], api_key=["sk"]) as url,
        httpx2.AsyncClient(base_url=url) as client,
    ):
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/v1/tasks")).status_code == 401


def test_the_shell_is_small() -> None:
    page = gzip.decompress((BUILT / "index.html.gz").read_bytes()).decode()
    first = ["index.html", *re.findall(r'(?:src|href)="\./([^"]+)"', page)]
    assert len(first) == 4
    for coding in ("br", "gz"):
        assert sum(MANIFEST["files"][name][coding] for name in first) < SHELL_LIMIT


def test_each_file_is_what_the_manifest_says() -> None:
    for name, facts in MANIFEST["files"].items():
        data = gzip.decompress((BUILT / f"{name}.gz").read_bytes()) if name in PACKED else (BUILT / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == facts["sha256"], name
        assert not re.search(rb"sourceMappingURL=(?!data:)", data), name
    listed = {
        f"{name}{ending}" for name in MANIFEST["files"] for ending in ((".br", ".gz") if name in PACKED else ("",))
    }
    there = {str(path.relative_to(BUILT)) for path in BUILT.rglob("*") if path.is_file()}
    assert there == listed | {"manifest.json"}


def test_the_build_is_of_these_sources() -> None:
    assert sources_hash() == MANIFEST["sources"], "run npm run build in clients/playground"


def sources_hash() -> str:
    """As scripts/pack.mjs has it: the hash of lines `sha256 path`, sorted by path."""
    paths = [SOURCES / name for name in BUNDLED]
    paths += [path for path in (SOURCES / "src").rglob("*") if path.is_file()]
    paths += [path for path in (SOURCES / "samples").iterdir() if path.suffix in {".png", ".pdf", ".mp4", ".webp"}]
    names = sorted(path.relative_to(SOURCES).as_posix() for path in paths)
    lines = [f"{hashlib.sha256((SOURCES / name).read_bytes()).hexdigest()} {name}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_building_again_gives_the_same_files(tmp_path: Path) -> None:
    vite = SOURCES / "node_modules/vite/bin/vite.js"
    node = shutil.which("node")
    if node is None or not vite.exists():
        pytest.skip("no Node with what it builds with here: npm ci in clients/playground; the sources' hash is checked")
    command = [node, str(vite), "build", "--logLevel", "error", "--outDir", str(tmp_path / "built")]
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = {path for path in (tmp_path / "built").rglob("*") if path.is_file()}
    hashes = {
        path.relative_to(tmp_path / "built").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    assert hashes == {name: facts["sha256"] for name, facts in MANIFEST["files"].items()}


def test_samples_are_those_of_their_seeds(tmp_path: Path) -> None:
    samples().make(tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    kept = {path.name for path in SAMPLES.iterdir() if path.is_file() and path.suffix != ".py"}
    assert made == kept
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as again, Image.open(SAMPLES / path.name) as once:
            assert ImageChops.difference(again.convert("RGB"), once.convert("RGB")).getbbox() is None, path.name
    assert sum((SAMPLES / name).stat().st_size for name in kept) < 600_000


def test_the_lock_names_no_place_where_packages_come_from() -> None:
    lock = (SOURCES / "package-lock.json").read_text()
    assert "://" not in re.sub(r'"url": "[^"]*"', "", lock), "but for whom to thank"
