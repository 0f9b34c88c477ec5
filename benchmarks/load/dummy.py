"""A folder with the true shapes of a published model and no weights: served with `--load-format dummy` it has the speed
and the memory of the real one, and answers that mean nothing. For a machine that cannot fetch the weights.

    benchmarks/run-tier --dummy 7B
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.sizing.cpu_engine import WORK, model_folder
from server.sizing.cards import find_card
from server.sizing.demand import LEAST_PIXELS, MOST_PIXELS

ARGUMENTS = "--load-format dummy"
"""For --engine-args."""
PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")


def dummy_folder(name: str) -> Path:
    """The folder, named as the model is. Raises InvalidValue for a name that is not a published model's.

    Its tokenizer is the demo checkpoint's, which has fewer words than the model: each further one is given a name, for
    an answer without text would not be seen to come. The limits on pixels are the published ones, not the demo's, which
    the server would keep to and show small pictures.
    """
    card = find_card(name)
    folder = model_folder(card, WORK / card.id.rpartition("/")[2])
    for file in PROCESSORS:
        limits = {"min_pixels": LEAST_PIXELS, "max_pixels": MOST_PIXELS}
        size = {"shortest_edge": LEAST_PIXELS, "longest_edge": MOST_PIXELS}
        _change(folder / file, {**limits, "size": size})
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(with_words(tokenizer, card.config["vocab_size"])))
    for left in ("vocab.json", "merges.txt"):  # tokenizer.json holds both
        (folder / left).unlink(missing_ok=True)
    return folder


def with_words(tokenizer: dict[str, Any], words: int) -> dict[str, Any]:
    """`tokenizer.json` with a word for each number below `words`; what a text is split into stays the same.

    >>> small = {"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "<|end|>"}]}
    >>> with_words(small, 4)["model"]["vocab"]
    {'a': 0, '<|end|>': 1, 'Ġword2': 2, 'Ġword3': 3}
    """
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}  # else they move behind the last
    known = {**tokenizer["model"]["vocab"], **special}
    free = sorted(set(range(words)).difference(known.values()))
    further = {f"Ġword{number}": number for number in free}  # Ġ is a byte pair's blank
    return {**tokenizer, "model": {**tokenizer["model"], "vocab": {**known, **further}}}


def _change(file: Path, fields: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}, indent=2))
