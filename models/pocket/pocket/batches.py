"""Batches of conversations of similar length, made by worker processes on request."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from multiprocessing import get_context
from random import Random

import numpy as np
from numpy.typing import NDArray

from pocket.chat_format import PADDING, Example, example
from pocket.corpus import training_conversation
from pocket.tokenizer import load_tokenizer, token_id

WINDOW = 1024
"""Number of conversations that are sorted by length together. Training resumes at a window."""

WINDOWS_AHEAD = 3
"""Windows that each worker makes ahead of need."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Conversations side by side, each from position 0 as in serving, with padding at the end of a row."""

    ids: NDArray[np.int16]
    """(B, T)."""
    is_answer: NDArray[np.bool_]
    """(B, T), true for the tokens to be learned."""

    @property
    def num_tokens(self) -> int:
        """Number of tokens, including padding."""
        return self.ids.size


def windows(first: int, max_tokens: int, max_length: int, workers: int = 0) -> Iterator[list[Batch]]:
    """The batches of each window in turn, without end. Worker processes make the same batches sooner."""
    make = partial(window_batches, max_tokens=max_tokens, max_length=max_length)
    if workers:
        yield from _made_ahead(make, first, workers)
    else:
        yield from map(make, count(first))


def _made_ahead(make: Callable[[int], list[Batch]], first: int, workers: int) -> Iterator[list[Batch]]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        numbers = count(first)
        waiting = deque(pool.submit(make, window) for window in islice(numbers, WINDOWS_AHEAD * workers))
        try:
            for window in numbers:
                waiting.append(pool.submit(make, window))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def window_batches(window: int, max_tokens: int, max_length: int) -> list[Batch]:
    """The conversations of a window, except those over `max_length`, in batches in a random but fixed order."""
    tokenizer = load_tokenizer()
    numbers = range(window * WINDOW, (window + 1) * WINDOW)
    examples = (example(training_conversation(number), tokenizer) for number in numbers)
    batches = batches_of([one for one in examples if len(one.ids) <= max_length], max_tokens)
    return Random(window).sample(batches, len(batches))


def batches_of(examples: Sequence[Example], max_tokens: int) -> list[Batch]:
    """Batches of at most `max_tokens` tokens, the shortest conversations first."""
    padding = token_id(load_tokenizer(), PADDING)
    groups: list[list[Example]] = [[]]
    for one in sorted(examples, key=lambda one: len(one.ids)):
        if groups[-1] and len(one.ids) * (len(groups[-1]) + 1) > max_tokens:
            groups.append([])
        groups[-1].append(one)
    return [_batch(group, padding) for group in groups]


def _batch(group: list[Example], padding: int) -> Batch:
    length = max(len(one.ids) for one in group)
    ids = np.full((len(group), length), padding, np.int16)
    is_answer = np.zeros((len(group), length), np.bool_)
    for row, one in enumerate(group):
        ids[row, : len(one.ids)] = one.ids
        is_answer[row, : len(one.ids)] = one.is_answer
    return Batch(ids, is_answer)
