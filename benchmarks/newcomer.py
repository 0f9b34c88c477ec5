"""A newcomer's walk, timed: from `git clone` to the first boxes over a picture in a browser, by the README's own steps.

    python -m benchmarks.newcomer [--from URL] [--screenshot FILE]

Clones the repository into an empty folder, runs `./scripts/serve` there, waits until it takes requests, asks what the
README asks with curl, opens the playground in a Chromium that has never been here, picks a sample, and waits until its
boxes are drawn. Needs Chromium and playwright (`scripts/test` installs it). Last line: JSON, seconds since the start.

Caveat: packages come at the speed of the network, or from pip's cache where there is one; other work on the machine
counts.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from playwright.async_api import async_playwright

from benchmarks.browser import launched
from benchmarks.overhead.processes import free_ports
from tests.playground.common import open_tab, pick

ROOT = Path(__file__).resolve().parent.parent
LONGEST_S = 1800
ASK = {"model": "qwen2.5-vl", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}


class Walk:
    """What is reached when."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self.steps: dict[str, float] = {}

    def reached(self, step: str) -> None:
        """Note it, and tell."""
        self.steps[step] = round(time.monotonic() - self._began_s, 1)
        sys.stderr.write(f"{self.steps[step]:7.1f} s  {step}\n")


@asynccontextmanager
async def served(folder: Path, port: int) -> AsyncIterator[None]:
    """`./scripts/serve` until it takes requests, and its end. Raises RuntimeError with its last words if it dies."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("QVL_", "VIRTUAL_ENV"))}
    log = folder.parent / "serve.log"
    with log.open("wb") as out:
        command = ["./scripts/serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        async with httpx2.AsyncClient() as client, asyncio.timeout(LONGEST_S):
            while not await _ready(client, port):
                if process.poll() is not None:
                    raise RuntimeError(log.read_text()[-2000:])
                await asyncio.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


async def _ready(client: httpx2.AsyncClient, port: int) -> bool:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


async def look(url: str, walk: Walk, screenshot: Path | None) -> int:
    """Boxes over a sample in the playground; how many."""
    async with async_playwright() as playwright:
        browser = await launched(playwright)
        page = await browser.new_page(viewport={"width": 1360, "height": 860})
        view = await open_tab(page, url, "detect")
        await pick(view, "Shapes")
        walk.reached("a sample is chosen in the playground")
        await view.locator("button.primary:not([disabled])").click()
        await view.locator(".mark.box").first.wait_for()
        walk.reached("the first box is drawn over it")
        await view.locator("[data-state=done]").first.wait_for()
        boxes = await view.locator(".mark.box").count()
        if screenshot is not None:
            await page.screenshot(path=screenshot)
        await browser.close()
    return boxes


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.newcomer", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--from", dest="origin", default=str(ROOT), help="what is cloned")
    parser.add_argument("--screenshot", type=Path, help="of the playground at the end")
    options = parser.parse_args()
    walk = Walk()
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="newcomer-") as name:
        folder = Path(name) / "server"
        subprocess.run(["git", "clone", "-q", options.origin, folder], check=True)
        walk.reached("cloned")
        async with served(folder, port):
            walk.reached("./scripts/serve takes requests")
            async with httpx2.AsyncClient(timeout=60) as client:
                answer = await client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=ASK)
                answer.raise_for_status()
            walk.reached("a first answer")
            boxes = await look(f"http://127.0.0.1:{port}", walk, options.screenshot)
    print(json.dumps({"benchmark": "newcomer", "seconds": walk.steps, "boxes": boxes}))


if __name__ == "__main__":
    asyncio.run(main())
