"""`/v1/act`: the next action of an agent that sees a screen: where to click, what to type, when to stop.

The model is told the size of the screenshot that it is shown, as Qwen's own agents are (`tools/*.txt` are their system
prompts to the letter). Its action is checked, and its coordinates are given in device pixels and in the screenshot's.
This server never does anything to a device.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, ClassVar, Literal

from pydantic import Field

from server.geometry import Point, Size, place_point, point_numbers
from server.tasks.action_forms import anthropic_action, openai_action
from server.tasks.actions import Impossible, checked, why_confirm
from server.tasks.inputs import Media
from server.tasks.reading import Notice
from server.tasks.reading_action import Call, read_call
from server.tasks.task import (
    Ask,
    Extent,
    MediaKind,
    Part,
    Reader,
    Shown,
    Task,
    TaskRequest,
    TaskResult,
    extent,
    first_view,
    question,
)

Environment = Literal["computer", "mobile"]
MAX_TASK_CHARS = 8000
MAX_STEPS = 200
MAX_ANSWER_TOKENS = 1024
_SYSTEM = {
    kind: files("server.tasks").joinpath(f"tools/{kind}_use.txt").read_text("utf-8") for kind in ("computer", "mobile")
}


class ActRequest(TaskRequest):
    """What the agent is to do, and what it sees."""

    screenshot: Media
    """URL, data: URI or OpenAI content part."""
    task: str = Field(min_length=1, max_length=MAX_TASK_CHARS)
    """What the user wants done."""
    history: list[dict[str, Any] | str] = Field(default=[], max_length=MAX_STEPS)
    """Actions done so far, in order: as `action` was answered (coordinates as answered too), or in words."""
    environment: Environment = "computer"
    device_pixel_ratio: float = Field(default=1, gt=0, le=10)
    """Pixels of the screenshot to one pixel in which the device takes clicks; 2 on most Retina screens."""
    format: Literal["native", "openai", "anthropic"] = "native"
    """Adds the action as OpenAI's or Anthropic's computer tool has it."""


class ActResult(TaskResult):
    """One action."""

    action: dict[str, Any]
    """Qwen's names: `{"action": "left_click", "coordinate": [x, y]}`, in device pixels."""
    action_in_screenshot: dict[str, Any]
    """The same in pixels of the screenshot."""
    tool_call: dict[str, Any]
    """As the model was told to write it: `{"name", "arguments"}`, in device pixels."""
    screen: Extent
    """The device, in the pixels in which it takes clicks."""
    screenshot: Extent
    model_input: Extent
    thought: str | None
    conclusion: str | None
    needs_confirmation: bool
    confirmation_reason: str | None
    openai: dict[str, Any] | None = None
    anthropic: dict[str, Any] | None = None


class ActionReader(Reader):
    """One checked action, in pixels of the screenshot."""

    def __init__(self, request: ActRequest, shown: Shown) -> None:
        super().__init__(shown)
        self._environment = request.environment
        self.call = Call("", {})
        self.action: dict[str, Any] = {}

    def read(self, text: str) -> list[dict[str, Any]]:
        return []

    def end(self) -> list[dict[str, Any]]:
        call, notices = read_call(self.good_text)
        self.warnings += notices
        if call is None:
            raise self.unreadable("names no action")
        try:
            action = checked(call, self._environment, self.warnings)
        except Impossible as exc:
            raise self.unreadable(f"is no possible action: {exc}", code="action_impossible", reason=str(exc)) from exc
        view = first_view(self.shown)
        for name in ("coordinate", "coordinate2"):
            if name in action:
                action[name] = self._placed(action[name], view.shown_wh, view.original_wh)
        self.call, self.action = call, action
        return [{"action": action}]

    def _placed(self, written: list[float], shown_wh: Size, original_wh: Size) -> list[float]:
        point, problem = place_point(Point(written[0], written[1]), shown_wh, original_wh)
        if point is None:
            where = "x".join(map(str, shown_wh))
            reason = f"{written} lies outside the screen of {where} that was shown"
            raise self.unreadable(f"is no possible action: {reason}", code="action_impossible", reason=reason)
        if problem:
            self.warnings.append(Notice(problem[0], written, "clipped"))
        return point_numbers(point, original_wh, "pixel")


class Act(Task[ActRequest]):
    """See the module."""

    name = "act"
    object = "action"
    summary = "Choose the next action on a screen, computer or mobile, with coordinates in device pixels."
    inputs: ClassVar[dict[str, MediaKind]] = {"screenshot": "image"}
    request = ActRequest
    result_model = ActResult

    def ask(self, request: ActRequest, shown: Shown) -> Ask:
        view = first_view(shown)
        system = _SYSTEM[request.environment].replace("{screen}", f"{view.shown_wh[0]}x{view.shown_wh[1]}")
        messages = question(shown, user_text(request, view.original_wh, view.shown_wh), system=system, text_first=True)
        return Ask(messages, {"max_tokens": MAX_ANSWER_TOKENS})

    def reader(self, request: ActRequest, shown: Shown) -> ActionReader:
        return ActionReader(request, shown)

    def result(self, request: ActRequest, parts: Sequence[Part]) -> dict[str, Any]:
        reader, view = parts[0].reader, first_view(parts[0].shown)
        assert isinstance(reader, ActionReader)
        ratio = request.device_pixel_ratio
        action = scaled(reader.action, 1 / ratio)
        reason = why_confirm(action, request.task, reader.call)
        width, height = (max(1, round(side / ratio)) for side in view.original_wh)
        result: dict[str, Any] = {
            "action": action,
            "action_in_screenshot": reader.action,
            "tool_call": {"name": f"{request.environment}_use", "arguments": action},
            "screen": extent((width, height)),
            "screenshot": extent(view.original_wh),
            "model_input": extent(view.shown_wh),
            "thought": reader.call.thought,
            "conclusion": reader.call.conclusion,
            "needs_confirmation": reason is not None,
            "confirmation_reason": reason,
        }
        if request.format == "openai":
            result["openai"] = openai_action(action)
        if request.format == "anthropic":
            result["anthropic"] = anthropic_action(action)
        return result


def user_text(request: ActRequest, original_wh: Size, shown_wh: Size) -> str:
    """The instruction with what was done so far; its coordinates go back to the pixels that the model sees.

    >>> user_text(ActRequest(screenshot="data:,", task="open it"), (10, 10), (28, 28))
    'open it'
    >>> request = ActRequest(screenshot="data:,", task="open it", environment="mobile", history=["Swiped."])
    >>> user_text(request, (10, 10), (28, 28))[:23], user_text(request, (10, 10), (28, 28))[-17:]
    ('The user query:  open i', 'Step 1: Swiped.; ')
    """
    width, height = (shown / original for shown, original in zip(shown_wh, original_wh, strict=True))
    steps = ""
    for number, step in enumerate(request.history, start=1):
        if isinstance(step, dict):
            arguments = scaled(step, request.device_pixel_ratio * width, request.device_pixel_ratio * height)
            call = {"name": f"{request.environment}_use", "arguments": arguments}
            step = json.dumps(call, ensure_ascii=False)
        steps += f"Step {number}: {step}; "
    if request.environment == "mobile":
        done = f"Task progress (You have done the following operation on the current device): {steps}"
        return f"The user query:  {request.task}\n{done}"
    return f"{request.task}\nYou have done: {steps}" if steps else request.task


def scaled(action: dict[str, Any], x_scale: float, y_scale: float | None = None) -> dict[str, Any]:
    """An action with its coordinates scaled, to whole pixels.

    >>> scaled({"action": "click", "coordinate": [200, 100]}, 0.5)
    {'action': 'click', 'coordinate': [100, 50]}
    """
    result = dict(action)
    for name in ("coordinate", "coordinate2"):
        point = action.get(name)
        if isinstance(point, list) and len(point) == 2 and all(isinstance(each, int | float) for each in point):
            result[name] = [round(point[0] * x_scale), round(point[1] * (x_scale if y_scale is None else y_scale))]
    return result
