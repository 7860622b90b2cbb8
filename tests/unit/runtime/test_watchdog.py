"""When an engine counts as hung, from the durations of runs on a clock of the test's own."""

from dataclasses import dataclass

import numpy as np
import pytest

from onward_server.errors import EngineFailed
from onward_server.runtime.watchdog import RunDurations, Watchdog, WatchedModel, measure
from tests.fakes import FakeCausalLM

LIMIT_S = 30.0


@dataclass(slots=True)
class Runs:
    """A fake model whose runs take as long as the test says, on a clock that nothing else advances."""

    model: FakeCausalLM
    run_s: float = 0.0
    now_s: float = 0.0

    def advance(self) -> None:
        self.now_s += self.run_s

    def clock(self) -> float:
        return self.now_s


def runs(context_length: int = 4096) -> Runs:
    timed = Runs(FakeCausalLM(context_length=context_length))
    timed.model.on_run = timed.advance
    return timed


def hung_after(watchdog: Watchdog, *, at_most_s: int = 100_000) -> int | None:
    """How many seconds the current work lasts before it counts as hung; None: longer than `at_most_s`."""
    watchdog.hung_for_s(0)
    return next((second for second in range(1, at_most_s) if watchdog.hung_for_s(1.0) is not None), None)


def test_an_idle_engine_is_never_hung() -> None:
    watchdog = Watchdog(limit_s=LIMIT_S)

    assert watchdog.is_idle
    assert hung_after(watchdog) is None


def test_work_that_lasts_longer_than_the_limit_is_hung() -> None:
    watchdog = Watchdog(limit_s=LIMIT_S)
    watchdog.begin(predicted_s=0.1)

    assert hung_after(watchdog) == 31


def test_an_engine_that_goes_from_work_to_work_is_not_hung() -> None:
    watchdog = Watchdog(limit_s=LIMIT_S)
    for _ in range(100):
        watchdog.begin()
        assert watchdog.hung_for_s(25.0) is None
    watchdog.rest()

    assert hung_after(watchdog) is None


def test_a_slow_run_of_a_large_model_is_hung_only_after_ten_times_its_predicted_duration() -> None:
    slow, watchdog = runs(), Watchdog(limit_s=LIMIT_S)
    slow.run_s = 20.0
    model = WatchedModel(slow.model, watchdog, measure(slow.model, clock=slow.clock), clock=slow.clock)
    model.prefill(0, np.arange(4))
    within: list[int | None] = []
    slow.model.on_run = lambda: within.append(hung_after(watchdog))
    model.decode([0], [1])

    assert within == [201]


def test_the_prediction_of_a_prefill_run_grows_with_its_tokens() -> None:
    slow, watchdog = runs(), Watchdog(limit_s=LIMIT_S)
    durations = RunDurations(decode_s=1.0, prefill_token_s=0.5)
    model = WatchedModel(slow.model, watchdog, durations, clock=slow.clock)
    within: list[int | None] = []
    slow.model.on_run = lambda: within.append(hung_after(watchdog))
    model.prefill(0, np.arange(4))
    model.prefill(1, np.arange(512))

    assert within == [31, 10 * (1 + 256) + 1]


def test_predictions_follow_runs_that_become_slower() -> None:
    slow, watchdog = runs(), Watchdog(limit_s=LIMIT_S)
    model = WatchedModel(slow.model, watchdog, measure(slow.model, clock=slow.clock), clock=slow.clock)
    slow.run_s = 40.0
    for slot in range(4):
        model.prefill(slot, np.arange(100))
    for _ in range(20):
        model.decode([0], [1])
    within: list[int | None] = []
    slow.model.on_run = lambda: within.append(hung_after(watchdog))
    model.decode([0], [1])

    assert within[0] is not None
    assert within[0] > 350


def test_a_run_that_fails_ends_like_any_other() -> None:
    failing, watchdog = runs(), Watchdog(limit_s=LIMIT_S)
    model = WatchedModel(failing.model, watchdog, RunDurations(decode_s=50.0, prefill_token_s=0.0))
    failing.model.fail_next = 1
    with pytest.raises(EngineFailed):
        model.prefill(0, np.arange(4))

    assert hung_after(watchdog) == 31


def test_measuring_leaves_all_slots_empty() -> None:
    short = runs(context_length=2)

    durations = measure(short.model, clock=short.clock)

    assert durations == RunDurations(decode_s=0.0, prefill_token_s=0.0)
    assert short.model.slots == [[]] * short.model.num_slots
