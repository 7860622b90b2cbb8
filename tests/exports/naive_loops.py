"""Compares tokens with a loop over an ONNX file that runs the whole text in each step."""

from collections.abc import Sequence

import numpy as np

from tests.exports.decoding import NUM_TOKENS
from tests.naive_decoder import NaiveDecoder


def checked_tokens(naive: NaiveDecoder, prompt: Sequence[int], output: Sequence[int], margin: float) -> int:
    """Checks each token against a run of the whole text before it, unless two logits are nearly equal.

    Returns:
        The number of tokens that were checked.
    """
    assert len(output) == NUM_TOKENS
    checked = 0
    for step, token_id in enumerate(output):
        logits = naive.forward(np.array([[*prompt, *output[:step]]], np.int64))[0][0, -1].astype(np.float32)
        second, first = np.partition(logits, -2)[-2:]
        if first - second >= margin * np.ptp(logits):
            assert int(logits.argmax()) == token_id, step
            checked += 1
    return checked
