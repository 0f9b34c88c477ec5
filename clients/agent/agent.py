"""An agent that books a night train: it sees the page, asks `/v1/act` what to do next, and does it in Chromium.

    pip install qwenvl playwright==1.65.2         # and a Chromium, for example Debian's: apt-get install chromium
    python agent.py "Book the 20:05 night train from Berlin to Rome on 12 May for Ada Lovelace" --steps steps/

The page is `booking.html` beside this file; `--page URL` takes another. Every step is saved as a picture with the
action drawn on it. It stops before anything that pays, buys, sends or deletes, and asks: see `reason_to_ask`. What it
does not do: keep a page from lying to the model. Let it loose only where a wrong click costs nothing.

A model that can do this is Qwen2.5-VL of 7 billion parameters or more. Without one, answers recorded beforehand can be
replayed by the mock engine, which shows the rest at work:

    python -m benchmarks.overhead.mock --port 9001
    scripts/serve --engine-url http://127.0.0.1:9001
    python agent.py "..." --replay http://127.0.0.1:9001
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Page, sync_playwright

from qwenvl import Action, Client

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1288, 728
"""Of the window, in pixels: multiples of 28 below a megapixel, so that the model is shown every pixel as it is."""
MOST_STEPS = 25
SETTLE_MS = 150
COMMITTING = re.compile(r"\b(pay|buy|order|book now|purchase|send|submit|delete|remove|confirm|sign)\b", re.IGNORECASE)
KEYS = {
    "enter": "Enter",
    "return": "Enter",
    "esc": "Escape",
    "ctrl": "Control",
    "cmd": "Meta",
    "backspace": "Backspace",
}


@dataclass(frozen=True)
class Step:
    """One thing that the model wanted."""

    number: int
    action: Action
    picture: Path
    """The page before it, with the action drawn."""
    stopped_by: str | None = None
    """Why it was not done, and the agent stopped: `over`, or the reason to ask a person who said no."""


def run(
    page: Page,
    task: str,
    client: Client,
    folder: Path,
    may: Callable[[Action, str], bool],
    most_steps: int = MOST_STEPS,
) -> Iterator[Step]:
    """Look, ask, do, until the model says it is done, a person says no, or it was enough. Each step as it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    history: list[dict[str, Any] | str] = []
    for number in range(1, most_steps + 1):
        page.wait_for_timeout(SETTLE_MS)
        screenshot = page.screenshot()
        action = client.act(screenshot, task, history=history)
        picture = action.save_overlay(folder / f"step-{number:02}.png")
        if action.is_over:
            yield Step(number, action, picture, "over")
            return
        reason = reason_to_ask(page, action)
        if reason is not None and not may(action, reason):
            yield Step(number, action, picture, reason)
            return
        do(page, action.action)
        history.append(action.action)
        yield Step(number, action, picture)


def reason_to_ask(page: Page, action: Action) -> str | None:
    """Why a person should allow this first: what the server makes of the words, or what the click would hit."""
    if action.needs_confirmation:
        return action.confirmation_reason
    place = action.action.get("coordinate")
    if place is None or "click" not in action.name:
        return None
    hit = page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y)?.closest('button, a, input')?.innerText ?? ''", place
    )
    found = COMMITTING.search(hit)
    return f"the click would hit {hit!r}" if found else None


def do(page: Page, action: dict[str, Any]) -> None:
    """One action on the page. Raises ValueError for one that a page cannot do."""
    place = action.get("coordinate")
    match action["action"]:
        case "left_click" | "right_click" | "middle_click" | "double_click" as name:
            if place is not None:
                page.mouse.move(*place)
            button = {"right_click": "right", "middle_click": "middle"}.get(name, "left")
            page.mouse.down(button=button)  # type: ignore[arg-type]
            page.mouse.up(button=button)  # type: ignore[arg-type]
            if name == "double_click":
                page.mouse.down(click_count=2)
                page.mouse.up(click_count=2)
        case "mouse_move":
            page.mouse.move(*action["coordinate"])
        case "left_click_drag":
            page.mouse.down()
            page.mouse.move(*action["coordinate"], steps=8)
            page.mouse.up()
        case "type":
            page.keyboard.type(action["text"])
        case "key":
            page.keyboard.press("+".join(KEYS.get(key.lower(), key) for key in action["keys"]))
        case "scroll":
            page.mouse.wheel(0, -action["pixels"])
        case "wait":
            page.wait_for_timeout(min(float(action["time"]), 10) * 1000)
        case name:
            raise ValueError(f"a page cannot do {name}")


class Replay:
    """Recorded answers, handed to the mock engine one by one before each step."""

    def __init__(self, engine_url: str, recorded: Path = HERE / "recorded.json") -> None:
        self._engine_url = engine_url
        self._answers = iter(json.loads(recorded.read_text("utf-8")))

    def next(self) -> None:
        """The engine's next answer."""
        arguments = next(self._answers, {"action": "terminate", "status": "failure"})
        call = json.dumps({"name": "computer_use", "arguments": arguments})
        behaviour = {"answer": f"<tool_call>\n{call}\n</tool_call>", "chunks": 8}
        httpx2.post(f"{self._engine_url}/mock/behaviour", json=behaviour).raise_for_status()


def ask_on_terminal(action: Action, reason: str) -> bool:
    """Whether a person allows it."""
    sys.stderr.write(f"{json.dumps(action.action)}: {reason}. Do it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Let the model use a page; it stops before anything that commits.")
    parser.add_argument("task", help="what is to be done, in words")
    parser.add_argument("--page", default=(HERE / "booking.html").as_uri(), help="where to begin")
    parser.add_argument("--steps", type=Path, default=Path("steps"), help="folder for the pictures")
    parser.add_argument("--replay", metavar="ENGINE_URL", help="mock engine that is given recorded answers")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--headed", action="store_true", help="show the window")
    given = parser.parse_args()
    replay = Replay(given.replay) if given.replay else None
    with sync_playwright() as playwright, Client() as client:
        browser = playwright.chromium.launch(executable_path=given.chromium, headless=not given.headed)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(given.page)
        steps = run(page, given.task, client, given.steps, ask_on_terminal)
        last = None
        while True:
            if replay is not None:
                replay.next()
            step = next(steps, None)
            if step is None:
                break
            last = step
            print(
                f"{step.picture}: {json.dumps(step.action.action)}{f' - {step.stopped_by}' if step.stopped_by else ''}"
            )
        browser.close()
    return 0 if last is not None and last.stopped_by == "over" else 1


if __name__ == "__main__":
    sys.exit(main())
