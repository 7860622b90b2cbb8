"""The engine thread as asyncio sees it: streams, overload, cancellation, time limits and failures."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

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
from onward_server.runtime import engine_thread
from onward_server.runtime.engine_thread import EngineThread, Generation, TimedEvent
from onward_server.runtime.pacing import PrefillPacer
from onward_server.runtime.watchdog import Watchdog
from onward_server.sampling import SamplingParams
from tests.fakes import FakeCausalLM
from tests.waiting import WAIT_S, Condition

LONG = 10**6


def request(request_id: str, *, max_tokens: int = 5, num_choices: int = 1) -> GenerationRequest:
    return GenerationRequest(
        id=request_id,
        prompt_ids=[1, 2, 3],
        sampling=SamplingParams(temperature=0.0, max_tokens=max_tokens, seed=0),
        seeds=tuple(range(num_choices)),
    )


class Harness:
    """A running engine thread on a fake model."""

    def __init__(
        self, model: FakeCausalLM, max_queue: int, hang_limit_s: float = WAIT_S, kind: type[Generation] = Generation
    ) -> None:
        self.model = model
        self.has_run = Condition()
        """Notified at the start of each run."""
        model.on_run = self.has_run.notify
        self.engine = Engine(model)
        self.failed = asyncio.Event()
        self.thread = EngineThread(
            self.engine,
            max_queue=max_queue,
            pacer=PrefillPacer(max_chunk=16, step_target_s=0.1),
            watchdog=Watchdog(limit_s=hang_limit_s),
            on_failure=self.failed.set,
            generation_type=kind,
        )

    async def tokens(self, item: GenerationRequest) -> list[int]:
        async with self.thread.generate(item) as generation:
            return [event.token_id async for event in events(generation) if isinstance(event, TokenSampled)]

    async def check_idle(self) -> None:
        """Checks that the engine has no work once the thread has obeyed every command so far."""
        has_obeyed, obeyed = Condition(), list[bool]()

        def obey() -> None:
            obeyed.append(True)
            has_obeyed.notify()

        self.thread._commands.put(obey)
        await has_obeyed.until(lambda: bool(obeyed))
        assert not self.engine.has_work
        assert self.engine.num_free_slots == self.model.num_slots
        self.engine.check_integrity()


async def events(generation: Generation) -> AsyncIterator[EngineEvent]:
    async for event, _ in generation.events():
        yield event


@asynccontextmanager
async def running(
    model: FakeCausalLM | None = None,
    *,
    max_queue: int = 8,
    hang_limit_s: float = WAIT_S,
    kind: type[Generation] = Generation,
) -> AsyncGenerator[Harness]:
    harness = Harness(model or FakeCausalLM(context_length=LONG + 10), max_queue, hang_limit_s, kind)
    harness.thread.start()
    try:
        yield harness
    finally:
        await harness.thread.stop()


async def test_concurrent_requests_each_get_their_own_tokens() -> None:
    async with running() as harness:
        results = await asyncio.gather(*(harness.tokens(request(f"r{number}")) for number in range(12)))
        assert results == [[4, 5, 6, 7, 8]] * 12
        await harness.check_idle()


async def test_leaving_a_stream_early_frees_its_slot() -> None:
    async with running() as harness:
        async with harness.thread.generate(request("a", max_tokens=LONG)) as generation:
            async for _ in events(generation):
                break
        await harness.check_idle()


async def test_cancelling_the_task_of_a_running_or_waiting_request_frees_its_slots() -> None:
    async with running() as harness:
        tasks = [asyncio.create_task(harness.tokens(request(f"r{i}", max_tokens=LONG))) for i in range(9)]
        await harness.has_run.until(lambda: not harness.engine.num_free_slots)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await harness.check_idle()
        assert await harness.tokens(request("after")) == [4, 5, 6, 7, 8]


async def test_a_full_queue_rejects_requests_with_its_depth_and_a_retry_time() -> None:
    async with running(max_queue=2) as harness, AsyncExitStack() as requests:
        for number in range(6):
            await requests.enter_async_context(harness.thread.generate(request(f"r{number}", max_tokens=LONG)))
        with pytest.raises(EngineOverloaded) as overload:
            await harness.tokens(request("one too many"))
        assert (overload.value.queue_depth, overload.value.queue_limit) == (2, 2)
        assert overload.value.retry_after_s > 0


async def test_a_stopped_choice_ends_while_the_other_continues() -> None:
    async with running() as harness, harness.thread.generate(request("a", num_choices=2)) as generation:
        generation.stop_choice(0)
        seen = [event async for event in events(generation) if isinstance(event, TokenSampled) and event.index == 1]
        assert len(seen) == 5


async def test_a_surplus_step_that_fails_after_every_choice_was_stopped_is_ignored() -> None:
    """The engine may run one more step before it learns that the choices were stopped."""
    generation = Generation(1, lambda _: None)
    generation.put((PrefillStarted(request_id="a"), 0.0))
    generation.put((RequestFailed(request_id="a", error=EngineFailed("too late to matter")), 1.0))
    seen: list[EngineEvent] = []
    async for event, _ in generation.events():
        seen.append(event)
        generation.stop_choice(0)
    assert seen == [PrefillStarted(request_id="a")]


@dataclass(slots=True)
class FakeClock:
    """Replaces the module `time`; advances on demand."""

    now_s: float = 0.0

    def monotonic(self) -> float:
        return self.now_s


async def test_a_time_limit_ends_a_running_request(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(engine_thread, "time", clock)
    async with running() as harness:
        seen: list[EngineEvent] = []
        async with harness.thread.generate(request("a", max_tokens=LONG), time_limit_at_s=1.0) as generation:
            async for event in events(generation):
                seen.append(event)
                clock.now_s = 1.0
        assert isinstance(seen[1], TokenSampled)
        assert seen[-1] == SequenceExpired(request_id="a", index=0)
        await harness.check_idle()


@pytest.mark.parametrize("is_busy", [False, True], ids=["a free slot", "a queue"])
async def test_a_request_whose_time_limit_has_passed_expires_at_once_and_never_runs(*, is_busy: bool) -> None:
    async with running(FakeCausalLM(num_slots=1, context_length=LONG + 10)) as harness, AsyncExitStack() as requests:
        busy = request("busy", max_tokens=LONG)
        running_request = await requests.enter_async_context(harness.thread.generate(busy)) if is_busy else None
        async with harness.thread.generate(request("late"), time_limit_at_s=time.monotonic()) as generation:
            seen = [event async for event in events(generation)]
        assert seen == [SequenceExpired(request_id="late", index=0)]
        assert running_request is None or running_request.unfinished == {0}


async def test_a_request_that_leaves_the_queue_never_runs() -> None:
    async with running(FakeCausalLM(num_slots=1, context_length=LONG + 10)) as harness:
        async with harness.thread.generate(request("a", max_tokens=LONG)):
            await harness.has_run.until(lambda: bool(harness.model.runs))
            async with harness.thread.generate(request("b", max_tokens=LONG)):
                pass
        await harness.check_idle()
        assert [kind for kind, _ in harness.model.runs].count("prefill") == 1


async def test_a_time_limit_is_forgotten_with_its_request() -> None:
    """Limits far in the future must not pile up while the server runs."""
    async with running() as harness:
        async with harness.thread.generate(request("a"), time_limit_at_s=time.monotonic() + 1e6) as generation:
            seen = [event async for event in events(generation)]
        assert len(seen) == 6
    assert not harness.thread._limits


async def test_a_failed_run_fails_its_request_and_the_engine_continues() -> None:
    async with running() as harness:
        harness.model.fail_next = 1
        with pytest.raises(EngineFailed):
            await harness.tokens(request("a"))
        assert await harness.tokens(request("b")) == [4, 5, 6, 7, 8]
        assert not harness.failed.is_set()


class Panic(BaseException):
    """Derived from BaseException, as panics in Rust are."""


@pytest.mark.parametrize("error", [ZeroDivisionError, Panic])
async def test_a_failed_engine_fails_its_requests_and_rejects_new_ones(error: type[BaseException]) -> None:
    def broken(_: list[int]) -> int:
        raise error

    async with running(FakeCausalLM(broken)) as harness:
        results = await asyncio.gather(*(harness.tokens(request(name)) for name in "ab"), return_exceptions=True)
        assert [type(result) for result in results] == [EngineFailed, EngineFailed]
        assert harness.failed.is_set()
        with pytest.raises(EngineFailed):
            await harness.tokens(request("c"))


async def test_a_surplus_step_that_fails_does_not_affect_the_other_choices() -> None:
    """A choice that its text has stopped may still run one step, here with logits that are not finite."""
    seen: list[int] = []

    def script(token_ids: list[int]) -> int:
        seen.append(len(token_ids))
        return -1 if len(seen) == 4 else token_ids[-1] + 1  # the second token of the first choice

    async with running(FakeCausalLM(script)) as harness:
        async with harness.thread.generate(request("a", num_choices=2)) as generation:
            generation.unfinished.remove(0)  # stopped, but the engine does not know yet
            sampled = [
                event async for event in events(generation) if isinstance(event, TokenSampled) and event.index == 1
            ]
        assert len(sampled) == 5


def wait_for(event: threading.Event) -> None:
    event.wait(WAIT_S)


async def test_a_hung_run_fails_its_requests_and_does_not_delay_the_stop() -> None:
    """The server stayed SERVING, its calls ran into their deadlines, and SIGTERM never ended it."""
    model, is_over = FakeCausalLM(context_length=LONG + 10), threading.Event()
    async with running(model, hang_limit_s=0.2) as harness:
        model.on_run = partial(wait_for, is_over)
        results = await asyncio.gather(*(harness.tokens(request(f"r{i}")) for i in range(6)), return_exceptions=True)
        await harness.thread.stop()
        assert [type(result) for result in results] == [EngineFailed] * 6
        assert harness.failed.is_set()
        assert harness.thread.is_running
        with pytest.raises(EngineFailed):
            await harness.tokens(request("late"))
        is_over.set()


async def test_a_hung_run_is_noticed_even_if_its_callers_have_left() -> None:
    model, is_over = FakeCausalLM(context_length=LONG + 10), threading.Event()
    async with running(model, hang_limit_s=0.2) as harness:
        has_run = harness.has_run

        def hang() -> None:
            has_run.notify()
            wait_for(is_over)

        model.on_run = hang
        task = asyncio.create_task(harness.tokens(request("a")))
        await has_run.until(lambda: bool(model.runs))
        task.cancel()
        await asyncio.wait_for(harness.failed.wait(), WAIT_S)
        is_over.set()


async def test_an_engine_that_works_for_longer_than_the_limit_without_a_long_run_is_not_hung() -> None:
    async with running(hang_limit_s=0.1) as harness:
        async with harness.thread.generate(
            request("a", max_tokens=LONG), time_limit_at_s=time.monotonic() + 0.4
        ) as generation:
            seen = [event async for event in events(generation)]
        assert isinstance(seen[-1], SequenceExpired)
        assert not harness.failed.is_set()


@pytest.mark.parametrize("error", [ZeroDivisionError, Panic])
@pytest.mark.parametrize("lost", [1, 3, 6], ids=["the start", "a token", "the last token"])
async def test_a_request_with_an_event_that_was_not_delivered_fails_and_the_others_continue(
    error: type[BaseException], lost: int
) -> None:
    """The call ended with OK, and a token was missing in its output."""
    delivered: list[EngineEvent] = []

    class Faulty(Generation):
        """Fails to take one event of a request."""

        def put(self, timed: TimedEvent) -> None:
            """Fails at one event."""
            event, _ = timed
            if event.request_id == "a":
                delivered.append(event)
                if len(delivered) == lost:
                    self.unfinished.discard(0)
                    raise error
            super().put(timed)

    async with running(kind=Faulty) as harness:
        results = await asyncio.gather(*(harness.tokens(request(name)) for name in "ab"), return_exceptions=True)
        assert isinstance(results[0], EngineFailed)
        assert results[1] == [4, 5, 6, 7, 8]
        assert await harness.tokens(request("c")) == [4, 5, 6, 7, 8]
        await harness.check_idle()
        assert not harness.failed.is_set()


async def test_stopping_does_not_wait_forever_for_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_thread, "_STOP_LIMIT_S", 0.05)
    model, is_over = FakeCausalLM(context_length=LONG + 10), threading.Event()
    async with running(model) as harness:
        model.on_run = partial(wait_for, is_over)
        async with harness.thread.generate(request("a")):
            await harness.thread.stop()
        assert harness.thread.is_running
        is_over.set()


async def test_a_delivery_that_fails_as_a_whole_fails_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event was delivered from then on, and every call waited forever."""

    def deliver(_: EngineThread) -> None:
        raise Panic

    async with running() as harness:
        monkeypatch.setattr(EngineThread, "_deliver", deliver)
        with pytest.raises(EngineFailed):
            await harness.tokens(request("a"))
        assert harness.failed.is_set()
