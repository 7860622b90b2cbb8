"""How many prompt tokens a step may prefill while other sequences decode, learned from measured steps."""

from onward_server.engine.engine import StepResult

_SMOOTHING = 0.2
_MIN_BUDGET = 16


class PrefillPacer:
    """Keeps steps with decoding near `step_target_s`. Each may prefill 16 tokens or more, so no prompt starves."""

    def __init__(self, *, max_chunk: int, step_target_s: float) -> None:
        self.max_chunk = max_chunk
        """Prompt tokens of a step without decoding."""
        self._step_target_s = step_target_s
        self._decode_s: float | None = None
        self._prefill_token_s: float | None = None

    @property
    def budget_beside_decoding(self) -> int:
        """Prompt tokens of the next step if sequences decode in it; `max_chunk` until a prefill was measured."""
        if not self._prefill_token_s:
            return self.max_chunk
        left_s = self._step_target_s - (self._decode_s or 0.0)
        return max(_MIN_BUDGET, min(self.max_chunk, int(left_s / self._prefill_token_s)))

    def observe(self, result: StepResult, duration_s: float) -> None:
        """Learns from the duration of a step."""
        if result.num_decoded and not result.num_prefilled:
            self._decode_s = _smoothed(self._decode_s, duration_s)
        elif result.num_prefilled:
            decode_s = (self._decode_s or 0.0) if result.num_decoded else 0.0
            token_s = max(duration_s - decode_s, 0.0) / result.num_prefilled
            self._prefill_token_s = _smoothed(self._prefill_token_s, token_s)


def _smoothed(old: float | None, new: float) -> float:
    return new if old is None else old + _SMOOTHING * (new - old)
