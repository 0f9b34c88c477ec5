"""Trains the demo checkpoint from nothing on the CPU (or a GPU where there is one), and writes it.

    .venv-engine/bin/python demo/train.py --minutes 150 [--workers 2] [--state .cache/demo-train]
    .venv-engine/bin/python demo/train.py --export demo/checkpoint
    .venv-engine/bin/python demo/train.py --from demo/checkpoint --trained 300 --minutes 395 --cooldown 0.35

Resumes from its state folder, which is written every few minutes; ends early, without loss, when a file named `stop`
appears there; may be stopped (SIGSTOP) and continued at any time, because a pause does not count as training.

Three losses beside the answers' break the plateaus: what each cell holds (letters and words too), read off the vision
tower; what, where and when that is, and whose value, read off the visual tokens halfway through the language layers;
and that two heads, while an item is written, look at the thing it is about. Without the last one the answers stayed
blind for 2,600 steps although visual tokens knew every corner to 8 px. The first two need heads, which a checkpoint
does not have: one that is gone on with begins them anew.
"""

import argparse
import functools
import json
import math
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - its customary name
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo import batches, lessons
from demo import tokenizer as words
from demo.build import initial_weights, save
from demo.model import Batch, Weights, answer_loss, see, think
from demo.paper_lessons import ALPHABET, KNOWN, READINGS, SLOTS, page_lesson, screen_lesson
from demo.papers import BUTTONS, FIELDS, SCREEN_SIZES
from demo.shape import VIDEO_PIXELS, Shape

DENSE_WEIGHT = 0.3
LOOK_WEIGHT = 0.2
RANKS = 8
HEADS = {
    "head.vision": 6 + 6 + 4,
    "head.text": 4 + 3 * batches.TIME_STEPS + 6 + 6 + RANKS,
    "head.motion": len(lessons.scenes.MOTIONS),
    "head.letters": math.prod(SLOTS) * (1 + len(ALPHABET)),
    "head.words": SLOTS[1] * (1 + len(KNOWN)),
    "head.fields": SLOTS[1] * len(FIELDS),
}
LONGEST_CLIP_S = 62
"""What the gateway shows in one question: longer clips come in windows of 60 s."""
CLIP_SHARE = 0.45
"""Of the steps that are not about pages or screens."""
PAPERS_FROM = 0.6
"""How far training is when pages and screens come in."""
PAGE_SHARE, SCREEN_SHARE = 0.18, 0.22
PAGES, SCREENS, QUICK_SCREENS = 6, 6, 16
"""Of a worker's batch; quick ones do without the page that tells of the tool, which is longer than all the rest."""
LETTER_WEIGHT, WORD_WEIGHT, FIELD_WEIGHT = 3.0, 2.0, 2.0
WARM_STEPS = 100
"""After each beginning, in which the rate rises: heads and optimizers may be new."""
PICTURES, CLIPS = 8, 2600
"""Pictures of a worker's batch; tokens of its clips, which sets how many there are."""


@dataclass
class Student:
    """Weights, what updates them, and how far training is."""

    shape: Shape
    weights: Weights
    optimizers: list[torch.optim.Optimizer]
    peak: list[float]
    """Learning rate of each parameter group before the schedule."""
    step: int = 0
    trained_s: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)


def new_student(seed: int, device: str, rates: tuple[float, float]) -> Student:
    """Muon for the matrices inside the layers, AdamW for the rest: `rates` in this order."""
    shape = Shape(vocabulary=words.VOCABULARY)
    weights = initial_weights(shape, seed)
    random = torch.Generator().manual_seed(seed + 1)
    for name, out in HEADS.items():
        weights[name] = torch.randn(out, shape.hidden, generator=random) * shape.hidden**-0.5
    weights = {name: weight.to(device).requires_grad_() for name, weight in weights.items()}
    # The merger's first matrix alone would cost as much to orthogonalise as all the others.
    apart = ("model.embed_tokens.weight", "visual.merger.mlp.0.weight", *HEADS)
    inner = [w for name, w in weights.items() if w.ndim == 2 and name not in apart]
    chosen = {id(w) for w in inner}
    rest = [w for w in weights.values() if id(w) not in chosen]
    optimizers = [
        torch.optim.Muon(inner, rates[0], 0.02, momentum=0.95, ns_steps=4, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rates[1], betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peak = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    return Student(shape, weights, optimizers, peak)


def dense_losses(
    weights: Weights,
    targets: batches.Targets,
    owners: torch.Tensor,
    seen: torch.Tensor,
    hidden: torch.Tensor,
    clip: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each cell holds, from the vision tower; where and when, from the language layers.

    The latter also tells which in order a thing is: without that, a head that should look at the next thing looked at
    all of them.
    """
    what = F.linear(seen.float(), weights["head.vision"])
    there, owned = targets.label > 0, owners >= 0
    vision = F.cross_entropy(what[..., :6].flatten(0, 1), targets.label.flatten())
    where = F.linear(hidden.float(), weights["head.text"])
    text = where.sum() * 0
    if clip:
        steps = where[..., 4 : -12 - RANKS].unflatten(-1, (3, -1)).flatten(0, -2)
        text = text + F.cross_entropy(steps, targets.times.flatten()) * 0.5
    if there.any():
        vision = vision + F.cross_entropy(what[..., 6:12][there], targets.colour[there])
        vision = vision + F.smooth_l1_loss(what[..., 12:][there], targets.offsets[there], beta=0.3)
        text = text + F.cross_entropy(where[..., -12 - RANKS : -6 - RANKS][there], targets.label[there])
        text = text + F.cross_entropy(where[..., -6 - RANKS : -RANKS][there], targets.colour[there])
        if clip:
            moving = F.linear(hidden.float()[there], weights["head.motion"])
            text = text + F.cross_entropy(moving, targets.motion[there])
    if owned.any():
        text = text + F.smooth_l1_loss(where[..., :4][owned], targets.corners[owned], beta=0.1) * 4
        text = text + F.cross_entropy(where[..., -RANKS:][owned], owners[owned].clamp(max=RANKS - 1))
    if targets.letters.shape[-1]:
        written = F.linear(seen.float(), weights["head.letters"]).unflatten(-1, (-1, 1 + len(ALPHABET)))
        vision = vision + F.cross_entropy(written.flatten(0, -2), targets.letters.flatten()) * LETTER_WEIGHT
        spoken = F.linear(seen.float(), weights["head.words"]).unflatten(-1, (-1, 1 + len(KNOWN)))
        vision = vision + F.cross_entropy(spoken.flatten(0, -2), targets.words.flatten()) * WORD_WEIGHT
    if (valued := targets.fields > 0).any():
        # The layers that follow are too few to go from a field to its row and from there to the value.
        fields = F.linear(hidden.float(), weights["head.fields"]).unflatten(-1, (-1, len(FIELDS)))
        text = text + F.cross_entropy(fields[valued], targets.fields[valued] - 1) * FIELD_WEIGHT
    return vision, text


def lesson_batch(step: int, rank: int, world: int, progress: float, pools: dict[Any, Any]) -> list[lessons.Lesson]:
    """The step's lessons; all workers take the same kind and size, so that none waits long for another."""
    random = Random(f"plan {step}")
    first_seed = 2 * (step * world + rank) * 1000  # even seeds: odd ones are kept for measuring
    # Pictures without questions cost a quarter: the dense losses alone, which see and place shapes, come first.
    mute = random.random() < (0.6 if progress < 0.15 else 0.2)
    kind = random.random()
    if progress > PAPERS_FROM and kind < PAGE_SHARE:
        reading = random.choice(READINGS)  # the same for the whole batch: their lengths then differ little
        return [page_lesson(first_seed + 2 * i, [reading]) for i in range(PAGES)]
    if progress > PAPERS_FROM and kind < PAGE_SHARE + SCREEN_SHARE:
        wh, name = random.choice(SCREEN_SIZES), random.choice(BUTTONS)
        quick = random.random() < 0.6
        screens = [screen_lesson(first_seed + 2 * i, wh, name) for i in range(QUICK_SCREENS if quick else SCREENS)]
        for screen in screens:
            screen.system = lessons.prompts.SYSTEM if quick else screen.system
        return screens
    if random.random() < CLIP_SHARE:
        longest = 8 if progress < 0.1 else 25 if progress < 0.4 else LONGEST_CLIP_S
        grids = round(5 * (longest / 5) ** random.random())
        canvas = random.choice([(320, 240), (320, 240), (640, 360), (240, 240), (240, 320), (360, 640)])
        wh = lessons.shown_size(canvas, VIDEO_PIXELS)
        count = max(1, CLIPS // (grids * wh[0] * wh[1] // 784 + (20 if mute else 150)))
        events = 2 if progress < 0.1 else 6
        clips = [lessons.clip_lesson(first_seed + 2 * i, grids, canvas, events) for i in range(min(count, 16))]
        for clip in clips:
            clip.questions = [] if mute else clip.questions
        return clips
    sizes = sorted(pools)
    wh = random.choices(sizes, [len(pools[size]) for size in sizes])[0]
    most = 3 if progress < 0.2 else 5 if progress < 0.4 else 6
    choice = Random(f"canvas {first_seed}")
    # The same kinds of questions for the whole batch: their lengths then differ little.
    kinds = {ask: often for ask, often in lessons.ASKERS.items() if progress > 0.35 or ask in lessons.FIRST}
    asked = [] if mute else random.choices(list(kinds), list(kinds.values()), k=3)
    return [
        lessons.picture_lesson(first_seed + 2 * i, choice.choice(pools[wh]), (0 if most > 5 else 1, most), asked)
        for i in range(PICTURES * (2 if mute else 1))
    ]


def prepared(step: int, rank: int, world: int, progress: float) -> tuple[Batch, batches.Targets]:
    """The step's lessons as tensors. Runs in a process of its own."""
    taught = lesson_batch(step, rank, world, progress, canvases())
    return batches.batch(taught, speller()), batches.targets(taught)


canvases = functools.cache(lessons.canvases)


@functools.cache
def speller() -> batches.Speller:
    torch.set_num_threads(1)
    return batches.Speller(words.trained(words.corpus()))


class Ahead:
    """Draws the pictures of the steps to come in a process beside the training: a tenth of a step's time."""

    STEPS = 3

    def __init__(self, rank: int, world: int) -> None:
        self._place = (rank, world)
        self._maker = ProcessPoolExecutor(1, torch.multiprocessing.get_context("spawn"))
        self._coming: dict[int, Future[tuple[Batch, batches.Targets]]] = {}

    def batch(self, step: int, progress: float) -> tuple[Batch, batches.Targets]:
        """The batch of one step; steps are asked for in order."""
        for later in range(step, step + self.STEPS):
            if later not in self._coming:
                self._coming[later] = self._maker.submit(prepared, later, *self._place, progress)
        return self._coming.pop(step).result()

    def close(self) -> None:
        self._maker.shutdown(cancel_futures=True)


def rate(progress: float, cooldown: float) -> float:
    """Share of the peak learning rate: a short warm-up, then flat, then down to nothing over the last `cooldown`."""
    return min(1.0, (progress + 0.0005) / 0.01) * min(1.0, max(0.0, 1 - progress) / cooldown)


def to(device: str, batch: Batch, targets: batches.Targets) -> None:
    """Moves a batch and its targets, patches in bfloat16: that is what all layers then compute in."""
    batch.patches = batch.patches.to(device, torch.bfloat16)
    for thing in (batch, targets):
        for name, value in vars(thing).items():
            if isinstance(value, torch.Tensor):
                setattr(thing, name, value.to(device))


def learn(
    student: Student,
    batch: Batch,
    targets: batches.Targets,
    number_ids: torch.Tensor,
    weight_of: torch.Tensor,
    share: float,
    world: int = 1,
) -> dict[str, float]:
    """One update; the losses before it."""
    weights = student.weights
    seen = see(weights, student.shape, batch)
    thoughts = think(weights, student.shape, batch, seen)
    told = answer_loss(weights, batch, thoughts.hidden, number_ids, weight_of)
    vision, text = dense_losses(weights, targets, batch.owners, seen, thoughts.halfway, clip=batch.grid[0] > 1)
    (told + DENSE_WEIGHT * (vision + text) + LOOK_WEIGHT * thoughts.looked).backward()
    leaves = list(weights.values())
    if world > 1:
        # A head that this worker's lessons did not need may have been needed by another's.
        grads = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
        together = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(together)
        together /= world
        for leaf, grad in zip(leaves, together.split([leaf.numel() for leaf in leaves]), strict=True):
            leaf.grad = grad.view_as(leaf)
    torch.nn.utils.clip_grad_norm_(leaves, 1.0)
    groups = [group for optimizer in student.optimizers for group in optimizer.param_groups]
    for group, peak in zip(groups, student.peak, strict=True):
        group["lr"] = peak * share
    for optimizer in student.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {"told": told.item(), "looked": thoughts.looked.item(), "vision": vision.item(), "text": text.item()}


def keep(student: Student, folder: Path) -> None:
    """Writes the state beside the old one, then puts it in its place."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "weights": {name: weight.detach().cpu() for name, weight in student.weights.items()},
        "optimizers": [optimizer.state_dict() for optimizer in student.optimizers],
        "step": student.step,
        "trained_s": student.trained_s,
    }
    torch.save(state, folder / "state.new")
    (folder / "state.new").replace(folder / "state.pt")


def take_up(student: Student, folder: Path) -> None:
    """Continues from the state in `folder`, if there is one."""
    if not (folder / "state.pt").exists():
        return
    state = torch.load(folder / "state.pt", weights_only=True)
    with torch.no_grad():
        for name, weight in student.weights.items():
            weight.copy_(state["weights"][name])
    for optimizer, held in zip(student.optimizers, state["optimizers"], strict=False):
        optimizer.load_state_dict(held)
    student.step, student.trained_s = state["step"], state["trained_s"]


def begin_from(student: Student, checkpoint: Path, trained_s: float) -> None:
    """Takes the weights of an exported checkpoint, as after `trained_s` of training; heads stay as they are new."""
    held = load_file(checkpoint / "model.safetensors")
    with torch.no_grad():
        for name in student.weights.keys() - HEADS.keys():
            student.weights[name].copy_(held[name])
    student.trained_s = trained_s
    student.step = int(trained_s * 2)  # more than were made: no lesson of theirs comes again


def train(rank: int, options: argparse.Namespace) -> None:
    """One worker's part of the training; worker 0 keeps the state and tells how it goes."""
    world = options.workers
    torch.set_num_threads(options.threads)
    if world > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(options.rendezvous_port))
        dist.init_process_group("gloo", rank=rank, world_size=world)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    student = new_student(options.seed, device, (options.matrix_rate, options.rate))
    if options.checkpoint and not (options.state / "state.pt").exists():
        begin_from(student, options.checkpoint, options.trained * 60)
    take_up(student, options.state)
    first_step = student.step
    number_ids, weight_of = speller().number_ids().to(device), speller().weights().to(device)
    ahead = Ahead(rank, world)
    kept = time.monotonic()
    recent: dict[str, list[float]] = {}
    while True:
        stop = (options.state / "stop").exists()
        progress = 1.0 if stop else student.trained_s / (options.minutes * 60)
        if world > 1:  # one clock for all, or one of them would stop a step early
            clock = torch.tensor([progress], dtype=torch.float64)
            dist.broadcast(clock, 0)
            progress = clock.item()
        if progress >= 1:
            break
        began = time.monotonic()
        batch, targets = ahead.batch(student.step, progress)
        to(device, batch, targets)
        share = rate(progress, options.cooldown) * min(1.0, (student.step - first_step + 1) / WARM_STEPS)
        losses = learn(student, batch, targets, number_ids, weight_of, share, world)
        student.step += 1
        student.trained_s += min(time.monotonic() - began, 20)
        if rank == 0:
            kind = "clips" if batch.grid[0] > 1 else "papers" if targets.letters.shape[-1] else "pictures"
            for name, value in losses.items():
                if name in ("told", "looked") and not batch.spans:
                    continue
                recent.setdefault(f"{kind} {name}", []).append(value)
            recent.setdefault(f"{kind} seen", []).append(len(batch.tokens) * world)
            if student.step % 50 == 0:
                tell(student, progress, recent, options.state)
                recent = {}
            if time.monotonic() - kept > options.keep_s:
                keep(student, options.state)
                kept = time.monotonic()
    ahead.close()
    if rank == 0:
        keep(student, options.state)
        (options.state / "stop").unlink(missing_ok=True)
    if world > 1:
        dist.destroy_process_group()


def tell(student: Student, progress: float, recent: dict[str, list[float]], folder: Path) -> None:
    """One line for people, one JSON line for plots."""
    means = {name: sum(values) / len(values) for name, values in recent.items() if not name.endswith("seen")}
    seen = {name: sum(values) for name, values in recent.items() if name.endswith("seen")}
    bar = "#" * int(progress * 30)
    figures = "  ".join(f"{name} {value:.3f}" for name, value in sorted(means.items()))
    print(f"[{bar:<30}] step {student.step}  {student.trained_s / 60:.1f} min  {figures}  {seen}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": student.step, "trained_s": student.trained_s, **means, **seen}) + "\n")


def export(state: Path, out: Path) -> None:
    """Writes the weights of a state as a checkpoint that vLLM serves."""
    shape = Shape(vocabulary=words.VOCABULARY)
    weights = torch.load(state / "state.pt", weights_only=True)["weights"]
    save(out, {name: weight for name, weight in weights.items() if name not in HEADS}, shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(".cache/demo-train"), help="folder to keep and resume from")
    parser.add_argument("--export", type=Path, help="write the state's weights as a checkpoint here, and stop")
    parser.add_argument("--from", type=Path, dest="checkpoint", help="begin with an exported checkpoint's weights")
    parser.add_argument("--trained", type=float, default=0.0, help="minutes that its training took")
    parser.add_argument("--minutes", type=float, default=150, help="training time of the whole schedule")
    parser.add_argument("--workers", type=int, default=1 if torch.cuda.is_available() else 2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate of embeddings, norms and heads")
    parser.add_argument("--matrix-rate", type=float, default=3e-3, help="peak learning rate of the layers' matrices")
    parser.add_argument("--cooldown", type=float, default=0.3, help="part of the schedule in which the rate falls")
    parser.add_argument("--keep-s", type=float, default=180, help="seconds between two writings of the state")
    parser.add_argument("--rendezvous-port", type=int, default=29517)
    options = parser.parse_args()
    if options.export:
        export(options.state, options.export)
    elif options.workers == 1:
        train(0, options)
    else:
        torch.multiprocessing.spawn(train, (options,), nprocs=options.workers)


if __name__ == "__main__":
    main()
