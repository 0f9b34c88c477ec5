"""Checks that need torch and transformers: run by the engine's interpreter, which stops at the first that fails.

Not a test module of its own, because the tests' environment has no torch; `test_checkpoint.py` starts it.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import transformers
from tokenizers import Tokenizer

from demo import batches, build, lessons, model
from demo import tokenizer as words
from demo.shape import IMAGE_PIXELS, VIDEO_PIXELS, Shape

SHAPE = Shape(vocabulary=words.VOCABULARY)
ANY_TEXT = [
    "Plain words, and digits: 1234567890.",
    '{"bbox_2d":[10,20,130,141],"label":"star"}\n\t ',
    "h\u00e9llo \u65e5\u672c\u8a9e \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \U0001f600 \u00a0\u200b",
    "<|im_start|>system\n<|vision_start|><|image_pad|><|vision_end|><tool_call>\n{}\n</tool_call><|im_end|>",
]


def logits_agree(folder: Path, kind: str) -> None:
    """The training's forward pass and transformers' give the same logits."""
    weights = build.initial_weights(SHAPE, 3)
    build.save(folder, weights, SHAPE)
    stored = {name: weight.to(torch.bfloat16).float() for name, weight in weights.items()}
    if kind == "picture":
        lesson = lessons.picture_lesson(5, (300, 200), (2, 4), [lessons.ask_detect])
    else:
        lesson = lessons.clip_lesson(5, 9, (320, 240), 2)
        lesson.questions = lesson.questions[:1]
    batch = batches.batch([lesson], batches.Speller(words.trained(words.corpus())))
    hidden = model.think(stored, SHAPE, batch, model.see(stored, SHAPE, batch)).hidden
    ours = hidden @ stored["model.embed_tokens.weight"].T

    theirs = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    patches = batch.patches[0].flatten(0, 1)
    inputs = {}
    if kind == "picture":
        inputs["pixel_values"] = patches.view(-1, 3, 1, 196).expand(-1, 3, 2, 196).flatten(1)
        inputs["image_grid_thw"] = torch.tensor([batch.grid])
    else:
        inputs["pixel_values_videos"] = patches
        inputs["video_grid_thw"] = torch.tensor([batch.grid])
        # As vLLM counts: text goes on after the clip's last second. transformers 5.19 goes on after its widest side.
        inputs["position_ids"] = batch.positions
    ids = batch.tokens
    inputs["mm_token_type_ids"] = (ids == theirs.config.image_token_id) * 1 + (ids == theirs.config.video_token_id) * 2
    with torch.no_grad():
        logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits
    torch.testing.assert_close(ours, logits, atol=2e-3, rtol=2e-3)


def picture(folder: Path) -> None:
    logits_agree(folder, "picture")


def clip(folder: Path) -> None:
    logits_agree(folder, "clip")


def questions_apart(folder: Path) -> None:
    """A question packed after another about the same picture is answered as if it had been asked alone."""
    weights = build.initial_weights(SHAPE, 3)
    speller = batches.Speller(words.trained(words.corpus()))

    def hidden(asked: list[lessons.Question]) -> torch.Tensor:
        lesson = lessons.picture_lesson(5, (300, 200), (2, 4), [])
        lesson.questions = asked
        batch = batches.batch([lesson], speller)
        first, end = batch.spans[-1]
        return model.think(weights, SHAPE, batch, model.see(weights, SHAPE, batch)).hidden[:, first:end]

    question = lessons.Question("Describe this image.", "A red star.")
    torch.testing.assert_close(hidden([question]), hidden([lessons.Question("How many?", "There are 2."), question]))


def built_twice(folder: Path) -> None:
    """The same seed gives the same files, byte for byte, within the size that the repository can carry."""
    digests = []
    for name in ("a", "b"):
        build.save(folder / name, build.initial_weights(SHAPE, 0), SHAPE)
        files = sorted((folder / name).iterdir())
        digests.append([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])
        assert sum(file.stat().st_size for file in files) < 16 * 2**20
    assert digests[0] == digests[1]


def round_trip(folder: Path) -> None:
    """Any text comes back from its tokens, numbers and special tokens are one token each, as training had them."""
    build.save(folder, build.initial_weights(SHAPE, 0), SHAPE)
    fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ANY_TEXT:
        ids = fast.encode(text).ids
        assert fast.decode(ids, skip_special_tokens=False) == text
        assert loaded(text)["input_ids"] == ids
    for number in [*range(1000), "00", "07"]:
        assert len(loaded(str(number))["input_ids"]) == 1
    assert all(len(fast.encode(token).ids) == 1 for token in words.SPECIAL + words.ADDED)
    assert fast.decode(fast.encode("<tool_call><|im_end|>").ids) == "<tool_call>"


def processor_agrees(folder: Path) -> None:
    """The processor's limits are those that training showed pictures and frames within."""
    build.save(folder, build.initial_weights(SHAPE, 0), SHAPE)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    for part, (low, high) in ((processor.image_processor, IMAGE_PIXELS), (processor.video_processor, VIDEO_PIXELS)):
        assert (part.size["shortest_edge"], part.size["longest_edge"]) == (low, high)
    scene = lessons.scenes.picture(1, (500, 375))
    wh = lessons.shown_size((500, 375), IMAGE_PIXELS)
    shown = scene.image.resize(wh)
    seen = processor.image_processor(images=[shown], return_tensors="pt")
    assert seen["image_grid_thw"].tolist() == [[1, wh[1] // 14, wh[0] // 14]]
    ours = batches.patches([shown])[0].view(-1, 3, 1, 196).expand(-1, 3, 2, 196).flatten(1)
    torch.testing.assert_close(seen["pixel_values"], ours, atol=1e-4, rtol=1e-4)


CHECKS = (picture, clip, questions_apart, built_twice, round_trip, processor_agrees)

if __name__ == "__main__":
    for check in CHECKS:
        with tempfile.TemporaryDirectory() as scratch:
            sys.stdout.write(f"{check.__name__}\n")
            check(Path(scratch))
