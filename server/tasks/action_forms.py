"""Qwen's actions as the computer tools of OpenAI and Anthropic have them; None where they have no word for one."""

from typing import Any

PIXELS_A_NOTCH = 100
"""Pixels that one notch of a mouse wheel scrolls, for Anthropic's `scroll_amount`."""
_NEED_A_PLACE = frozenset({"left_click", "right_click", "middle_click", "double_click", "scroll"})
_BUTTONS = {"left_click": "left", "click": "left", "right_click": "right", "middle_click": "wheel"}


def openai_action(action: dict[str, Any]) -> dict[str, Any] | None:
    """
    >>> openai_action({"action": "left_click", "coordinate": [3, 4]})
    {'type': 'click', 'button': 'left', 'x': 3, 'y': 4}
    >>> openai_action({"action": "scroll", "pixels": -200, "coordinate": [3, 4]})
    {'type': 'scroll', 'x': 3, 'y': 4, 'scroll_x': 0, 'scroll_y': 200}
    >>> openai_action({"action": "terminate", "status": "success"})
    """
    if action["action"] in _NEED_A_PLACE and "coordinate" not in action:
        return None
    x, y = action.get("coordinate", [0, 0])
    match action["action"]:
        case "left_click" | "click" | "right_click" | "middle_click" as name:
            return {"type": "click", "button": _BUTTONS[name], "x": x, "y": y}
        case "double_click":
            return {"type": "double_click", "x": x, "y": y}
        case "mouse_move":
            return {"type": "move", "x": x, "y": y}
        case "swipe":
            end_x, end_y = action["coordinate2"]
            return {"type": "drag", "path": [{"x": x, "y": y}, {"x": end_x, "y": end_y}]}
        case "left_click_drag":
            return {"type": "drag", "path": [{"x": x, "y": y}]}
        case "scroll":
            return {"type": "scroll", "x": x, "y": y, "scroll_x": 0, "scroll_y": -action["pixels"]}
        case "key":
            return {"type": "keypress", "keys": action.get("keys") or [action.get("text")]}
        case "type":
            return {"type": "type", "text": action["text"]}
        case "wait":
            return {"type": "wait"}
        case _:
            return None


def anthropic_action(action: dict[str, Any]) -> dict[str, Any] | None:
    """
    >>> anthropic_action({"action": "key", "keys": ["ctrl", "c"]})
    {'action': 'key', 'text': 'ctrl+c'}
    >>> anthropic_action({"action": "swipe", "coordinate": [1, 2], "coordinate2": [3, 4]})
    {'action': 'left_click_drag', 'start_coordinate': [1, 2], 'coordinate': [3, 4]}
    """
    place = {"coordinate": action["coordinate"]} if "coordinate" in action else {}
    match action["action"]:
        case "click":
            return {"action": "left_click", **place}
        case "left_click" | "right_click" | "middle_click" | "double_click" | "mouse_move" | "left_click_drag" as name:
            return {"action": name, **place}
        case "swipe":
            return {
                "action": "left_click_drag",
                "start_coordinate": action["coordinate"],
                "coordinate": action["coordinate2"],
            }
        case "scroll":
            direction = "up" if action["pixels"] > 0 else "down"
            amount = max(1, round(abs(action["pixels"]) / PIXELS_A_NOTCH))
            return {"action": "scroll", **place, "scroll_direction": direction, "scroll_amount": amount}
        case "key":
            return {"action": "key", "text": "+".join(action.get("keys") or [action.get("text", "")])}
        case "type":
            return {"action": "type", "text": action["text"]}
        case "wait":
            return {"action": "wait", "duration": action["time"]}
        case _:
            return None
