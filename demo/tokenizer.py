"""A small byte-level BPE with Qwen2.5's special tokens, and a chat template with Qwen2.5-VL's semantics.

Any text round-trips, because every byte is a token. Numbers up to 999 and two-digit parts of a clock are one token
each, unlike Qwen's single digits: a model this small then reads a coordinate off in one choice, and answers are half as
long. The vocabulary is learnt from the project's own prompts and a page of plain text, so it is the same wherever it is
built.
"""

import itertools
import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from demo import prompts

BPE_TOKENS = 1770
CORPUS = Path(__file__).with_name("corpus.txt")
SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
ADDED = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip
"""Tokens of their own that decoding keeps, so that a tool call's tags reach the parser."""

NUMBERS = [f"{n:02d}" for n in range(100)] + [str(n) for n in range(100, 1000)]
"""Numbers of more than one digit that are one token; the single digits are among the bytes."""

VOCABULARY = BPE_TOKENS + len(NUMBERS) + len(SPECIAL) + len(ADDED)


def split_rule(digits: str) -> str:
    """Qwen2's rule: contractions, words with one leading mark, numbers, marks, line ends, blanks."""
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )  # fmt: skip


CHAT_TEMPLATE = """\
{%- macro render(content) -%}
{%- if content is string -%}{{- content -}}
{%- elif content is not none -%}
{%- for part in content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
{%- set seen.images = seen.images + 1 -%}
{%- if add_vision_id -%}{{- 'Picture ' ~ seen.images ~ ': ' -}}{%- endif -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif part.type == 'video' or 'video' in part or 'video_url' in part -%}
{%- set seen.videos = seen.videos + 1 -%}
{%- if add_vision_id -%}{{- 'Video ' ~ seen.videos ~ ': ' -}}{%- endif -%}
{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- elif 'text' in part -%}{{- part.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set seen = namespace(images=0, videos=0) -%}
{%- set has_system = messages and messages[0].role == 'system' -%}
{{- '<|im_start|>system\\n' -}}
{%- if has_system -%}{{- render(messages[0].content) -}}{%- else -%}{{- 'You are a helpful assistant.' -}}{%- endif -%}
{%- if tools -%}
{{- '\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n' -}}
{{- 'You are provided with function signatures within <tools></tools> XML tags:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' ~ (tool | tojson) -}}{%- endfor -%}
{{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within ' -}}
{{- '<tool_call></tool_call> XML tags:\\n<tool_call>\\n' -}}
{{- '{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call>' -}}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- for message in messages -%}
{%- if message.role == 'system' and loop.first -%}
{%- elif message.role == 'tool' -%}
{%- if loop.first or loop.previtem.role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
{{- '\\n<tool_response>\\n' -}}{{- render(message.content) -}}{{- '\\n</tool_response>' -}}
{%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
{%- else -%}
{{- '<|im_start|>' ~ message.role -}}
{%- if message.content -%}{{- '\\n' -}}{{- render(message.content) -}}
{%- elif not message.tool_calls -%}{{- '\\n' -}}{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- set call = call.function if call.function else call -%}
{{- '\\n<tool_call>\\n{\\"name\\": \\"' ~ call.name ~ '\\", \\"arguments\\": ' -}}
{{- call.arguments if call.arguments is string else (call.arguments | tojson) -}}{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


def corpus() -> list[str]:
    """Text that the vocabulary is learnt from; the project's own prompts weigh most."""
    things = [f"{colour} {shape}" for colour, shape in itertools.product(COLOURS, SHAPES)]
    asked = [prompts.detect([a, b], COLOURS) for a, b in itertools.permutations(SHAPES, 2)]
    asked += [prompts.detect([thing]) for thing in things] + [prompts.point([shape]) for shape in SHAPES]
    asked += [prompts.ground(f"the {size} {thing}") for thing in things for size in ("largest", "smallest", "leftmost")]
    asked += [prompts.moment(f"a {thing} moves") for thing in things] + [prompts.count(thing) for thing in things]
    asked += [prompts.EVENTS, prompts.PAGE, prompts.CAPTION, prompts.CAPTION_VIDEO, prompts.extract(["total", "date"])]
    objects = [{"bbox_2d": [0, 1, 2, 3], "label": s, "sub_label": c} for s, c in itertools.product(SHAPES, COLOURS)]
    written = [prompts.answer(objects), prompts.count_answer(3, "star"), prompts.moment_answer(1.5, 62.25)]
    written += [prompts.answer([{"start_time": "00:01.50", "end_time": "00:02.00", "description": f"A {t} appears."}])
                for t in things]  # fmt: skip
    written += [f'<html><body>\n<h1 data-bbox="1 2 3 4">Report</h1>\n<p data-bbox="1 2 3 4">{t}</p>' for t in things]
    return asked * 4 + written * 4 + CORPUS.read_text(encoding="utf-8").splitlines() * 2


def trained(lines: list[str]) -> Tokenizer:
    """The vocabulary learnt from `lines`, then the numbers, then special tokens in Qwen2.5's order."""
    learnt = byte_level(models.BPE(), r"\p{N}")
    trainer = trainers.BpeTrainer(
        vocab_size=BPE_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    learnt.train_from_iterator(lines, trainer)
    model = json.loads(learnt.to_str())["model"]
    vocabulary = model["vocab"] | {number: BPE_TOKENS + i for i, number in enumerate(NUMBERS)}
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    # Both ways to put three digits together: which two of them join first depends on the number.
    merges += [(n[:cut], n[cut:]) for n in NUMBERS for cut in range(1, len(n)) if n[cut:] in vocabulary]
    tokenizer = byte_level(models.BPE(vocabulary, merges), r"\p{N}{1,3}")
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ADDED])
    return tokenizer


def byte_level(model: models.BPE, digits: str) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(split_rule(digits)), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def number_values(tokenizer: Tokenizer) -> dict[int, int]:
    """The number that each token made of digits stands for; 7 and 07 both stand for 7."""
    return {tokenizer.token_to_id(text): int(text) for text in [*map(str, range(10)), *NUMBERS]}


def config(tokenizer: Tokenizer, context_tokens: int) -> dict[str, Any]:
    """What goes into tokenizer_config.json."""
    added = {
        str(tokenizer.token_to_id(text)): {
            "content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": text in SPECIAL,
        }
        for text in SPECIAL + ADDED
    }  # fmt: skip
    return {
        # Not Qwen2Tokenizer: transformers 5 would split digits its own way, whatever tokenizer.json says.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": added,
        "additional_special_tokens": [text for text in SPECIAL if text != "<|endoftext|>"],
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
        "errors": "replace",
        "model_max_length": context_tokens,
    }


def save(folder: Path, tokenizer: Tokenizer, context_tokens: int) -> None:
    """Writes tokenizer.json, vocab.json, merges.txt, tokenizer_config.json, added tokens and the chat template."""
    tokenizer.save(str(folder / "tokenizer.json"))
    model = json.loads(tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    written = {
        "vocab.json": model["vocab"],
        "tokenizer_config.json": config(tokenizer, context_tokens),
    }
    for name, value in written.items():
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
