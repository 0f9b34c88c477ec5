"""What it costs to sample a long clip at 2 fps: our decode process, with all frames and with reference frames alone,
and the engine's own loader, on the same file.

    python -m benchmarks.sampling [--minutes 3] [--rounds 3]

Ours is more than decoding: frames are scaled to what the model is shown and encoded as JPEG, in windows of 50 s, as a
task has them; the engine's loader (OpenCV) keeps whole frames in memory and leaves both to later. CPU seconds of each
process from the file's bytes on, imports left out, and its peak of memory. Last line: JSON.

Caveat: the clip is a pan over one photo, 1080p at 24 fps with three B-frames between references (x264's default), half
a minute repeated; other clips have other shares of B-frames.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av

from benchmarks.photos import photo

ROOT = Path(__file__).resolve().parent.parent
ENGINE_PYTHON = ROOT / ".venv-engine" / "bin" / "python"
RATE, WH = 24, (1920, 1080)
WINDOW_S = 50  # for a window of 60 s, a clip as wide as this one needs more tokens than it may take

COUNTED = """
import json, resource, sys, time
data = open(sys.argv[1], "rb").read()
{prepare}
began_s = time.process_time()
frames = {work}
spent_s = time.process_time() - began_s
peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"cpu_s": spent_s, "frames": frames, "peak_mib": peak_mib}}))
"""
OURS = """
import io
from server.media.jobs import Part
from server.media.video import decode
from server.settings import Settings
settings = Settings()
options = dict(param="video", noun="video", min_pixels=settings.video_min_pixels, max_pixels=settings.video_max_pixels,
    max_tokens=settings.video_max_tokens, most_pixels=settings.media_max_pixels, most_bytes=1 << 33,
    most_frames=settings.video_max_frames, most_s=1e9, sample_fps=2, threads=1, is_frame_list=False,
    reference_only={reference_only})
def window(start_s):
    job = dict(options, start_s=start_s, end_s=min(start_s + {window_s}, {end_s}))
    return len(decode(io.BytesIO(data), [Part("raw", len(data))], job).facts["frame_times_s"])
"""
ENGINE = """
import os
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "threads;1"
from vllm.multimodal.video import VIDEO_LOADER_REGISTRY
loader = VIDEO_LOADER_REGISTRY.load("opencv")
"""


def clip(minutes: int) -> bytes:
    """A pan over a photo, encoded once and repeated packet by packet."""
    file = io.BytesIO()
    with av.open(io.BytesIO(_half_minute())) as source, av.open(file, "w", format="mp4") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.pts is not None and packet.dts is not None]
        ticks = round(30 / packets[0].time_base)
        copies = [(bytes(packet), packet.pts, packet.dts, packet) for packet in packets]
        for copy in range(2 * minutes):
            for data, pts, dts, packet in copies:
                again = av.Packet(data)
                again.stream, again.time_base = stream, packet.time_base
                again.pts, again.dts = pts + copy * ticks, dts + copy * ticks
                again.duration, again.is_keyframe = packet.duration, packet.is_keyframe
                out.mux(again)
    return file.getvalue()


def _half_minute() -> bytes:
    ground = photo((WH[0] + 640, WH[1] + 360), "landscape", seed=5)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height = WH
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = RATE * 2
        stream.options = {"preset": "veryfast", "crf": "26", "bf": "3"}
        for at in range(30 * RATE):
            x, y = at * 640 // (30 * RATE), at * 360 // (30 * RATE)
            frame = av.VideoFrame.from_image(ground.crop((x, y, x + WH[0], y + WH[1])))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def ways(minutes: int) -> dict[str, tuple[Path, str]]:
    """Name -> the interpreter, and its program."""
    windows = f"sum(window(start_s) for start_s in range(0, {minutes * 60}, {WINDOW_S}))"

    def ours(reference_only: bool) -> tuple[Path, str]:
        prepare = OURS.format(reference_only=reference_only, window_s=WINDOW_S, end_s=minutes * 60)
        return Path(sys.executable), COUNTED.format(prepare=prepare, work=windows)

    engine = "len(loader.load_bytes(data, num_frames=-1, fps=2)[0])"
    return {
        "ours, every frame decoded": ours(False),
        "ours, reference frames": ours(True),
        "the engine's loader": (ENGINE_PYTHON, COUNTED.format(prepare=ENGINE, work=engine)),
    }


def measured(python: Path, program: str, file: Path) -> dict[str, Any]:
    command = [str(python), "-c", program, str(file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    figures: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        file.write_bytes(clip(options.minutes))
        for _ in range(options.rounds):
            for name, (python, program) in ways(options.minutes).items():
                results.setdefault(name, []).append(measured(python, program, file))
    table = {
        name: {
            "cpu_s_per_minute": round(statistics.median(run["cpu_s"] for run in runs) / options.minutes, 2),
            "frames": runs[0]["frames"],
            "peak_mib": round(max(run["peak_mib"] for run in runs)),
        }
        for name, runs in results.items()
    }
    engine_s = table["the engine's loader"]["cpu_s_per_minute"]
    print("| way | CPU s a minute of clip | of the engine's loader | frames | peak memory, MiB |")
    print("| --- | --- | --- | --- | --- |")
    for name, figures in table.items():
        share = figures["cpu_s_per_minute"] / engine_s
        print(f"| {name} | {figures['cpu_s_per_minute']} | {share:.2f} | {figures['frames']} | {figures['peak_mib']} |")
    record = {
        "benchmark": "sampling",
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python -m benchmarks.sampling " + " ".join(sys.argv[1:]),
        "minutes": options.minutes,
        "results": table,
    }
    (ROOT / "benchmarks" / "results" / f"sampling-{record['date']}.json").write_text(json.dumps(record, indent=1))
    print(json.dumps(record))


if __name__ == "__main__":
    main()
