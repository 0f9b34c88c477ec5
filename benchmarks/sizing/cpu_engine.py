"""The real shapes of a published model on a real vLLM without a GPU, with dummy weights: what it reports when it
starts, beside what `server.sizing` predicts.

    python -m benchmarks.sizing.cpu_engine --model 3B

Needs .venv-engine, the demo's stand-in checkpoint (`scripts/serve` makes it; its tokenizer is used) and, for the 3B,
12 GiB of free memory. A CPU cannot show CUDA graphs, the allocator's rounding, the trial run that sizes the KV cache.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.sizing.machine import machine, save
from server.sizing.cards import Card, find_card
from server.sizing.memory import GIB, LONGEST_POSITION, POSITION_FACTOR, Plan, kv_bytes_per_token, pool_tokens
from server.sizing.weights import PRECISIONS, weights

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = ROOT / ".cache" / "random"
WORK = ROOT / ".cache" / "sizing"
CPU_BLOCK_TOKENS = 128
KV_GIB = 1
START_TIMEOUT_S = 600
POOL = re.compile(r"KV cache size: ([\d,]+) tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="3B")
    parser.add_argument("--python", default=str(ROOT / ".venv-engine" / "bin" / "python"))
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    card = find_card(options.model)
    result = {"benchmark": "sizing-cpu-engine", "model": card.id, **machine(), "rows": run(card, options.python)}
    for row in result["rows"]:
        print(
            f"{row['what']:42} predicted {row['predicted']:>14,}  reported {row['reported']:>14,}  {row['error']:+.2%}"
        )
    if not options.no_save:
        save("sizing-cpu-engine", result)
    print(json.dumps(result))


def run(card: Card, python: str) -> list[dict[str, Any]]:
    """Two starts: a tiny model, for what the programs themselves take, then the model in question."""
    _, programs = started(STAND_IN, python)
    log, resident = started(model_folder(card), python)
    return rows(card, log, resident - programs)


def started(folder: Path, python: str) -> tuple[str, int]:
    """What an engine said until it was ready, and the bytes it then held."""
    WORK.mkdir(parents=True, exist_ok=True)
    socket_path = WORK / "engine.sock"
    socket_path.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": str(KV_GIB),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--load-format", "dummy"]
    command += ["--dtype", "bfloat16", "--enforce-eager", "--distributed-executor-backend", "uni"]
    command += ["--max-model-len", "8192", "--max-num-seqs", "8", "--uds", str(socket_path)]
    command += ["--limit-mm-per-prompt", '{"image":1,"video":0}']
    with (WORK / "engine.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_ready(process, socket_path)
        return (WORK / "engine.log").read_text(), resident_bytes(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def model_folder(card: Card, folder: Path | None = None) -> Path:
    """A folder with the card's own numbers, no weights, and the stand-in's tokenizer and processor."""
    folder = folder or WORK / card.size
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in STAND_IN.iterdir():
        if file.suffix in (".json", ".txt", ".jinja") and file.name != "config.json":
            shutil.copy(file, folder)
    config = json.loads((STAND_IN / "config.json").read_text())
    published = {name: value for name, value in card.config.items() if name not in ("model_type", "vision_config")}
    rotary = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]}
    config["text_config"] |= {**published, "max_position_embeddings": LONGEST_POSITION, "rope_parameters": rotary}
    config["vision_config"] |= {**card.config["vision_config"], "fullatt_block_indexes": [7, 15, 23, 31]}
    config["tie_word_embeddings"] = published["tie_word_embeddings"]
    if card.quantization:
        config["quantization_config"] = {
            "quant_method": "awq",
            "bits": card.quantization["bits"],
            "group_size": card.quantization["group"],
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": ["visual"],
        }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder


def rows(card: Card, log: str, resident: int) -> list[dict[str, Any]]:
    """What was predicted beside what was said. `resident`: beyond what the programs take with a tiny model."""
    shape = card.shape
    plan = Plan(8192, 8, 8192, 1_003_520, 602_112)
    per_token = kv_bytes_per_token(shape, plan)
    tables = POSITION_FACTOR * LONGEST_POSITION * shape.head_dim * 2
    held = weights(shape, PRECISIONS[card.precision]).total
    found = POOL.search(log)
    if found is None:
        sys.exit(f"the engine did not say how large its KV cache is; see {WORK / 'engine.log'}")
    reported = int(found[1].replace(",", ""))
    return [
        row("KV cache of 1 GiB, tokens", pool_tokens(KV_GIB * GIB, per_token, CPU_BLOCK_TOKENS), reported),
        row("weights and tables, resident bytes", int(held + tables), resident),
    ]


def row(what: str, predicted: int, reported: int) -> dict[str, Any]:
    return {"what": what, "predicted": predicted, "reported": reported, "error": predicted / reported - 1}


def wait_until_ready(process: "subprocess.Popen[bytes]", path: Path) -> None:
    """Until its socket answers; ends the program if it dies or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the engine ended with {process.returncode}; see {WORK / 'engine.log'}")
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
                return
            except OSError:
                time.sleep(1)
    sys.exit(f"the engine was not ready within {START_TIMEOUT_S} s")


def resident_bytes(leader: int) -> int:
    """Of all processes of the engine's session, shared pages counted once."""
    return sum(_proportional_bytes(pid) for pid in _session(leader))


def _session(leader: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == leader:
                    yield int(entry.name)
            except OSError:
                continue


def _proportional_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
