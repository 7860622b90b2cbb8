"""Estimates of the time until all waiting choices have a slot, compared with what a simulated server then does."""

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

import pytest

from onward_server.api.status import RETRY_SPREAD
from onward_server.runtime.slot_usage import SlotUsage

NUM_ARRIVALS = 3000


class Simulation:
    """A server with slots, a queue and random arrivals, on a clock of its own."""

    def __init__(self, num_slots: int, max_queue: int, duration_s: Callable[[Random], float], random: Random) -> None:
        self._num_slots = num_slots
        self._max_queue = max_queue
        self._duration_s = duration_s
        self._random = random
        self._usage = SlotUsage(num_slots)
        self._waiting: deque[str] = deque()
        self._ends: list[tuple[float, str]] = []
        self._started_s: dict[str, float] = {}
        self._refusals: list[tuple[float, float, str]] = []  # time, estimate, last of the queue

    def ratios(self, load: float) -> list[float]:
        """The estimate over the real time, for each rejection at this multiple of the capacity. Choices take 1 s."""
        arrival_s = 0.0
        for number in range(NUM_ARRIVALS):
            arrival_s += self._random.expovariate(load * self._num_slots)
            self._run_until(arrival_s)
            if len(self._ends) == self._num_slots and len(self._waiting) >= self._max_queue:
                estimate_s = self._usage.wait_s(len(self._waiting), arrival_s)
                self._refusals.append((arrival_s, estimate_s, self._waiting[-1]))
            else:
                self._waiting.append(f"r{number}")
                self._start(arrival_s)
        self._run_until(float("inf"))
        return [
            estimate_s / (self._started_s[last] - at_s)
            for at_s, estimate_s, last in self._refusals
            if at_s > 2  # the first durations are not known before
        ]

    def _run_until(self, at_s: float) -> None:
        while self._ends and self._ends[0][0] <= at_s:
            ended_s, request_id = heapq.heappop(self._ends)
            self._usage.end(request_id, 1, ended_s)
            self._start(ended_s)

    def _start(self, at_s: float) -> None:
        while self._waiting and len(self._ends) < self._num_slots:
            request_id = self._waiting.popleft()
            self._usage.start(request_id, 1, at_s)
            self._started_s[request_id] = at_s
            heapq.heappush(self._ends, (at_s + self._duration_s(self._random), request_id))


def equal(_: Random) -> float:
    return 1.0


def various(random: Random) -> float:
    return random.uniform(0.5, 1.5)


@pytest.mark.parametrize("load", [1.5, 4, 10])
@pytest.mark.parametrize(("num_slots", "max_queue"), [(8, 64), (4, 8), (1, 4)])
@pytest.mark.parametrize(
    ("duration_s", "within"),
    [(equal, 1.0), (various, 0.95)],
)
def test_the_retry_delay_of_rejected_calls_is_within_a_factor_of_two_of_the_time_until_the_queue_has_started(
    load: float, num_slots: int, max_queue: int, duration_s: Callable[[Random], float], within: float
) -> None:
    """The delay was 7 to 12 s, although all waiting choices started within 1 s."""
    lowest, highest = RETRY_SPREAD
    ratios = Simulation(num_slots, max_queue, duration_s, Random(f"{load} {num_slots}")).ratios(load)

    good = [ratio for ratio in ratios if lowest * ratio >= 0.5 and highest * ratio <= 2]
    assert len(ratios) > NUM_ARRIVALS / 5
    assert len(good) >= within * len(ratios)


def test_before_anything_has_ended_the_time_is_guessed_from_what_runs() -> None:
    usage = SlotUsage(2)
    assert usage.wait_s(1, now_s=0.0) == 0
    usage.start("a", 2, 0.0)
    assert usage.wait_s(1, now_s=0.25) == 0.75
    assert usage.wait_s(1, now_s=10.0) == 10.0


def test_choices_of_one_request_end_one_by_one() -> None:
    usage = SlotUsage(2)
    usage.start("a", 2, 0.0)
    usage.end("a", 1, 1.0)
    assert usage.wait_s(1, now_s=1.0) == 0
    assert usage.wait_s(2, now_s=1.0) == 0
    usage.end("a", 2, 3.0)
    usage.end("a", 1, 9.0)
    usage.end("unknown", 1, 9.0)
    assert usage.wait_s(3, now_s=9.0) == 2.0  # the mean of 1 s and 3 s


def test_a_choice_that_runs_unusually_long_lengthens_the_estimate() -> None:
    usage = SlotUsage(1)
    usage.start("a", 1, 0.0)
    usage.end("a", 1, 1.0)
    usage.start("b", 1, 1.0)
    assert usage.wait_s(2, now_s=2.0) == 1.0
    assert usage.wait_s(2, now_s=11.0) == 10.0
