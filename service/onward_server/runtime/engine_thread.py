"""The engine's thread and its connection to the event loop: requests go in, events come out.

Coroutines put commands into a queue, which the thread empties between steps. The thread puts the events of each step
into a deque and wakes the loop with `call_soon_threadsafe`, unless a wake-up is already scheduled. The loop passes the
events on to their requests. Nothing else is shared. No lock is needed, because each side only appends to one of the two
and only takes from the other. A stream that is not read holds at most the events of its `max_tokens`.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from onward_server.engine.engine import Engine
from onward_server.engine.generation import (
    EngineEvent,
    GenerationRequest,
    RequestAdmitted,
    RequestFailed,
    SequenceExpired,
    SequenceFailed,
    TokenSampled,
)
from onward_server.errors import EngineFailed, EngineOverloaded
from onward_server.runtime.pacing import PrefillPacer
from onward_server.runtime.slot_usage import SlotUsage
from onward_server.runtime.watchdog import Watchdog

logger = logging.getLogger(__name__)

_MIN_RETRY_S = 0.01

_CHECKS_PER_LIMIT = 30
_STOP_LIMIT_S = 10.0
"""How long `stop` waits for a step to end. After that, the thread runs until the process ends."""

TimedEvent = tuple[EngineEvent, float]
"""An event and its `time.monotonic()`: the end of the step for a sampled token, the start of it for other events."""


class Generation:
    """A request in the engine, as seen from the event loop."""

    def __init__(self, num_choices: int, stop_choice: Callable[[int], None]) -> None:
        """Takes the number of choices, and a function that stops the choice with a given index."""
        self.unfinished = set(range(num_choices))
        """Choices that have neither finished nor been stopped."""
        self._stop_choice = stop_choice
        self._arrived: deque[TimedEvent] = deque()
        self._has_arrived = asyncio.Event()
        self._failure: EngineFailed | None = None

    def put(self, timed: TimedEvent) -> None:
        """Adds the next event."""
        event, _ = timed
        if isinstance(event, RequestAdmitted):  # the caller learns of the start of the prefill
            return
        if isinstance(event, SequenceExpired) or (isinstance(event, TokenSampled) and event.finish is not None):
            self.unfinished.discard(event.index)
        self._arrived.append(timed)
        self._has_arrived.set()

    def fail(self, failure: EngineFailed) -> None:
        """Makes `events` raise next. Events that it has not yielded yet are dropped."""
        self._failure = failure
        self._has_arrived.set()

    async def events(self) -> AsyncIterator[TimedEvent]:
        """Yields events until all choices are finished. Events of a stopped choice may still arrive.

        A failure of a choice after it was stopped is ignored.

        Raises:
            EngineFailed: A run or the engine failed, or an event could not be delivered.
            InvalidRequest: The constraint is not satisfied but allows no further token, or is too costly to match.
        """
        while self.unfinished or self._arrived or self._failure:
            if not (self._arrived or self._failure):
                self._has_arrived.clear()
                await self._has_arrived.wait()
            if self._failure is not None:
                raise self._failure
            timed = self._arrived.popleft()
            match timed[0]:
                case SequenceFailed(index=index, error=error):
                    if index in self.unfinished:
                        raise error
                case RequestFailed(error=error):
                    if self.unfinished:
                        raise error
                case _:
                    yield timed

    def stop_choice(self, index: int) -> None:
        """Ends a choice because of its text, for example at a stop string. Finished choices are ignored."""
        if index in self.unfinished:
            self.unfinished.remove(index)
            self._stop_choice(index)


class EngineThread:
    """Owns an engine and its thread. Every public method must be called on the event loop that called `start`."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_queue: int,
        pacer: PrefillPacer,
        watchdog: Watchdog,
        on_failure: Callable[[], None],
        generation_type: type[Generation] = Generation,
    ) -> None:
        """Takes an engine that nobody else uses.

        Args:
            engine: Its methods are called on the thread only.
            max_queue: Maximum number of choices that wait for a slot.
            pacer: Chooses the prompt tokens of each step.
            watchdog: Finds out that the engine hangs.
            on_failure: Called once, on the event loop, when the engine fails for good.
            generation_type: The class of what `generate` yields.
        """
        self._engine = engine
        self._num_slots = engine.num_slots
        self._max_queue = max_queue
        self._pacer = pacer
        self._watchdog = watchdog
        self._on_failure = on_failure
        self._generation_type = generation_type
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._outbox: deque[TimedEvent] = deque()  # filled by the thread, emptied by the loop
        self._is_loop_called = False
        self._limits: dict[str, float] = {}  # request id to time limit; used by the thread only
        self._is_stopping = False  # used by the thread only
        self._generations: dict[str, Generation] = {}  # used by the loop only
        self._usage = SlotUsage(engine.num_slots)  # used by the loop only
        self._failure: EngineFailed | None = None
        self._is_hung = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._check: asyncio.TimerHandle | None = None  # the next check of the watchdog
        self._checked_s = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Stops the thread after its current step. Running requests get no further events.

        Returns after at most 10 s, or at once if the engine hangs. `is_running` is then still True.
        """
        if self._check is not None:
            self._check.cancel()
        self._commands.put(self._set_stopping)
        if not self._is_hung:
            await asyncio.to_thread(self._thread.join, _STOP_LIMIT_S)

    @property
    def is_running(self) -> bool:
        """Whether the thread is still running."""
        return self._thread.is_alive()

    @property
    def num_sequences(self) -> int:
        """Choices that are waiting or running."""
        return sum(len(generation.unfinished) for generation in self._generations.values())

    def check_capacity(self) -> None:
        """Checks that the queue can take a request, before any work is done for it.

        Raises:
            EngineFailed: The engine has failed for good.
            EngineOverloaded: The queue is full.
        """
        if self._failure is not None:
            raise self._failure
        queue_depth = self.num_sequences - self._num_slots
        if queue_depth >= self._max_queue:
            wait_s = self._usage.wait_s(queue_depth, time.monotonic())
            raise EngineOverloaded(
                queue_depth=queue_depth, queue_limit=self._max_queue, retry_after_s=max(wait_s, _MIN_RETRY_S)
            )

    @asynccontextmanager
    async def generate(
        self, request: GenerationRequest, *, time_limit_at_s: float | None = None
    ) -> AsyncGenerator[Generation]:
        """Runs a request for the duration of the block. Leaving the block frees its slots within a step.

        Args:
            request: A validated request.
            time_limit_at_s: When its unfinished choices expire, by `time.monotonic()`; None: never.

        Raises:
            EngineFailed, EngineOverloaded: see `check_capacity`.
        """
        self.check_capacity()
        generation = self._generation_type(len(request.seeds), partial(self._stop_choice, request.id))
        self._generations[request.id] = generation
        if self._check is None:
            self._schedule_check()
        self._commands.put(lambda: self._add(request, time_limit_at_s))
        try:
            yield generation
        finally:
            del self._generations[request.id]
            self._usage.end(request.id, len(request.seeds), time.monotonic())
            self._commands.put(lambda: self._forget(request.id))

    # Run on the event loop.

    def _stop_choice(self, request_id: str, index: int) -> None:
        self._commands.put(lambda: self._engine.abort(request_id, index))
        self._usage.end(request_id, 1, time.monotonic())

    def _wake(self) -> None:
        self._is_loop_called = False  # before reading, so that later events schedule another call
        try:
            self._deliver()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            logger.exception("the events of the engine could not be delivered")
            self._fail(EngineFailed("the events of the engine could not be delivered"))

    def _deliver(self) -> None:
        while self._outbox:
            timed = self._outbox.popleft()
            generation = self._generations.get(timed[0].request_id)
            if generation is None:  # the caller has left, and the abort is queued
                continue
            num_unfinished = len(generation.unfinished)
            try:
                generation.put(timed)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # an output without this event would be wrong
                logger.exception("an event could not be delivered, so its request fails")
                generation.fail(EngineFailed("an event of the output could not be delivered"))
            self._record_usage(timed, len(generation.unfinished), num_ended=num_unfinished - len(generation.unfinished))

    def _record_usage(self, timed: TimedEvent, num_unfinished: int, *, num_ended: int) -> None:
        event, at_s = timed
        if isinstance(event, RequestAdmitted):
            self._usage.start(event.request_id, num_unfinished, at_s)
        elif num_ended:
            self._usage.end(event.request_id, num_ended, at_s)

    def _fail(self, failure: EngineFailed) -> None:
        if self._failure is not None:
            return
        self._failure = failure
        for generation in self._generations.values():
            if generation.unfinished:
                generation.fail(failure)
        self._on_failure()

    def _schedule_check(self) -> None:
        assert self._loop is not None, "the engine was started"
        self._checked_s = self._loop.time()
        self._check = self._loop.call_later(self._watchdog.limit_s / _CHECKS_PER_LIMIT, self._check_progress)

    def _check_progress(self) -> None:
        """Fails the engine if it hangs. Repeats while there is work."""
        assert self._loop is not None, "the engine was started"
        self._check = None
        elapsed_s = self._loop.time() - self._checked_s
        hung_s = self._watchdog.hung_for_s(min(elapsed_s, 2 * self._watchdog.limit_s / _CHECKS_PER_LIMIT))
        if hung_s is not None:
            logger.critical("the engine hangs: its current work has lasted %.1f s", hung_s)
            self._is_hung = True
            self._fail(EngineFailed(f"the engine hangs: its current work has lasted {hung_s:.1f} s"))
        elif self._generations or not self._watchdog.is_idle:
            self._schedule_check()

    # Run on the thread.

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._run_commands()
                if self._engine.has_work:
                    self._step()
        except BaseException as error:  # also a panic; the engine's state is unknown, so all of its requests fail
            logger.exception("the engine failed")
            self._call(partial(self._fail, EngineFailed(f"the engine failed: {error}")))
        finally:
            self._watchdog.rest()
            self._engine.close()

    def _run_commands(self) -> None:
        """Runs all queued commands; waits for one if the engine has no work."""
        if not self._engine.has_work:
            self._watchdog.rest()
            command = self._commands.get()
            self._watchdog.begin()
            command()
        while not self._commands.empty():
            self._commands.get()()

    def _step(self) -> None:
        self._watchdog.begin()
        started_s = time.monotonic()
        self._expire(started_s)
        pacer = self._pacer
        result = self._engine.step(pacer.max_chunk, budget_beside_decoding=pacer.budget_beside_decoding)
        ended_s = time.monotonic()
        pacer.observe(result, ended_s - started_s)
        for event in result.events:
            self._outbox.append((event, ended_s if isinstance(event, TokenSampled) else started_s))
        if self._outbox and not self._is_loop_called:  # one call delivers all events until then
            self._is_loop_called = True
            self._call(self._wake)

    def _expire(self, now_s: float) -> None:
        for request_id, limit_s in tuple(self._limits.items()):
            if limit_s <= now_s:
                del self._limits[request_id]
                self._outbox.extend((event, now_s) for event in self._engine.expire(request_id))

    def _add(self, request: GenerationRequest, time_limit_at_s: float | None) -> None:
        if time_limit_at_s is not None:
            self._limits[request.id] = time_limit_at_s
        self._engine.add(request)

    def _forget(self, request_id: str) -> None:
        self._limits.pop(request_id, None)
        self._engine.abort(request_id)

    def _set_stopping(self) -> None:
        self._is_stopping = True

    def _call(self, callback: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits
                self._loop.call_soon_threadsafe(callback)
