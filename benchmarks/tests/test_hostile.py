"""The requests of the hostile constraints benchmark, and its limits."""

from dataclasses import replace

import pytest

from benchmarks.hostile import Result, Row, encoded, missed_bars
from onward.v1.completion_pb2 import CompleteRequest
from onward_server.api.decode import complete_request
from testing.hostile_constraints import HOSTILE

ROW = Row(constraint="nested repeats", ended="8 tokens", seconds=3.0, grown_mib=256)
REFUSED = Row(constraint="lookahead", ended="INVALID_ARGUMENT", seconds=0.0, grown_mib=0)
RESULT = Result(
    rows=[ROW, REFUSED],
    same_text=True,
    neighbors_outlasted_them=True,
    gap_p99_ms=100.0,
    gap_p99_beside_ms=200.0,
    gap_p99_ratio=2.0,
    grown_together_mib=256,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_each_constraint_is_sent_unchanged(name: str) -> None:
    decoded = complete_request(CompleteRequest(response_format=encoded(HOSTILE[name])).SerializeToString())
    assert decoded.request.response_format == HOSTILE[name]
    assert not [violation for violation in decoded.violations if violation.field.startswith("response_format")]


def test_a_result_just_within_the_limits_passes() -> None:
    assert not list(missed_bars(RESULT))


@pytest.mark.parametrize(
    ("result", "missed"),
    [
        (replace(RESULT, rows=[replace(ROW, ended="INTERNAL")]), "nested repeats is neither rejected nor finished"),
        (replace(RESULT, rows=[replace(ROW, seconds=3.01)]), "nested repeats took 3.01 s"),
        (replace(RESULT, rows=[replace(ROW, grown_mib=257)]), "nested repeats took 257 MiB"),
        (replace(RESULT, grown_together_mib=257), "together they left 257 MiB"),
        (replace(RESULT, same_text=False), "another text than alone"),
        (replace(RESULT, neighbors_outlasted_them=False), "ended before the last constraint"),
        (replace(RESULT, gap_p99_ratio=2.01), "grew to 2.01 times"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_limit_that_is_exceeded_is_named(result: Result, missed: str) -> None:
    (bar,) = missed_bars(result)
    assert missed in bar
