"""Finds an engine that hangs, by comparing its runs with their predicted durations.

The engine's thread reports what it begins, and the event loop checks how long that has lasted. Work counts as hung once
it has lasted longer than a limit and ten times as long as predicted. So a slow run of a large model does not count, and
an idle engine never does.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from onward_server.model.causal_lm import CausalLM, Logits, TokenIds

_MARGIN = 10
_SMOOTHING = 0.2
_MEASURED_TOKENS = 16
"""Shorter prefill runs tell little about the time that a token takes: they mostly wait for the weights."""


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """A piece of work, compared by identity."""

    allowed_s: float


class Watchdog:
    """Watches one engine. Its thread calls `begin` and `rest`; the event loop calls the other methods."""

    def __init__(self, *, limit_s: float) -> None:
        """Takes the duration in seconds up to which work never counts as hung."""
        self.limit_s = limit_s
        self._work: _Work | None = None  # only ever replaced as a whole, so no lock is needed
        self._checked: _Work | None = None
        self._lasted_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether the engine has no work."""
        return self._work is None

    def begin(self, predicted_s: float = 0.0) -> None:
        """Begins a piece of work, which ends the previous one."""
        self._work = _Work(max(self.limit_s, _MARGIN * predicted_s))

    def rest(self) -> None:
        """Ends the last piece of work."""
        self._work = None

    def hung_for_s(self, elapsed_s: float) -> float | None:
        """How long the current work has lasted, if it counts as hung; else None.

        Args:
            elapsed_s: Time since the last check. A caller that checks late passes less than the real time: a process
                that was suspended in between has done no work either.
        """
        work = self._work
        if work is None or work is not self._checked:
            self._checked, self._lasted_s = work, 0.0
            return None
        self._lasted_s += elapsed_s
        return self._lasted_s if self._lasted_s > work.allowed_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDurations:
    """How long runs of a model take, in seconds."""

    decode_s: float
    prefill_token_s: float
    """What each prompt token adds to the duration of a prefill run."""


def measure(model: CausalLM, *, clock: Callable[[], float] = time.monotonic) -> RunDurations:
    """Measures one run of each kind. All slots are empty before and after.

    Raises:
        EngineFailed: A run failed.
    """
    token_ids = np.arange(min(_MEASURED_TOKENS, model.context_length - 1), dtype=np.int64) % model.vocabulary_size
    started_s = clock()
    model.prefill(0, token_ids)
    prefilled_s = clock()
    model.decode([0], [0])
    decoded_s = clock()
    model.release(0)
    decode_s = decoded_s - prefilled_s
    return RunDurations(
        decode_s=decode_s, prefill_token_s=max(prefilled_s - started_s - decode_s, 0.0) / len(token_ids)
    )


class WatchedModel:
    """A model that reports its runs to a watchdog, with predictions that follow the measured durations."""

    def __init__(
        self,
        model: CausalLM,
        watchdog: Watchdog,
        durations: RunDurations,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes a model that nothing else uses from then on, and the first predictions."""
        self.num_slots = model.num_slots
        self.context_length = model.context_length
        self.vocabulary_size = model.vocabulary_size
        self.fixed_chunk = model.fixed_chunk
        self.switch_length = model.switch_length
        self.copy = model.copy
        self.release = model.release
        self._model = model
        self._watchdog = watchdog
        self._clock = clock
        self._decode_s = durations.decode_s
        self._prefill_token_s = durations.prefill_token_s

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        """See `CausalLM.prefill`."""
        size = len(token_ids)
        predicted_s = self._decode_s + size * self._prefill_token_s
        run = partial(self._model.prefill, slot, token_ids, total_length=total_length)
        logits, lasted_s = self._timed(predicted_s, run)
        if size >= _MEASURED_TOKENS:
            token_s = max(lasted_s - self._decode_s, 0.0) / size
            self._prefill_token_s += _SMOOTHING * (token_s - self._prefill_token_s)
        return logits

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        """See `CausalLM.decode`."""
        logits, lasted_s = self._timed(self._decode_s, lambda: self._model.decode(slots, token_ids))
        self._decode_s += _SMOOTHING * (lasted_s - self._decode_s)
        return logits

    def _timed(self, predicted_s: float, run: Callable[[], Logits]) -> tuple[Logits, float]:
        """Runs the model; returns the logits and the duration. Whatever the engine does next is new work."""
        self._watchdog.begin(predicted_s)
        started_s = self._clock()
        try:
            return run(), self._clock() - started_s
        finally:
            self._watchdog.begin()
