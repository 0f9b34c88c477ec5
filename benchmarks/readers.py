"""What readers make of the model's recorded answers: ours, and the public parser of the `supervision` package.

    python -m benchmarks.readers [--supervision PYTHON]

`PYTHON` is an interpreter that has supervision (`pip install supervision==0.31.2`); it is not a dependency of ours. The
records are those of `../shared/recorded`; what a person reads from each is in `tests/tasks/recorded.py`. supervision
reads boxes alone, so that events, pages, points, actions and records count as not read by it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from server.geometry import Box
from server.tasks.reading import read_items
from server.tasks.reading_action import read_call
from server.tasks.reading_boxes import read_label, read_places, spot_items
from server.tasks.reading_html import read_page
from server.tasks.reading_lines import spot_lines
from server.tasks.reading_time import event_items, event_lines, read_event
from server.tasks.reading_value import read_value
from tests.tasks import recorded
from tests.tasks.recorded import record

THEIRS = """
import json, sys
import supervision as sv
out = []
for answer in json.load(sys.stdin):
    try:
        found = sv.Detections.from_vlm(sv.VLM.QWEN_2_5_VL, answer, input_wh=(1000, 1000), resolution_wh=(1000, 1000))
        names = found.data.get("class_name", [])
        out.append([[list(map(float, box)), str(name)] for box, name in zip(found.xyxy, names)])
    except Exception as exc:
        out.append(type(exc).__name__)
print(json.dumps(out))
"""
Spots = list[tuple[list[float], str | None]]


def our_spots(answer: str) -> Spots:
    found, _ = read_items(answer, spot_items, spot_lines)
    spots: Spots = []
    for item in found:
        for place in read_places(item.fields)[0]:
            box, point = place.box, place.point
            if isinstance(box, Box):
                box = box.ordered()  # as every answer of ours is
                spots.append(([box.x1, box.y1, box.x2, box.y2], read_label(item.fields)))
            elif point is not None:
                spots.append(([point.x, point.y], read_label(item.fields)))
    return spots


def our_events(answer: str) -> list[Any]:
    return [read_event(item.fields)[0] for item in read_items(answer, event_items, event_lines)[0]]


BROKEN = {
    "reversed corners": '[{"bbox_2d": [30, 40, 10, 20], "label": "a"}]',
    "one good, one of 3 numbers": '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [1, 2, 3], "label": "b"}]',
    "one good, one null": '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": null, "label": "b"}]',
    "one good, one NaN": '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [NaN, 2, 3, 4], "label": "b"}]',
    "comma lost": '[{"bbox_2d": [1, 2, 3, 4], "label": "a"} {"bbox_2d": [5, 6, 7, 8], "label": "b"}]',
    "quote lost": '[{"bbox_2d": [1, 2, 3, 4], "label": "a}, {"bbox_2d": [5, 6, 7, 8], "label": "b"}]',
    "brace lost": '[{"bbox_2d": [1, 2, 3, 4], "label": "a", {"bbox_2d": [5, 6, 7, 8], "label": "b"}]',
    "cut in a label": '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [5, 6, 7, 8], "label": "b',
    "numbers as strings": '[{"bbox_2d": ["1", "2", "3", "4"], "label": "a"}]',
    "keys bbox and name": '[{"bbox": [1, 2, 3, 4], "name": "a"}]',
    "prose and two fences": 'First:\n```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "a"}]\n```\nThen:\n```json\n'
    '[{"bbox_2d": [5, 6, 7, 8], "label": "b"}]\n```',
}
A, B = ([1.0, 2.0, 3.0, 4.0], "a"), ([5.0, 6.0, 7.0, 8.0], "b")
BROKEN_READ: dict[str, Spots] = {
    "reversed corners": [([10.0, 20.0, 30.0, 40.0], "a")],
    "one good, one of 3 numbers": [A],
    "one good, one null": [A],
    "one good, one NaN": [A],
    "comma lost": [A, B],
    "quote lost": [A, B],
    "brace lost": [A, B],
    "cut in a label": [A, B],
    "numbers as strings": [A],
    "keys bbox and name": [A],
    "prose and two fences": [A, B],
}


def rows() -> list[tuple[str, str, str, Any, Callable[[str], Any]]]:
    """(kind, name, answer, what a person reads, our reader)."""
    table: list[tuple[str, str, str, Any, Callable[[str], Any]]] = []
    table += [
        ("places", name, record(name).answer, recorded.spots(name), our_spots)
        for name in (*recorded.SOUND_SPOTS, *recorded.SPOTS)
    ]
    table += [("broken", name, answer, BROKEN_READ[name], our_spots) for name, answer in BROKEN.items()]
    table += [
        ("events", name, record(name).answer, recorded.events(name), our_events)
        for name in (*recorded.SOUND_EVENTS, *recorded.EVENTS)
    ]
    for name in recorded.PAGES:
        answer = record(name).answer
        boxes = answer.count("data-bbox=") - answer.count("<img data-bbox")
        table.append(("pages", name, answer, [None] * boxes, lambda text: _boxed(text)))
    for name, action in recorded.ACTIONS.items():
        expected = [] if action is None else [action]
        table.append(("actions", name, record(name).answer, expected, _action))
    for name in recorded.RECORDS:
        answer = record(name).answer
        table.append(("records", name, answer, [recorded.sound_json(answer)], lambda text: [_value(text)]))
    return table


def _boxed(answer: str) -> list[None]:
    return [None for block in read_page(answer)[0] or [] if block.box]


def _action(answer: str) -> list[Any]:
    call, _ = read_call(answer)
    return [(call.action, call.arguments)] if call else []


def _value(answer: str) -> Any:
    return read_value(answer, (dict, list))[0]


def theirs(python: str | None, answers: list[str]) -> list[Any]:
    """What supervision reads from each answer; the name of its error where it raises."""
    if python is None:
        return ["-"] * len(answers)
    done = subprocess.run([python, "-c", THEIRS], input=json.dumps(answers), capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def share(read: Any, expected: list[Any]) -> str:
    """Items read as a person reads them, of all there are."""
    if isinstance(read, str):
        return read
    right = sum(1 for got, want in zip(read, expected, strict=False) if _same(got, want))
    extra = max(0, len(read) - len(expected))
    return f"{right}/{len(expected)}" + (f" +{extra}" if extra else "")


def _same(got: Any, want: Any) -> bool:
    return json.dumps(got) == json.dumps(want) or list(got or ()) == list(want or ())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--supervision", metavar="PYTHON", help="an interpreter that has supervision")
    python = options.parse_args().supervision
    table = rows()
    others = theirs(python, [answer for _, _, answer, _, _ in table])
    totals: dict[str, list[int]] = {}
    print(f"{'kind':8} {'answer':44} {'ours':>8} {'supervision':>12}")
    for (kind, name, answer, expected, reader), other in zip(table, others, strict=True):
        spotted = [(numbers, label) for numbers, label in other] if isinstance(other, list) else other
        compared = spotted if kind in {"places", "broken"} or isinstance(spotted, str) else []
        mine = reader(answer)
        print(f"{kind:8} {name[:44]:44} {share(mine, expected):>8} {share(compared, expected):>12}")
        count = totals.setdefault(kind, [0, 0, 0])
        for place, read in ((0, mine), (1, compared if isinstance(compared, list) else [])):
            count[place] += sum(1 for got, want in zip(read, expected, strict=False) if _same(got, want))
        count[2] += len(expected)
    print(json.dumps({kind: {"ours": a, "supervision": b, "items": n} for kind, (a, b, n) in totals.items()}))


if __name__ == "__main__":
    sys.exit(main())
