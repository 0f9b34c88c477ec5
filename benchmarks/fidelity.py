"""How near the pixels that the model gets through us are to those it would get of the original.

    python -m benchmarks.fidelity [--megapixels 0.3 12 24] [--max-pixels 1003520] [--engine-python PATH]

The reference is vLLM's own loader and the Hugging Face processor, in the engine's environment, given the original
file: a full decode, then the processor's resize. Ours is the same loader and processor, given what the gateway sends.
What differs is the DCT scale at which a large JPEG is decoded, and rounding in the resize.

Photos are made from a seed (`benchmarks/photos.py`), 4:2:0 as cameras write them. Document, sharp black text from edge
to edge, is the hardest kind. Prints a table in decibels of PSNR (higher is nearer; above 38 nobody tells the pictures
apart) and the worst case; the last line is JSON.
"""

import argparse
import asyncio
import base64
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.photos import KINDS, jpeg, photo, size_of
from server.media import MediaLoader, View
from server.settings import Settings

MEGAPIXELS = (0.3, 0.8, 1.5, 2.1, 3.1, 5, 6.2, 8, 10, 12, 16, 20, 24)
QUALITIES = (85, 90, 95)
RATIOS = (4 / 3, 3 / 2, 16 / 9)
TARGET_DB = 38
REFERENCE = Path(__file__).with_name("reference.py")


def cases(megapixels: Sequence[float], kinds: Sequence[str]) -> list[dict[str, Any]]:
    """One photo for each size and kind; quality and shape take turns, so that all of them come up."""
    chosen = []
    for size in megapixels:
        for kind in kinds:
            turn = len(chosen)
            wh = size_of(size, RATIOS[turn % len(RATIOS)])
            chosen.append({"megapixels": size, "kind": kind, "wh": wh, "quality": QUALITIES[turn % len(QUALITIES)]})
    return chosen


async def measure(chosen: list[dict[str, Any]], max_pixels: int, engine_python: str) -> list[dict[str, Any]]:
    """Each case with its `psnr_db` (None: identical) and what was sent."""
    with tempfile.TemporaryDirectory() as folder:
        loader = MediaLoader(Settings(media_workers=1, image_max_pixels=max_pixels))
        jobs = []
        try:
            for index, case in enumerate(chosen):
                data = jpeg(photo(case["wh"], case["kind"], seed=index), case["quality"])
                view = await loader.load_image_bytes(data, param="image")
                jobs.append(_written(Path(folder), index, data, view) | {"max_pixels": max_pixels})
                case |= {"shown": view.shown_wh, "sent": view.url[5:].partition(";")[0]}
        finally:
            await loader.close()
        answers = await asyncio.to_thread(_reference, jobs, engine_python)
    return [case | answer for case, answer in zip(chosen, answers, strict=True)]


def _written(folder: Path, index: int, data: bytes, view: View) -> dict[str, str]:
    original, sent = folder / f"{index}.original", folder / f"{index}.sent"
    original.write_bytes(data)
    sent.write_bytes(base64.b64decode(view.url.partition(",")[2]))
    return {"original": str(original), "sent": str(sent)}


def _reference(jobs: list[dict[str, Any]], engine_python: str) -> list[dict[str, Any]]:
    run = subprocess.run(
        [engine_python, str(REFERENCE)],
        input=json.dumps({"fidelity": jobs}),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    answers: list[dict[str, Any]] = json.loads(run.stdout)["fidelity"]
    return answers


def worst(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The case furthest from the reference; a wrong size is further than any difference of pixels."""
    return min(results, key=lambda result: -1 if "error" in result else result["psnr_db"] or float("inf"))


def _print_table(results: list[dict[str, Any]], kinds: Sequence[str]) -> None:
    print(f"{'megapixels':>10}  {'shown':>11}  " + "  ".join(f"{kind:>10}" for kind in kinds))
    for size in dict.fromkeys(result["megapixels"] for result in results):
        row = [result for result in results if result["megapixels"] == size]
        cells = [result.get("error") or f"{result['psnr_db']:.1f}" if result["psnr_db"] else "same" for result in row]
        shown = "x".join(map(str, row[0]["shown"]))
        print(f"{size:>10g}  {shown:>11}  " + "  ".join(f"{cell:>10}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description="PSNR of what the model is shown, against the reference path.")
    parser.add_argument("--megapixels", type=float, nargs="+", default=MEGAPIXELS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--max-pixels", type=int, default=Settings().image_max_pixels)
    parser.add_argument("--engine-python", default=Settings().engine_python)
    options = parser.parse_args()

    results = asyncio.run(measure(cases(options.megapixels, options.kinds), options.max_pixels, options.engine_python))
    _print_table(results, options.kinds)
    low = worst(results)
    print(f"worst: {low['psnr_db']:.1f} dB, {low['kind']} of {low['wh'][0]}x{low['wh'][1]} at quality {low['quality']}")
    print(json.dumps({"benchmark": "fidelity", "target_db": TARGET_DB, "worst": low, "results": results}))


if __name__ == "__main__":
    main()
