"""Blocking of tokens, which never blocks all remaining tokens."""

import numpy as np

from onward_server.engine.logits_processors import block

IMPOSSIBLE = -np.inf


def test_blocked_tokens_become_impossible() -> None:
    scores = np.array([1, 2, 3], np.float32)
    block(scores, [0, 2])
    assert scores.tolist() == [IMPOSSIBLE, 2, IMPOSSIBLE]


def test_tokens_are_not_blocked_where_no_other_is_possible() -> None:
    scores = np.array([1, IMPOSSIBLE, 3], np.float32)
    block(scores, [0, 2])
    assert scores.tolist() == [1, IMPOSSIBLE, 3]


def test_blocking_no_token_changes_nothing() -> None:
    scores = np.array([1, 2], np.float32)
    block(scores, [])
    assert scores.tolist() == [1, 2]
