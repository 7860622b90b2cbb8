"""Chat prompts with the greedy tokens that a reference gives after them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.naive_decoder import NaiveDecoder


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedyCase:
    """A prompt and the reference's completion, which ends with the end-of-sequence token or at its limit."""

    prompt: str
    prompt_ids: tuple[int, ...]
    greedy_ids: tuple[int, ...]


def read_cases(file: Path) -> list[GreedyCase]:
    """Reads the cases of a reference."""
    return [
        GreedyCase(prompt=case["prompt"], prompt_ids=tuple(case["prompt_ids"]), greedy_ids=tuple(case["greedy_ids"]))
        for case in json.loads(file.read_text(encoding="utf-8"))["cases"]
    ]


def agreement(decoder: NaiveDecoder, cases: Sequence[GreedyCase]) -> float:
    """The share of the completions' tokens that are the likeliest after the reference's tokens before them."""
    agreeing = total = 0
    for case in cases:
        expected = np.array(case.greedy_ids)
        tokens = np.array([case.prompt_ids + case.greedy_ids[:-1]])
        logits, _ = decoder.forward(tokens)
        agreeing += int((logits[0, -len(expected) :].argmax(axis=-1) == expected).sum())
        total += len(expected)
    return agreeing / total
