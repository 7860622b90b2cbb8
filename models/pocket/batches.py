"""Puts conversations of about equal length together, so that little is padding; it knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from models.pocket.chat_format import Example, example
from models.pocket.corpus import training_conversation

WINDOW = 1024
"""Conversations that are sorted by length together; the unit in which training resumes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Conversations side by side, each from position 0 as it is served; padding stands at the end of a row."""

    ids: Tensor
    """(B, T)."""
    is_answer: Tensor
    """(B, T): the tokens to be learned."""

    @property
    def num_tokens(self) -> int:
        """Tokens, padding included."""
        return self.ids.numel()


def window_examples(window: int, tokenizer: Tokenizer, max_length: int) -> list[Example]:
    """The conversations of one window of the corpus in tokens, but for those that are too long."""
    numbers = range(window * WINDOW, (window + 1) * WINDOW)
    examples = (example(training_conversation(number), tokenizer) for number in numbers)
    return [one for one in examples if len(one.ids) <= max_length]


def batches_of(examples: Sequence[Example], max_tokens: int, padding: int) -> list[Batch]:
    """Batches of at most so many tokens, shortest conversations first."""
    groups: list[list[Example]] = [[]]
    for one in sorted(examples, key=lambda one: len(one.ids)):
        if groups[-1] and len(one.ids) * (len(groups[-1]) + 1) > max_tokens:
            groups.append([])
        groups[-1].append(one)
    return [_batch(group, padding) for group in groups]


def _batch(group: list[Example], padding: int) -> Batch:
    length = max(len(one.ids) for one in group)
    ids = torch.full((len(group), length), padding)
    is_answer = torch.zeros((len(group), length), dtype=torch.bool)
    for row, one in enumerate(group):
        ids[row, : len(one.ids)] = torch.tensor(one.ids)
        is_answer[row, : len(one.ids)] = torch.tensor(one.is_answer)
    return Batch(ids, is_answer)
