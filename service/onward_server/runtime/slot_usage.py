"""Estimates when waiting choices will have a slot, from how long recent ones have held theirs."""

from collections import deque

_FIRST_GUESS_S = 1.0
_MIN_REMEMBERED = 64


class SlotUsage:
    """The choices that hold a slot, and for how long the last ones held theirs. Times are of one monotonic clock."""

    def __init__(self, num_slots: int) -> None:
        self._num_slots = num_slots
        self._holders: dict[str, tuple[float, int]] = {}  # request id to its start and its number of choices
        self._held_s: deque[float] = deque(maxlen=max(_MIN_REMEMBERED, 2 * num_slots))

    def start(self, request_id: str, num_choices: int, at_s: float) -> None:
        """Records that a request got its slots."""
        self._holders[request_id] = (at_s, num_choices)

    def end(self, request_id: str, num_choices: int, at_s: float) -> None:
        """Records that choices of a request gave up their slots, for whatever reason. Ignored if it had none."""
        started_s, num_holding = self._holders.get(request_id, (at_s, 0))
        ending = min(num_choices, num_holding)
        if ending == num_holding:
            self._holders.pop(request_id, None)
        else:
            self._holders[request_id] = (started_s, num_holding - ending)
        self._held_s.extend([max(at_s - started_s, 0.0)] * ending)

    def wait_s(self, num_waiting: int, now_s: float) -> float:
        """Estimated time until this many waiting choices have all got a slot.

        Assumes that a slot becomes free when its holder has held it for the usual duration, and again each time that
        duration has passed.
        """
        ages_s = [now_s - started_s for started_s, count in self._holders.values() for _ in range(count)]
        usual_s = self._usual_s(ages_s)
        left_s = sorted(max(usual_s - age_s, 0.0) for age_s in ages_s[: self._num_slots])
        left_s = [0.0] * (self._num_slots - len(left_s)) + left_s
        rounds, last = divmod(max(num_waiting, 1) - 1, self._num_slots)
        return left_s[last] + rounds * usual_s

    def _usual_s(self, ages_s: list[float]) -> float:
        """The mean time that a slot is held. Choices that have exceeded it raise it by their excess."""
        if not self._held_s:
            return max(_FIRST_GUESS_S, 2 * max(ages_s, default=0.0))
        mean_s = sum(self._held_s) / len(self._held_s)
        return mean_s + sum(max(age_s - mean_s, 0.0) for age_s in ages_s) / len(self._held_s)
