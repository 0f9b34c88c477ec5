"""What the model is asked and how it answers, task by task: one prompt builder and one answer writer each.

`server/tasks` sends these prompts to the letter (tests/tasks/test_demo_prompts.py compares), because a model this small
knows only what it was trained on; training has them here so that the engine's environment needs nothing of the server.

The wording is Qwen2.5-VL's own wherever it published one. Answers are JSON without fence or blanks, which is all that
vLLM's grammar allows with whitespace disabled: an answer is the same whether or not it is constrained.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

SYSTEM = "You are a helpful assistant."
EVERYTHING = "Please output bbox coordinates and names of every item in this image in JSON format."
CAPTION = "Describe this image."
CAPTION_VIDEO = "Describe this video."
EVENTS = (
    "Localize a series of activity events in the video, output the start and end timestamp for each event, and "
    "describe each event with sentences. Provide the result in json format with 'mm:ss.ff' format for time depiction."
)
PAGE = "QwenVL HTML"
LINES = "Spotting all the text in the image with line-level, and output in JSON format."
TEXT = "Please output only the text content from the image without any additional descriptions or formatting."


def each(names: Sequence[str]) -> str:
    """Names as a clause that asks for every instance; Qwen's guide says "each", never "all".

    >>> each(["circle", "red star", "cross"])
    'each circle, each red star and each cross'
    """
    words = [f"each {name}" for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def detect(labels: Sequence[str], sub_labels: Sequence[str] = ()) -> str:
    """
    >>> detect(["circle"])
    'Outline the position of each circle and output all the coordinates in JSON format.'
    """
    if not sub_labels:
        return f"Outline the position of {each(labels)} and output all the coordinates in JSON format."
    others = "".join(f' or "{name}"' for name in sub_labels[1:])
    shape = f'{{"bbox_2d": [x1, y1, x2, y2], "label": "{labels[0]}", "sub_label": "{sub_labels[0]}"'
    remark = f" # {others[1:]}" if others else ""
    return (
        f"Detect {each(labels)} in the image and return their locations in the form of coordinates. "
        f"The format of output should be like {shape}{remark}}}."
    )


def point(labels: Sequence[str]) -> str:
    """
    >>> point(["star"])
    'Point to each star in the image, output the coordinates in JSON format like {"point_2d": [x, y], "label": "star"}.'
    """
    return (
        f"Point to {each(labels)} in the image, output the coordinates in JSON format "
        f'like {{"point_2d": [x, y], "label": "{labels[0]}"}}.'
    )


def count(label: str) -> str:
    """
    >>> count("red star")
    'How many instances of red star are there in the image?'
    """
    return f"How many instances of {label} are there in the image?"


def ground(phrase: str) -> str:
    """
    >>> ground("the largest red star")
    'Locate the largest red star, output its bbox coordinates using JSON format.'
    """
    return f"Locate {phrase}, output its bbox coordinates using JSON format."


def moment(query: str) -> str:
    """
    >>> moment("a red star moves")[:34]
    "Give the query: 'a red star moves'"
    """
    return (
        f"Give the query: '{query}', when does the described content occur in the video? Use 'mm:ss.ff' as time format."
    )


def extract(fields: Iterable[str]) -> str:
    """
    >>> extract(["total"])
    'Extract the key-value information in the format:{"total": ""}'
    """
    return f"Extract the key-value information in the format:{json.dumps(dict.fromkeys(fields, ''))}"


def click(name: str) -> str:
    """What an agent is told to do.

    >>> click("Save")
    'Click the "Save" button.'
    """
    return f'Click the "{name}" button.'


def click_answer(at: tuple[int, int], name: str) -> str:
    """As Qwen's own agents write it, after the system prompt that tells of the tool: a thought, then the call.

    The thought repeats what is looked for. Said before the picture alone, a name was not compared with what is written.

    >>> click_answer((120, 84), "Save").split("\\n")[1]
    'The "Save" button.'
    >>> click_answer((120, 84), "Save").split("\\n")[4]
    '{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [120, 84]}}'
    """
    call = {"name": "computer_use", "arguments": {"action": "left_click", "coordinate": list(at)}}
    return f'<thinking>\nThe "{name}" button.\n</thinking>\n<tool_call>\n{json.dumps(call)}\n</tool_call>'


def answer(value: Any) -> str:
    """JSON on one line without blanks, as the model writes it.

    >>> answer([{"bbox_2d": [1, 2, 3, 4], "label": "star"}])
    '[{"bbox_2d":[1,2,3,4],"label":"star"}]'
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def count_answer(number: int, label: str) -> str:
    """
    >>> count_answer(2, "red star")
    'There are 2 instances of red star in the image.'
    """
    return f"There are {number} instances of {label} in the image."


def clock(time_s: float) -> str:
    """Seconds as the published prompt's mm:ss.ff, ff in hundredths.

    >>> clock(92.4)
    '01:32.40'
    """
    hundredths = round(time_s * 100)
    return f"{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"


def moment_answer(start_s: float, end_s: float) -> str:
    """
    >>> moment_answer(1, 2.5)
    'The event happens in 00:01.00 - 00:02.50.'
    """
    return f"The event happens in {clock(start_s)} - {clock(end_s)}."


NO_MOMENT = "The event does not occur in the video."
