"""The seam between asyncio and the engine's thread: streams, overload, cancellation, time limits, failure."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from onward_server.engine.engine import Engine
from onward_server.engine.generation import (
    EngineEvent,
    GenerationRequest,
    PrefillStarted,
    RequestFailed,
    SequenceExpired,
    TokenSampled,
)
from onward_server.errors import EngineFailed, EngineOverloaded
from onward_server.runtime.engine_thread import EngineThread, Generation
from onward_server.runtime.pacing import PrefillPacer
from onward_server.sampling import SamplingParams
from tests.fakes import FakeCausalLM

LONG = 10**6


def request(request_id: str, *, max_tokens: int = 5, num_choices: int = 1) -> GenerationRequest:
    return GenerationRequest(
        id=request_id,
        prompt_ids=[1, 2, 3],
        sampling=SamplingParams(temperature=0.0, max_tokens=max_tokens, seed=0),
        seeds=tuple(range(num_choices)),
    )


class Harness:
    """A running engine thread over a fake model."""

    def __init__(self, model: FakeCausalLM, max_queue: int) -> None:
        self.model = model
        self.engine = Engine(model)
        self.failed = asyncio.Event()
        self.thread = EngineThread(
            self.engine,
            num_slots=model.num_slots,
            max_queue=max_queue,
            pacer=PrefillPacer(max_chunk=16, step_target_s=0.1),
            on_failure=self.failed.set,
        )

    async def tokens(self, item: GenerationRequest) -> list[int]:
        async with self.thread.generate(item) as generation:
            return [event.token_id async for event in events(generation) if isinstance(event, TokenSampled)]

    async def until_idle(self) -> None:
        async with asyncio.timeout(5):
            while self.engine.has_work or self.engine.num_free_slots < self.model.num_slots:
                await asyncio.sleep(0)
        self.engine.check_integrity()


async def events(generation: Generation) -> AsyncIterator[EngineEvent]:
    async for event, _ in generation.events():
        yield event


@asynccontextmanager
async def running(model: FakeCausalLM | None = None, *, max_queue: int = 8) -> AsyncGenerator[Harness]:
    harness = Harness(model or FakeCausalLM(context_length=LONG + 10), max_queue)
    harness.thread.start()
    try:
        yield harness
    finally:
        await harness.thread.stop()


async def test_concurrent_requests_each_get_their_own_tokens() -> None:
    async with running() as harness:
        answers = await asyncio.gather(*(harness.tokens(request(f"r{number}")) for number in range(12)))
        assert answers == [[4, 5, 6, 7, 8]] * 12
        await harness.until_idle()


async def test_leaving_a_stream_early_frees_its_slot() -> None:
    async with running() as harness:
        async with harness.thread.generate(request("a", max_tokens=LONG)) as generation:
            async for _ in events(generation):
                break
        await harness.until_idle()


async def test_cancelling_a_task_frees_its_slots_whether_it_runs_or_waits() -> None:
    async with running() as harness:
        tasks = [asyncio.create_task(harness.tokens(request(f"r{i}", max_tokens=LONG))) for i in range(9)]
        async with asyncio.timeout(5):
            while harness.engine.num_free_slots:
                await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await harness.until_idle()
        assert await harness.tokens(request("after")) == [4, 5, 6, 7, 8]


async def test_a_full_queue_refuses_with_its_depth_and_a_retry_time() -> None:
    async with running(max_queue=2) as harness:
        tasks = [asyncio.create_task(harness.tokens(request(f"r{i}", max_tokens=LONG))) for i in range(6)]
        await asyncio.sleep(0)
        with pytest.raises(EngineOverloaded) as refusal:
            await harness.tokens(request("one too many"))
        assert (refusal.value.queue_depth, refusal.value.queue_limit) == (2, 2)
        assert refusal.value.retry_after_s > 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_stopped_choice_ends_while_the_other_goes_on() -> None:
    async with running() as harness, harness.thread.generate(request("a", num_choices=2)) as generation:
        generation.stop_choice(0)
        seen = [event async for event in events(generation) if isinstance(event, TokenSampled) and event.index == 1]
        assert len(seen) == 5


async def test_a_surplus_step_that_fails_after_every_choice_was_stopped_is_no_failure() -> None:
    """Whether the engine ran one more step before it heard of the stop once decided whether an answer was lost."""
    generation = Generation(1, lambda _: None)
    generation.put((PrefillStarted(request_id="a"), 0.0))
    generation.put((RequestFailed(request_id="a", error=EngineFailed("too late to matter")), 1.0))
    seen: list[EngineEvent] = []
    async for event, _ in generation.events():
        seen.append(event)
        generation.stop_choice(0)
    assert seen == [PrefillStarted(request_id="a")]


async def test_a_time_limit_ends_a_running_request() -> None:
    async with running() as harness:
        limit = time.monotonic() + 0.02
        async with harness.thread.generate(request("a", max_tokens=LONG), time_limit_at_s=limit) as generation:
            seen = [event async for event in events(generation)]
        assert seen[-1] == SequenceExpired(request_id="a", index=0)
        await harness.until_idle()


@pytest.mark.parametrize("is_busy", [False, True], ids=["a free slot", "a queue"])
async def test_a_request_whose_time_limit_has_passed_is_told_so_at_once_and_never_runs(*, is_busy: bool) -> None:
    async with running(FakeCausalLM(num_slots=1, context_length=LONG + 10)) as harness:
        busy = [asyncio.create_task(harness.tokens(request("busy", max_tokens=LONG)))] if is_busy else []
        await asyncio.sleep(0)
        async with harness.thread.generate(request("late"), time_limit_at_s=time.monotonic()) as generation:
            seen = [event async for event in events(generation)]
        assert seen == [SequenceExpired(request_id="late", index=0)]
        for task in busy:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_a_request_that_leaves_the_queue_as_at_its_deadline_never_runs() -> None:
    async with running(FakeCausalLM(num_slots=1, context_length=LONG + 10)) as harness:
        busy, waiting = (asyncio.create_task(harness.tokens(request(name, max_tokens=LONG))) for name in ("a", "b"))
        async with asyncio.timeout(5):
            while not harness.model.runs:
                await asyncio.sleep(0)
        for task in (waiting, busy):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await harness.until_idle()
        assert [kind for kind, _ in harness.model.runs].count("prefill") == 1


async def test_a_time_limit_is_forgotten_with_its_request() -> None:
    """Limits that lay far ahead once piled up for as long as the server ran."""
    async with running() as harness:
        async with harness.thread.generate(request("a"), time_limit_at_s=time.monotonic() + 1e6) as generation:
            seen = [event async for event in events(generation)]
        assert len(seen) == 6
    assert not harness.thread._limits


async def test_a_failed_run_reaches_its_request_and_the_engine_goes_on() -> None:
    async with running() as harness:
        harness.model.fail_next = 1
        with pytest.raises(EngineFailed):
            await harness.tokens(request("a"))
        assert await harness.tokens(request("b")) == [4, 5, 6, 7, 8]
        assert not harness.failed.is_set()


async def test_a_dead_engine_fails_all_it_runs_and_refuses_the_rest() -> None:
    def broken(_: list[int]) -> int:
        raise ZeroDivisionError

    async with running(FakeCausalLM(broken)) as harness:
        results = await asyncio.gather(*(harness.tokens(request(name)) for name in "ab"), return_exceptions=True)
        assert [type(result) for result in results] == [EngineFailed, EngineFailed]
        assert harness.failed.is_set()
        with pytest.raises(EngineFailed):
            await harness.tokens(request("c"))


async def test_a_surplus_step_that_fails_takes_no_other_choice_with_it() -> None:
    """A choice that its text had stopped once failed its siblings, when its surplus step gave no numbers."""
    seen: list[int] = []

    def script(token_ids: list[int]) -> int:
        seen.append(len(token_ids))
        return -1 if len(seen) == 4 else token_ids[-1] + 1  # the second draw of the first choice

    async with running(FakeCausalLM(script)) as harness:
        async with harness.thread.generate(request("a", num_choices=2)) as generation:
            generation.unfinished.remove(0)  # stopped, and the engine has not heard of it yet
            drawn = [
                event async for event in events(generation) if isinstance(event, TokenSampled) and event.index == 1
            ]
        assert len(drawn) == 5
