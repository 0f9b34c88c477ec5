"""The training's forward pass and transformers' give the same logits, for a picture and for a clip."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="runs in the engine's environment")

from demo import batches, build, lessons, model  # noqa: E402 - after torch is known to be there
from demo import tokenizer as words  # noqa: E402
from demo.shape import Shape  # noqa: E402


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["picture", "clip"])
def test_the_training_computes_what_transformers_computes(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    shape = Shape(vocabulary=words.VOCABULARY)
    weights = build.initial_weights(shape, 3)
    build.save(tmp_path, weights, shape)
    stored = {name: weight.to(torch.bfloat16).float() for name, weight in weights.items()}
    if kind == "picture":
        lesson = lessons.picture_lesson(5, (300, 200), (2, 4), [lessons.ask_detect, lessons.ask_count])
    else:
        lesson = lessons.clip_lesson(5, 9, (320, 240), 2)
    lesson.questions = lesson.questions[:1]
    batch = batches.batch([lesson], batches.Speller(words.trained(words.corpus())))
    hidden = model.think(stored, shape, batch, model.see(stored, shape, batch))
    ours = hidden @ stored["model.embed_tokens.weight"].T

    theirs = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    patches = batch.patches[0].flatten(0, 1)
    if kind == "picture":
        patches = patches.view(-1, 3, 1, 196).expand(-1, 3, 2, 196).flatten(1)
    name = "image" if kind == "picture" else "video"
    inputs = {f"{name}_grid_thw": torch.tensor([batch.grid])}
    inputs["pixel_values" if kind == "picture" else "pixel_values_videos"] = patches
    ids = batch.tokens
    inputs["mm_token_type_ids"] = (ids == theirs.config.image_token_id) * 1 + (ids == theirs.config.video_token_id) * 2
    if kind == "clip":
        # As vLLM counts: text goes on after the clip's last second. transformers 5.19 goes on after its widest side.
        inputs["position_ids"] = batch.positions
    with torch.no_grad():
        logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits
    torch.testing.assert_close(ours, logits, atol=2e-3, rtol=2e-3)
