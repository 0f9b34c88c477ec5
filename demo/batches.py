"""Lessons as tensors: patches, tokens and targets of one batch of equal-sized pictures or clips."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer

from demo.aims import GRID_AIM, NOBODY
from demo.lessons import Lesson, Question
from demo.model import Batch, merge_order
from demo.papers import FIELDS, WORDS
from demo.scenes import COLOURS, MOTIONS, SHAPES
from demo.shape import CELL_PX, MEAN, PATCH_PX, STD, TOKENS_PER_SECOND
from demo.tokenizer import number_values

CORNER_UNIT_PX = 100.0
TELLING_WEIGHT = 3.0
TIME_STEPS = 160
"""Half seconds that a time is told in."""


@dataclass
class Targets:
    """For each visual token, (B, N) and (B, N, 4 or 3); boxes count only where there is a shape."""

    label: torch.Tensor
    colour: torch.Tensor
    offsets: torch.Tensor
    """Corners of the shape's box from the cell's own corner, in cells."""
    corners: torch.Tensor
    """Corners of the shape's box from the picture's, in CORNER_UNIT_PX."""
    motion: torch.Tensor
    """Index in MOTIONS, where there is a shape."""
    times: torch.Tensor
    """In half seconds, whole numbers below TIME_STEPS."""
    letters: torch.Tensor
    """(B, N, slots): what is written there; no slots where it is a picture without writing."""
    words: torch.Tensor
    """(B, N, rows of slots): which word is there; no rows where it is a picture without writing."""
    fields: torch.Tensor
    """(B, N, rows of slots): whose value is there; no rows where it is a picture without writing."""


def patches(frames: Sequence[Image.Image]) -> torch.Tensor:
    """(T, rows * columns, 588 F): normalised as Qwen's processor does it, channel, frame, y, x within a patch."""
    pixels = torch.from_numpy(np.stack([np.asarray(frame) for frame in frames])).float() / 255
    pixels = (pixels - torch.tensor(MEAN)) / torch.tensor(STD)
    together = min(2, len(frames))
    count, height, width, _ = pixels.shape
    rows, columns = height // PATCH_PX, width // PATCH_PX
    split = pixels.view(count // together, together, rows, PATCH_PX, columns, PATCH_PX, 3)
    return merge_order(split.permute(0, 2, 4, 6, 1, 3, 5).flatten(3), rows, columns)


def targets(lessons: Sequence[Lesson]) -> Targets:
    columns = lessons[0].frames[0].width // CELL_PX
    per_grid = columns * (lessons[0].frames[0].height // CELL_PX)
    cells = [cell for lesson in lessons for cell in lesson.cells]
    size = (len(lessons), len(lessons[0].cells))
    corners = torch.tensor([cell.box or (0.0,) * 4 for cell in cells]).view(*size, 4)
    index = torch.arange(size[1]) % per_grid
    own = torch.stack([index % columns, index // columns] * 2, dim=-1) * CELL_PX
    return Targets(
        label=torch.tensor([cell.label for cell in cells]).view(size),
        colour=torch.tensor([cell.colour for cell in cells]).view(size),
        offsets=(corners - own) / CELL_PX,
        corners=corners / CORNER_UNIT_PX,
        motion=torch.tensor([cell.motion for cell in cells]).view(size),
        times=(torch.tensor([cell.times_s for cell in cells]).view(*size, 3) * 2).round().long(),
        letters=torch.tensor([cell.letters for cell in cells]).view(*size, -1),
        words=torch.tensor([cell.words for cell in cells]).view(*size, -1),
        fields=torch.tensor([cell.fields for cell in cells]).view(*size, -1),
    )


@dataclass
class Speller:
    """Token ids of what is said around a picture."""

    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        self.numbers = number_values(self.tokenizer)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def number_ids(self) -> torch.Tensor:
        """(1000,): the token of each number as a coordinate is written, without leading zeros."""
        return torch.tensor([self.tokenizer.token_to_id(str(number)) for number in range(1000)])

    def weights(self) -> torch.Tensor:
        """(V,): how much each token counts in an answer. Of twenty tokens of an item six say something; the others are
        JSON, and would divide the gradient of those by three.
        """
        words = " ".join([*SHAPES, *COLOURS, *MOTIONS, *WORDS, *FIELDS]).split()
        telling = [*self.numbers, *(id for word in words for id in self.ids(word) + self.ids(f" {word}"))]
        telling += [id for ending in ("[]", '"}]', '"},{"', '"}', '},{"') for id in self.ids(ending)]
        weights = torch.ones(self.tokenizer.get_vocab_size())
        weights[torch.tensor(telling)] = TELLING_WEIGHT
        return weights

    def opening(self, lesson: Lesson) -> list[int]:
        """All that comes before the picture."""
        return self.ids(
            f"<|im_start|>system\n{lesson.system}<|im_end|>\n<|im_start|>user\n{lesson.before}<|vision_start|>"
        )

    def question(self, text: str) -> list[int]:
        return self.ids(f"{text}<|im_end|>\n<|im_start|>assistant\n")

    def answer(self, text: str) -> list[int]:
        return self.ids(text) + self.ids("<|im_end|>")


def visual_positions(grid: tuple[int, int, int], start: int) -> torch.Tensor:
    """(3, N): seconds (in units of 1 / TOKENS_PER_SECOND), rows and columns of cells, all from `start`."""
    grids, rows, columns = grid[0], grid[1] // 2, grid[2] // 2
    axes = torch.arange(grids) * TOKENS_PER_SECOND, torch.arange(rows), torch.arange(columns)
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]) + start


def batch(lessons: Sequence[Lesson], speller: Speller) -> Batch:
    """Pads the sequences of equal-sized lessons to the longest."""
    seen = torch.stack([patches(lesson.frames) for lesson in lessons])
    first = lessons[0].frames[0]
    grid = (seen.shape[1], first.height // PATCH_PX, first.width // PATCH_PX)
    count = len(lessons[0].cells)
    opening = speller.opening(lessons[0])
    visual = visual_positions(grid, len(opening))
    after = int(visual.max()) + 1
    pad = speller.tokenizer.token_to_id("<|image_pad|>" if len(lessons[0].frames) == 1 else "<|video_pad|>")
    head = opening + [pad] * count + speller.ids("<|vision_end|>")
    head_at = torch.cat([torch.arange(len(opening)).expand(3, -1), visual, torch.full((3, 1), after)], dim=1)
    tokens = [torch.tensor(head).expand(len(lessons), -1)]
    spans = []
    answers = [torch.zeros(len(lessons), len(head), dtype=torch.bool)]
    coordinates = [torch.full((len(lessons), len(head)), -1)]
    aims = [torch.full((len(lessons), len(head)), -1)]
    positions = [head_at]
    end = len(head)
    for column in zip(*(lesson.questions for lesson in lessons), strict=True):
        ids, marks, places, about = spelled(column, speller)
        tokens.append(ids)
        answers.append(marks)
        coordinates.append(places)
        aims.append(about)
        positions.append((torch.arange(ids.shape[1]) + after + 1).expand(3, -1))
        spans.append((end, end + ids.shape[1]))
        end += ids.shape[1]
    at = torch.cat(positions, dim=1)[:, None].expand(3, len(lessons), -1)
    return Batch(
        seen, grid, torch.cat(tokens, dim=1), at, spans, torch.cat(answers, dim=1), torch.cat(coordinates, dim=1),
        torch.cat(aims, dim=1), owners(lessons), visual_at=len(opening),
    )  # fmt: skip


def owners(lessons: Sequence[Lesson]) -> torch.Tensor:
    """(B, N): whose cell each visual token is, -1 for nobody's."""
    return torch.tensor([[cell.owner for cell in lesson.cells] for lesson in lessons])


TIMES = re.compile(r"[0-9]{2}:[0-9]{2}\.[0-9]{2}")
PLACES = re.compile(r'(?:_2d":|"coordinate": |data-bbox=)["\[]([0-9, ]+)')
"""The numbers of a box or point."""


def aims_of(question: Question, speller: Speller) -> list[int]:
    """For each token of the answer whom it is about: an item's from its opening brace on, -1 before the first.

    What tells a time is about the pair of frames in which the event begins or ends (see `demo.aims`).
    """
    if question.looks:
        offsets = speller.tokenizer.encode(question.answer).offsets
        spans = [[aim for aim in question.looks[start:end] if aim != NOBODY] or [NOBODY] for start, end in offsets]
        return [aims[len(aims) // 2] for aims in spans]
    if not question.about:
        return []
    opened = accumulate((letter == "{" for letter in question.answer), initial=0)
    spoken = [question.about[count - 1] for count in opened]
    if question.grids:
        # A sentence about one moment has no braces.
        times = list(TIMES.finditer(question.answer))
        for time, grid in zip(times, (grid for pair in question.grids for grid in pair), strict=True):
            spoken[time.start() + 1 : time.end() + 1] = [GRID_AIM + grid] * (time.end() - time.start())
    return [spoken[end] for _, end in speller.tokenizer.encode(question.answer).offsets]


def places_of(answer: str, speller: Speller) -> list[int]:
    """For each token of the answer the number that it stands for in a box or point, else -1."""
    inside = [match.span(1) for match in PLACES.finditer(answer)]
    encoded = speller.tokenizer.encode(answer)
    return [
        speller.numbers.get(token, -1) if any(start <= begin and end <= stop for start, stop in inside) else -1
        for token, (begin, end) in zip(encoded.ids, encoded.offsets, strict=True)
    ]


def spelled(questions: Sequence[Question], speller: Speller) -> tuple[torch.Tensor, ...]:
    """Ids of questions with answers, padded to the longest; which belong to an answer; coordinates in it, else -1; and
    for each token whom the next one is about, else -1.
    """
    rows = [(speller.question(each.asked), speller.answer(each.answer)) for each in questions]
    longest = max(len(asked) + len(given) for asked, given in rows)
    ids, told = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.bool)
    places = torch.full((len(rows), longest), -1)
    aims = torch.full((len(rows), longest), -1)
    for i, (asked, given) in enumerate(rows):
        end = len(asked) + len(given)
        ids[i, :end] = torch.tensor(asked + given)
        told[i, len(asked) : end] = True
        about = aims_of(questions[i], speller)
        aims[i, len(asked) - 1 : len(asked) - 1 + len(about)] = torch.tensor(about, dtype=torch.long)
        places[i, len(asked) : end] = torch.tensor([*places_of(questions[i].answer, speller), -1])
    return ids, told, places, aims
