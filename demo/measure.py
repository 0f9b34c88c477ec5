"""How right a served demo checkpoint is, on scenes whose seeds training never saw.

    .venv/bin/python demo/measure.py --url http://127.0.0.1:8000 [--pictures 100] [--clips 20] [--json figures.json]

Asks the engine's own `/v1/chat/completions`, greedily, with pictures and frames already at the size that the gateway
would show, and moves boxes back to the scene's own canvas. Prints one line per figure.
"""

import argparse
import base64
import io
import json
import re
import statistics
import sys
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo import lessons, prompts, scenes
from demo.shape import IMAGE_PIXELS, VIDEO_PIXELS

FIRST_SEED = 900_000_001
"""Odd, as are all that follow: training takes even seeds."""
Figures = dict[str, float]


def data(image: Image.Image, kind: str = "PNG") -> str:
    packed = io.BytesIO()
    image.save(packed, kind, quality=92)
    return base64.b64encode(packed.getvalue()).decode()


def ask(url: str, content: dict[str, Any], question: str, most_tokens: int) -> str:
    """The model's answer to one question about one picture or clip."""
    body = {
        "model": ask_model(url),
        "temperature": 0,
        "max_tokens": most_tokens,
        "messages": [{"role": "user", "content": [content, {"type": "text", "text": question}]}],
    }
    answer = post(f"{url}/v1/chat/completions", body)
    return str(answer["choices"][0]["message"]["content"])


def post(url: str, body: dict[str, Any] | None = None) -> Any:
    packed = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, packed, {"content-type": "application/json"})  # noqa: S310 - the user's URL
    with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
        return json.load(response)


MODELS: dict[str, str] = {}


def ask_model(url: str) -> str:
    if url not in MODELS:
        MODELS[url] = post(f"{url}/v1/models")["data"][0]["id"]
    return MODELS[url]


def picture_part(image: Image.Image) -> tuple[dict[str, Any], lessons.Wh]:
    wh = lessons.shown_size(image.size, IMAGE_PIXELS)
    shown = image if image.size == wh else image.resize(wh, Image.Resampling.BICUBIC)
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data(shown)}"}}, wh


def clip_part(clip: scenes.Clip) -> dict[str, Any]:
    """Frames at 2 fps, as the gateway sends them."""
    wh = lessons.shown_size(clip.wh, VIDEO_PIXELS)
    frames = (clip.frame(i / 2) for i in range(int(clip.duration_s * 2)))
    packed = ",".join(data(frame.resize(wh, Image.Resampling.BICUBIC), "JPEG") for frame in frames)
    return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{packed}"}}


def read_list(answer: str) -> list[dict[str, Any]]:
    """The answer's JSON list; empty where it is none."""
    try:
        items = json.loads(answer)
    except json.JSONDecodeError:
        return []
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """
    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared or 1)


Pair = tuple[int, int, float]


def matched(truth: Sequence[Any], given: Sequence[Any], likeness: Callable[[Any, Any], float]) -> list[Pair]:
    """Pairs (truth, given, likeness) taken one to one from the most alike on."""
    pairs = sorted(((likeness(t, g), i, j) for i, t in enumerate(truth) for j, g in enumerate(given)), reverse=True)
    taken: list[Pair] = []
    for like, i, j in pairs:
        if like > 0 and all(i != a and j != b for a, b, _ in taken):
            taken.append((i, j, like))
    return taken


def boxes(answer: str, shown: lessons.Wh, canvas: lessons.Wh) -> list[dict[str, Any]]:
    """Items with a good box, moved to the canvas."""
    scale = [canvas[0] / shown[0], canvas[1] / shown[1]] * 2
    items = []
    for item in read_list(answer):
        box = item.get("bbox_2d")
        if isinstance(box, list) and len(box) == 4 and all(isinstance(part, int) for part in box):
            items.append(item | {"bbox_2d": [part * by for part, by in zip(box, scale, strict=True)]})
    return items


def detection(url: str, seed: int) -> dict[str, Any]:
    """All shapes of one picture with colours, and one shape that is not there."""
    scene = scenes.picture(seed)
    part, wh = picture_part(scene.image)
    given = boxes(ask(url, part, prompts.detect(scenes.SHAPES, list(scenes.COLOURS)), 400), wh, scene.image.size)
    pairs = matched(scene.objects, given, lambda t, g: iou(t.bbox, g["bbox_2d"]))
    long = max(scene.image.size)
    errors = [
        abs(a - b) / long
        for i, j, like in pairs
        if like >= 0.5
        for a, b in zip(scene.objects[i].bbox, given[j]["bbox_2d"], strict=True)
    ]
    hits = [(i, j) for i, j, like in pairs if like >= 0.5]
    right = [
        (i, j)
        for i, j in hits
        if (scene.objects[i].label, scene.objects[i].colour) == (given[j].get("label"), given[j].get("sub_label"))
    ]
    absent = [label for label in scenes.SHAPES if label not in {thing.label for thing in scene.objects}]
    nothing = ask(url, part, prompts.detect(absent[:1]), 100) == "[]" if absent else None
    return {
        "truth": len(scene.objects), "given": len(given), "hits": len(hits), "right": len(right), "errors": errors,
        "ious": [like for _, _, like in pairs], "nothing": nothing,
    }  # fmt: skip


def other_questions(url: str, seed: int) -> dict[str, bool]:
    """Counting, grounding, pointing and captioning on one picture."""
    random = Random(seed)
    scene = scenes.picture(seed, count=(1, 6))
    part, wh = picture_part(scene.image)
    name, found = lessons.named(random, scene.objects)
    counted = ask(url, part, prompts.count(name), 40)
    place, measure = random.choice(list(lessons.PLACES.items()))
    target = min(scene.objects, key=measure)
    grounded = boxes(ask(url, part, prompts.ground(f"the {place} shape"), 100), wh, scene.image.size)
    points = read_list(ask(url, part, prompts.point([target.label]), 200))
    aims = [thing.bbox for thing in scene.objects if thing.label == target.label]
    described = lessons.ask_caption(random, scene.objects)[1]
    return {
        "count exact": counted == prompts.count_answer(len(found), name),
        "ground IoU>=0.5": len(grounded) == 1 and iou(target.bbox, grounded[0]["bbox_2d"]) >= 0.5,
        "points in boxes, number right": len(points) == len(aims) and all(
            any(inside(point.get("point_2d"), box, wh, scene.image.size) for point in points) for box in aims
        ),
        "caption exact": sorted(re.findall(r"\w+", ask(url, part, prompts.CAPTION, 80)))
        == sorted(re.findall(r"\w+", described)),
    }  # fmt: skip


def inside(point: Any, box: scenes.Box, shown: lessons.Wh, canvas: lessons.Wh) -> bool:
    if not (isinstance(point, list) and len(point) == 2 and all(isinstance(part, int) for part in point)):
        return False
    x, y = point[0] * canvas[0] / shown[0], point[1] * canvas[1] / shown[1]
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def seconds(clock: Any) -> float:
    """
    >>> seconds("01:32.40")
    92.4
    """
    found = re.fullmatch(r"(\d+):(\d\d(?:\.\d+)?)", str(clock))
    return int(found[1]) * 60 + float(found[2]) if found else 0.0


def events(url: str, seed: int) -> dict[str, Any]:
    """All events of one clip, and the moment of its first."""
    clip = scenes.clip(seed, wh=Random(seed).choice([(320, 240), (640, 360), (240, 240), (240, 320)]))
    part = clip_part(clip)
    given = [
        (seconds(item.get("start_time")), 0.0, seconds(item.get("end_time")), 1.0, item.get("description"))
        for item in read_list(ask(url, part, prompts.EVENTS, 600))
    ]
    spans = [(event.start_s, 0.0, event.end_s, 1.0) for event in clip.events]
    pairs = matched(spans, given, lambda t, g: iou(t, g[:4]))
    likeness = dict.fromkeys(range(len(spans)), 0.0) | {i: like for i, _, like in pairs}
    told = [clip.events[i].description == given[j][4] for i, j, like in pairs if like >= 0.5]
    first = clip.events[0]
    query = first.description[0].lower() + first.description[1:-1]
    clocks = re.findall(r"\d+:\d\d\.\d\d", ask(url, part, prompts.moment(query), 60))
    span = (seconds(clocks[0]), 0.0, seconds(clocks[1]), 1.0) if len(clocks) == 2 else (0.0, 0.0, 0.0, 0.0)
    return {
        "tious": list(likeness.values()),
        "told": told,
        "extra": len(given) - len(spans),
        "moment": iou(spans[0], span),
    }


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def detection_figures(results: Sequence[dict[str, Any]]) -> Figures:
    total = {name: sum(result[name] for result in results) for name in ("truth", "given", "hits", "right")}
    ious = [like for result in results for like in result["ious"]]
    return {
        "detect recall IoU>=0.5": total["hits"] / max(1, total["truth"]),
        "detect precision IoU>=0.5": total["hits"] / max(1, total["given"]),
        "detect recall IoU>=0.5, shape and colour right": total["right"] / max(1, total["truth"]),
        "detect mean IoU of matched": mean(ious),
        "detect median corner error, % of longer side": 100
        * statistics.median([error for result in results for error in result["errors"]] or [1.0]),
        "detect number right": mean([result["truth"] == result["given"] for result in results]),
        "absent shape answered []": mean([r["nothing"] for r in results if r["nothing"] is not None]),
    }


def event_figures(results: Sequence[dict[str, Any]]) -> Figures:
    tious = [like for result in results for like in result["tious"]]
    return {
        "events mean tIoU": mean(tious),
        "events R@0.5": mean([like >= 0.5 for like in tious]),
        "events number right": mean([result["extra"] == 0 for result in results]),
        "events described right, of those found": mean([told for result in results for told in result["told"]]),
        "moment mean tIoU": mean([result["moment"] for result in results]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.concurrency) as pool:
        seeds = range(FIRST_SEED, FIRST_SEED + 2 * options.pictures, 2)
        figures = detection_figures(list(pool.map(lambda seed: detection(options.url, seed), seeds)))
        others = list(pool.map(lambda seed: other_questions(options.url, seed), seeds))
        figures |= {name: mean([result[name] for result in others]) for name in others[0]}
        seeds = range(FIRST_SEED, FIRST_SEED + 2 * options.clips, 2)
        figures |= event_figures(list(pool.map(lambda seed: events(options.url, seed), seeds)))
    for name, value in figures.items():
        print(f"{name:55} {value:.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
