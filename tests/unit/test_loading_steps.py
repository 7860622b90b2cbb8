import asyncio
import logging
from collections.abc import Generator

import pytest

from onward_server import loading_steps
from onward_server.loading_steps import LoadingSteps


@pytest.fixture
def reported(caplog: pytest.LogCaptureFixture) -> Generator[asyncio.Event]:
    """Set by the first report."""
    caplog.set_level(logging.INFO)
    event = asyncio.Event()

    def notice(_: logging.LogRecord) -> bool:
        event.set()
        return True

    loading_steps.logger.addFilter(notice)
    yield event
    loading_steps.logger.removeFilter(notice)


async def test_a_slow_step_is_reported_while_it_runs_and_when_it_is_done(
    reported: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    steps = LoadingSteps()
    reports = asyncio.create_task(steps.report_while_slow(every_s=0))
    with steps.step("m: allocating 1000 slots"):
        await reported.wait()
        reports.cancel()

    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "m: allocating 1000 slots: not done after 0 s"
    assert lines[-1] == "m: allocating 1000 slots: 0.0 s"
