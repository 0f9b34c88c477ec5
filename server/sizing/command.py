"""`python -m server fit`: the answer as a table, or as JSON; and model cards."""

import argparse
import json
import sys
from collections.abc import Sequence

from server.errors import CallerError
from server.sizing.asked import demand_from
from server.sizing.cards import Card, cards, find_card, short_name
from server.sizing.explain import as_json, text
from server.sizing.fit import fit
from server.sizing.gpus import gpus

FITS, DOES_NOT_FIT, USAGE_ERROR = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Answer, on stdout; the exit status: 0 it fits, 1 it does not as asked, 2 the question cannot be."""
    asked = vars(_parser().parse_args(arguments))
    show_json, show_card = asked.pop("json"), asked.pop("card")
    try:
        if show_card:
            card = find_card(asked["model"])
            sys.stdout.write(_json({"id": card.id, **card.public()}) if show_json else card_text(card))
            return FITS
        answer = fit(demand_from({name: value for name, value in asked.items() if value is not None}, folders=True))
    except CallerError as exc:
        sys.stderr.write(f"{exc.message}\n")
        return USAGE_ERROR
    sys.stdout.write(_json(as_json(answer)) if show_json else text(answer))
    return FITS if answer.verdict == "fits" else DOES_NOT_FIT


def _parser() -> argparse.ArgumentParser:
    models = ", ".join(short_name(card) for card in cards().values())
    parser = argparse.ArgumentParser(
        prog="python -m server fit",
        description="Whether a Qwen2.5-VL fits a card, how much of it, and how to start it. Needs no GPU.",
        epilog="Exit status: 0 it fits, 1 it does not as asked, 2 the question cannot be answered.",
    )
    parser.add_argument(
        "--model", required=True, help=f"{models}, a name on Hugging Face, or a folder: ./my-model, /models/mine"
    )
    parser.add_argument("--gpu", help=f"{', '.join(gpus())}, or a size such as '24 GB'")
    parser.add_argument("--gpus", help="how many of them (default 1)")
    parser.add_argument("--precision", help="bf16, fp8, awq (int4) or gptq; default: as the model is stored")
    parser.add_argument("--max-pixels", help="largest picture shown, in pixels (default 1003520, 1,280 tokens)")
    parser.add_argument("--pictures", help="in one prompt (default 1)")
    parser.add_argument("--frames", help="of one clip in each prompt (default 0; 2 a second)")
    parser.add_argument("--frame-pixels", help="largest frame shown, in pixels (default 602112)")
    parser.add_argument("--clip-tokens", help="visual tokens that one clip may cost (default 8192)")
    parser.add_argument("--text-tokens", help="of the prompt beside pictures (default 512)")
    parser.add_argument("--answer-tokens", help="of the answer (default 1024)")
    parser.add_argument("--context", help="longest request in tokens; default: what fits, up to 32768")
    parser.add_argument("--concurrency", help="requests at once; default: what fits")
    parser.add_argument("--batched-tokens", help="--max-num-batched-tokens (default 8192 or the largest item)")
    parser.add_argument("--kv-cache", help="auto or fp8")
    parser.add_argument("--memory-used", help="share of the card that vLLM may take (default 0.92 or less)")
    parser.add_argument("--card", action="store_true", help="show the model's card instead")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def card_text(card: Card) -> str:
    """A model card for people."""
    public = card.public()
    made_from = f", made from {card.base}" if card.base else ""
    lines = [
        card.id,
        f"  parameters   {card.parameters:,}, stored as {card.precision}{made_from}",
        f"  licence      {card.licence['name']}; commercial use: {card.licence['commercial_use']}",
        f"               {card.licence['summary']}",
        f"               {card.licence['source']}",
        f"  released     {public['released'] or 'day not found'} ({card.release_source})",
        f"  context      {card.context_tokens:,} tokens; {card.context['note']}",
        f"  good for     {card.good_for}",
        f"  scores       published, of {public['scores_of']}",
    ]
    lines += [f"    {score['value']:>6g}  {score['name']} ({score['about']})" for score in public["scores"]]
    lines += [f"  sources      {source}" for source in dict.fromkeys(score["source"] for score in public["scores"])]
    return "\n".join(lines) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
