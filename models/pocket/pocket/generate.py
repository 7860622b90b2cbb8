"""Greedy decoding in PyTorch with a KV cache, in batches of prompts of equal length."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pocket.decoder import Decoder
from pocket.served_weights import served_config, served_weights

LARGEST_BATCH = 32


@dataclass(slots=True)
class Generated:
    """The output for one prompt."""

    ids: list[int] = field(default_factory=list[int])
    """Token ids, including the end token."""
    margins: list[float] = field(default_factory=list[float])
    """Difference between each token's logit and the next highest."""


def load_served() -> Decoder:
    """The served model."""
    config = served_config()
    weights = {name: torch.from_numpy(weight.copy()) for name, weight in served_weights(config).items()}
    return Decoder.of(config, weights)


@torch.inference_mode()
def generate(model: Decoder, prompts: Sequence[Sequence[int]], *, end: int, max_tokens: int) -> list[Generated]:
    """The greedy continuation of each prompt, in order."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        by_length[len(prompt)].append(place)
    answers = [Generated() for _ in prompts]
    for places in by_length.values():
        for first in range(0, len(places), LARGEST_BATCH):
            group = places[first : first + LARGEST_BATCH]
            ids = torch.tensor([prompts[place] for place in group])
            _continue(model, ids, [answers[place] for place in group], end, max_tokens)
    return answers


def _continue(model: Decoder, ids: Tensor, answers: list[Generated], end: int, max_tokens: int) -> None:
    caches = model.new_caches(len(answers))
    position = 0
    is_open = [True] * len(answers)
    for _ in range(min(max_tokens, model.config.max_positions - ids.shape[1])):
        hidden = model(ids, position, caches)
        position += ids.shape[1]
        best, tokens = model.logits(hidden[:, -1]).topk(2)
        margins = (best[:, 0] - best[:, 1]).tolist()
        for row, token in enumerate(tokens[:, 0].tolist()):
            if is_open[row]:
                answers[row].ids.append(token)
                answers[row].margins.append(margins[row])
                is_open[row] = token != end
        if not any(is_open):
            return
        ids = tokens[:, :1]
