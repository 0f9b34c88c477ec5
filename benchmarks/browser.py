"""The Chromium of this machine, for tests and benchmarks of pages: headless, and held to this machine."""

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Browser, Playwright

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def program() -> str | None:
    """Chromium's path; None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def flags() -> list[str]:
    """What it is started with; Chromium has no sandbox for root."""
    return [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else list(FLAGS)


async def launched(playwright: "Playwright") -> "Browser":
    """A browser, which the caller closes. Raises RuntimeError where there is no Chromium."""
    path = program()
    if path is None:
        raise RuntimeError("no Chromium here: apt-get install chromium")
    return await playwright.chromium.launch(executable_path=path, args=flags())
