"""The actions that Qwen's agents know, what each of them needs, and which ones a person should allow first."""

import math
import re
from typing import Any

from server.tasks.reading import Notice
from server.tasks.reading_action import Call

ACTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "computer": {
        "key": ("keys",),
        "type": ("text",),
        "mouse_move": ("coordinate",),
        "left_click": (),
        "left_click_drag": ("coordinate",),
        "right_click": (),
        "middle_click": (),
        "double_click": (),
        "scroll": ("pixels",),
        "wait": ("time",),
        "terminate": ("status",),
        "answer": ("text",),
    },
    "mobile": {
        "key": ("text",),
        "click": ("coordinate",),
        "long_press": ("coordinate",),
        "swipe": ("coordinate", "coordinate2"),
        "type": ("text",),
        "system_button": ("button",),
        "open": ("text",),
        "wait": ("time",),
        "terminate": ("status",),
        "answer": ("text",),
    },
}
"""Environment -> action -> arguments without which it cannot be done. A click without a place is one at the cursor."""
_ALIASES = {
    "computer": {"click": "left_click", "tap": "left_click", "left_single": "left_click", "move": "mouse_move",
                 "hover": "mouse_move", "press": "key", "hotkey": "key", "keypress": "key", "keyboardpress": "key",
                 "input": "type", "drag": "left_click_drag", "left_double": "double_click",
                 "right_single": "right_click", "finished": "terminate", "finish": "terminate"},
    "mobile": {"left_click": "click", "tap": "click", "long_click": "long_press", "input": "type", "drag": "swipe",
               "scroll": "swipe", "open_app": "open", "launch": "open", "press": "key", "finished": "terminate",
               "finish": "terminate"},
}  # fmt: skip
_STATUSES = {"success": "success", "done": "success", "failure": "failure", "fail": "failure", "failed": "failure"}
_BUTTONS = ("Back", "Home", "Menu", "Enter")
_ARGUMENTS = ("coordinate", "coordinate2", "keys", "text", "pixels", "time", "button", "status")
MAX_WAIT_S = 600
_COMMITTING = frozenset({"left_click", "double_click", "click", "long_press", "key", "type", "left_click_drag"})
_SENSITIVE = re.compile(
    r"\b(?:pay|buy|purchase|order now|place (?:the |my )?order|check ?out|transfer|delete|remove|erase|uninstall|"
    r"format|password|passcode|credit card|cvv|send|post|publish|submit|sign|agree|accept|confirm|install|log ?out|"
    r"shut ?down)\b|"
    r"\u652f\u4ed8|\u4ed8\u6b3e|\u5220\u9664|\u8f6c\u8d26|\u5bc6\u7801|\u53d1\u9001|\u8d2d\u4e70|\u63d0\u4ea4",
    re.IGNORECASE,
)


class Impossible(Exception):
    """What the model wants cannot be done; the message says why."""


def checked(call: Call, environment: str, warnings: list[Notice]) -> dict[str, Any]:
    """The action under its own name with the arguments that belong to it. Raises Impossible.

    >>> checked(Call("tap", {"coordinate": [1.0, 2.0], "text": None}), "mobile", [])
    {'action': 'click', 'coordinate': [1.0, 2.0]}
    >>> checked(Call("swipe", {"coordinate": [1.0, 2.0]}), "mobile", [])
    Traceback (most recent call last):
        ...
    server.tasks.actions.Impossible: swipe needs coordinate2
    """
    known = ACTIONS[environment]
    name = call.action if call.action in known else _ALIASES[environment].get(call.action, call.action)
    if name not in known:
        raise Impossible(f"{call.action!r} is none of {', '.join(known)}")
    if name != call.action:
        warnings.append(Notice("action_matched", call.action, f"read as {name!r}"))
    arguments = dict(call.arguments)
    if name == "key" and environment == "computer" and "keys" not in arguments and "text" in arguments:
        arguments["keys"] = arguments.pop("text")
    if name == "wait" and "time" not in arguments:
        warnings.append(Notice("time_missing", None, "set to 1 second"))
        arguments["time"] = 1
    action: dict[str, Any] = {"action": name}
    for key in _ARGUMENTS:
        if arguments.get(key) is not None:
            action[key] = _value(name, key, arguments[key])
    missing = [key for key in known[name] if key not in action]
    if missing:
        raise Impossible(f"{name} needs {' and '.join(missing)}")
    return action


def why_confirm(action: dict[str, Any], task: str, call: Call) -> str | None:
    """Why a person should allow this action first, or None. A hint from words, not a guarantee.

    >>> why_confirm({"action": "left_click"}, "buy the blue shoes", Call("left_click", {}))
    "the task or the model's words speak of 'buy'"
    >>> why_confirm({"action": "wait"}, "buy the blue shoes", Call("wait", {}))
    """
    if action["action"] not in _COMMITTING:
        return None
    for words in (task, call.conclusion or "", call.thought or "", str(action.get("text", ""))):
        if match := _SENSITIVE.search(words):
            return f"the task or the model's words speak of {match[0].lower()!r}"
    return None


def _value(action: str, key: str, value: Any) -> Any:
    if key in {"pixels", "time"}:
        return _number(action, key, value)
    if key == "keys":
        names = value if isinstance(value, list) else str(value).split("+")
        return [str(name).strip() for name in names if str(name).strip()]
    if key == "status":
        status = _STATUSES.get(str(value).strip().lower())
        if status is None:
            raise Impossible(f"status {value!r} is neither success nor failure")
        return status
    if key == "button":
        button = next((name for name in _BUTTONS if name.lower() == str(value).strip().lower()), None)
        if button is None:
            raise Impossible(f"button {value!r} is none of {', '.join(_BUTTONS)}")
        return button
    return str(value) if key == "text" else value


def _number(action: str, key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise Impossible(f"{key} of {action} is {value!r}, which is no number") from exc
    if not math.isfinite(number):
        raise Impossible(f"{key} of {action} is {value!r}, which is no number")
    if key == "time":
        if not 0 <= number <= MAX_WAIT_S:
            raise Impossible(f"time of {action} is {number:g} s; it must be from 0 to {MAX_WAIT_S} s")
    elif abs(number) > 1e6:
        raise Impossible(f"pixels of {action} are {number:g}")
    return int(number) if number.is_integer() else number
