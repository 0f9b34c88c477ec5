"""Folders with true shapes and no weights: what the server and the engine read in them is the published model's."""

import json
from pathlib import Path

import pytest

from benchmarks.load import dummy
from benchmarks.sizing import cpu_engine
from server.engines.checkpoints import fitted, problem
from server.settings import Settings
from server.sizing.demand import find_model, folder_model

STAND_IN = {
    "config.json": {
        "model_type": "qwen2_5_vl",
        "text_config": {"vocab_size": 3},
        "vision_config": {},
        "architectures": ["Qwen2_5_VL"],
    },
    "preprocessor_config.json": {"max_pixels": 50176, "size": {"shortest_edge": 3136, "longest_edge": 50176}},
    "video_preprocessor_config.json": {"max_pixels": 7056, "size": {"shortest_edge": 3136, "longest_edge": 7056}},
    "tokenizer.json": {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2, "content": "<|image_pad|>"}]},
    "vocab.json": {"a": 0, "b": 1},
}


@pytest.fixture
def folder_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_in = tmp_path / "stand-in"
    stand_in.mkdir()
    for name, content in STAND_IN.items():
        (stand_in / name).write_text(json.dumps(content))
    monkeypatch.setattr(cpu_engine, "STAND_IN", stand_in)
    monkeypatch.setattr(dummy, "WORK", tmp_path / "made")
    return dummy.dummy_folder


@pytest.mark.parametrize("size", ["3B", "7B", "7B-AWQ"])
def test_a_dummy_is_sized_as_the_published_model_and_goes_by_its_name(folder_for, size: str) -> None:
    published = find_model(size)
    made = folder_model(str(folder_for(size)))
    assert (made.shape, made.precision) == (published.shape, published.precision)
    assert Path(made.name).name == published.name.removeprefix("Qwen/")


def test_a_dummy_is_shown_pictures_as_large_as_the_published_model_is(folder_for) -> None:
    folder = str(folder_for("3B"))
    settings = Settings()
    assert fitted(settings, folder) == settings


def test_a_dummy_starts_with_the_arguments_that_go_with_it(folder_for) -> None:
    settings = Settings(engine_python=__file__, engine_args=dummy.ARGUMENTS)
    assert problem(settings, str(folder_for("3B"))) is None


def test_every_number_that_a_dummy_may_answer_with_is_a_word(folder_for) -> None:
    tokenizer = json.loads((folder_for("3B") / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(151_936))
    assert (vocabulary["a"], vocabulary["<|image_pad|>"]) == (0, 2)
