"""The timings of a request, computed from the moments of its stages."""

from dataclasses import astuple

from onward_server.completion.request_timeline import RequestTimeline
from onward_server.domain import Timings


def timeline() -> RequestTimeline:
    return RequestTimeline(arrived_s=100.0, admitted_s=101.0)


def test_timings_are_the_durations_between_the_moments() -> None:
    finished = timeline()
    finished.record_prefill(103.0)
    finished.record_token(107.0)
    finished.record_token(111.0)
    finished.record_token(115.0)
    assert finished.timings(120.0) == Timings(queue_s=2.0, prefill_s=4.0, decode_s=8.0, first_token_s=7.0, total_s=20.0)


def test_one_token_takes_no_time_to_decode() -> None:
    finished = timeline()
    finished.record_prefill(103.0)
    finished.record_token(107.0)
    assert finished.timings(120.0).decode_s == 0.0


def test_a_stage_that_was_not_reached_counts_as_reached_now() -> None:
    waiting = timeline()
    assert waiting.timings(106.0) == Timings(queue_s=5.0, prefill_s=0.0, decode_s=0.0, first_token_s=6.0, total_s=6.0)
    waiting.record_prefill(103.0)
    assert waiting.timings(106.0) == Timings(queue_s=2.0, prefill_s=3.0, decode_s=0.0, first_token_s=6.0, total_s=6.0)


def test_no_timing_is_negative_if_a_step_began_before_the_admission() -> None:
    """The step that admitted the request had begun a moment earlier."""
    finished = timeline()
    finished.record_prefill(100.5)
    finished.record_token(101.5)
    assert min(astuple(finished.timings(102.0))) >= 0.0
