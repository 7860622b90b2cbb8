"""Where a request's time is said to have gone."""

from dataclasses import astuple

from onward_server.completion.request_timeline import RequestTimeline
from onward_server.domain import Timings


def clock() -> RequestTimeline:
    return RequestTimeline(arrived_s=100.0, admitted_s=101.0)


def test_the_spans_lie_between_the_moments() -> None:
    answered = clock()
    answered.record_prefill(103.0)
    answered.record_token(107.0)
    answered.record_token(111.0)
    answered.record_token(115.0)
    assert answered.timings(120.0) == Timings(queue_s=2.0, prefill_s=4.0, decode_s=8.0, first_token_s=7.0, total_s=20.0)


def test_one_token_takes_no_time_to_decode() -> None:
    answered = clock()
    answered.record_prefill(103.0)
    answered.record_token(107.0)
    assert answered.timings(120.0).decode_s == 0.0


def test_what_was_not_reached_ends_now() -> None:
    waiting = clock()
    assert waiting.timings(106.0) == Timings(queue_s=5.0, prefill_s=0.0, decode_s=0.0, first_token_s=6.0, total_s=6.0)
    waiting.record_prefill(103.0)
    assert waiting.timings(106.0) == Timings(queue_s=2.0, prefill_s=3.0, decode_s=0.0, first_token_s=6.0, total_s=6.0)


def test_no_span_is_negative_where_a_step_began_before_the_admission() -> None:
    """The step that took the request in had begun a moment earlier."""
    answered = clock()
    answered.record_prefill(100.5)
    answered.record_token(101.5)
    assert min(astuple(answered.timings(102.0))) >= 0.0
