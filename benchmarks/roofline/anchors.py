"""The figures of `anchors.toml` as questions to the roofline, each with what was measured."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from server.sizing.demand import find_model
from server.sizing.gpus import Gpu, find_gpu
from server.sizing.roofline import NOW, PUBLISHED, Machine, Prediction, Reached, predict
from server.sizing.work import Request

FILE = Path(__file__).with_name("anchors.toml")
WHOLE = Reached(1, 1, 1, 0, 0, 0, overlaps=False, most_at_once=1)
"""Of figures that are what was reached, not what a data sheet says."""
REACHED = {"PUBLISHED": PUBLISHED, "NOW": NOW, "WHOLE": WHOLE}


@dataclass(frozen=True)
class Anchor:
    """One published figure."""

    source: str
    model: str
    precision: str
    gpu: Gpu
    gpus: int
    profile: str
    request: Request
    kind: str
    """`rate` in requests a second; of one request alone `latency` or `first token` in seconds, or `tokens` a second."""
    measured: float
    was_fitted: bool
    reached: str
    at_once: int = 256

    def predicted(self, reached: Reached | None = None) -> float:
        found = self.prediction(reached)
        if self.kind == "rate":
            return found.requests_per_s
        if self.kind == "tokens":
            return 1 / found.token_s
        if self.kind == "first token":
            return found.first_token_s
        return found.first_token_s + (self.request.answer_tokens - 1) * found.token_s

    def prediction(self, reached: Reached | None = None) -> Prediction:
        model = find_model(self.model, self.precision)
        machine = Machine(self.gpu, self.gpus)
        return predict(model, machine, self.request, reached or REACHED[self.reached], fits=self.at_once)

    @property
    def words(self) -> str:
        cards = f"{self.gpus} x " if self.gpus > 1 else ""
        return f"{self.model} {self.precision} on {cards}{self.gpu.name}, {self.profile}"


def anchors() -> list[Anchor]:
    """All of them, in the file's order."""
    file = tomllib.loads(FILE.read_text())
    profiles = {name: _request(fields) for name, fields in file["profile"].items()}
    reached = {source["id"]: source["reached"] for source in file["source"]}
    found: list[Anchor] = []
    for table in file["table"]:
        found += _of_table(table, profiles, reached[table["source"]])
    for table in file["latency"]:
        found += _of_latencies(table, profiles, reached[table["source"]])
    for row in file["rate"]:
        profile = row["profile"]
        about = (row["source"], row["model"], row["precision"], find_gpu(row["gpu"]), row["gpus"], profile)
        found.append(
            Anchor(*about, profiles[profile], "rate", row["rate"], False, reached[row["source"]], row["at_once"])
        )
    for row in file["alone"]:
        gpu = Gpu(row["machine"], 0, bandwidth_gbs=row["bandwidth_gbs"], bf16_tflops=row["bf16_tflops"])
        profile = row["profile"]
        about = (row["source"], row["model"], row["precision"], gpu, 1, profile)
        found.append(
            Anchor(*about, profiles[profile], row["kind"], row["measured"], row["fitted"], reached[row["source"]])
        )
    return found


def sources() -> dict[str, str]:
    """Id -> what it is."""
    return {source["id"]: source["what"] for source in tomllib.loads(FILE.read_text())["source"]}


def _request(fields: dict[str, Any]) -> Request:
    return Request(**{**fields, "picture_tokens": tuple(fields["picture_tokens"])})


def _of_table(table: dict[str, Any], profiles: dict[str, Request], reached: str) -> Iterator[Anchor]:
    for model, precision, card, count, *rates in table["rows"]:
        gpu = _eight_bit(find_gpu(card), precision)
        fitted = card == table["fit_card"] and count == table["fit_cards"]
        for profile, rate in zip(table["profiles"], rates, strict=True):
            if rate:
                about = (table["source"], model, precision, gpu, count, profile, profiles[profile])
                yield Anchor(*about, "rate", rate, fitted, reached)


def _of_latencies(table: dict[str, Any], profiles: dict[str, Request], reached: str) -> Iterator[Anchor]:
    for card, *latencies in table["rows"]:
        for profile, seconds in zip(table["profiles"], latencies, strict=True):
            about = (table["source"], table["model"], table["precision"], find_gpu(card), 1, profile, profiles[profile])
            yield Anchor(*about, "latency", seconds, card == "A100 80GB", reached)


def _eight_bit(gpu: Gpu, precision: str) -> Gpu:
    """Cards without fp8 were measured with int8 weights and activations (w8a8), which run twice as fast as bfloat16."""
    if precision == "fp8" and gpu.fp8_tflops is None and gpu.bf16_tflops:
        return replace(gpu, fp8_tflops=2 * gpu.bf16_tflops)
    return gpu
