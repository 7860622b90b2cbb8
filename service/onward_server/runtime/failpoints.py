"""Injects faults into parts of a running server, to test what clients and supervisors then see.

Only parts with a failpoint are replaced, so a server without failpoints runs no code of this module.
"""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from onward_server.engine.engine import Engine
from onward_server.engine.sequence import Sequence as EngineSequence
from onward_server.model.causal_lm import CausalLM, Logits, TokenIds
from onward_server.runtime.engine_thread import Generation, TimedEvent
from onward_server.settings.failpoint import Failpoint, Fault, Part


class InjectedPanic(BaseException):
    """Simulates a panic of a Rust library, whose class is also derived from BaseException."""


class InjectedError(Exception):
    """Simulates a bug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one model's engine that faults can be injected into."""

    model: CausalLM
    engine_type: type[Engine] = Engine
    generation_type: type[Generation] = Generation


def armed(parts: Parts, failpoints: Sequence[Failpoint]) -> Parts:
    """The parts with their failpoints armed; the same parts if there are none."""
    for failpoint in failpoints:
        fault = _CountedFault(failpoint)
        match failpoint.part:
            case Part.RUN:
                faulty: CausalLM = _FaultyModel(parts.model, fault)  # `replace` does not check types
                parts = replace(parts, model=faulty)
            case Part.SAMPLER:
                parts = replace(parts, engine_type=_faulty_engine(parts.engine_type, fault))
            case Part.DELIVERY:
                parts = replace(parts, generation_type=_faulty_generation(parts.generation_type, fault))
            case _:
                assert_never(failpoint.part)
    return parts


class _CountedFault:
    """A fault that is injected into one use of a part."""

    def __init__(self, failpoint: Failpoint) -> None:
        self._fault = failpoint.fault
        self._uses_left = failpoint.occurrence

    def strike(self) -> None:
        """Counts a use of the part, and injects the fault if it is the chosen one."""
        self._uses_left -= 1
        if self._uses_left:
            return
        match self._fault:
            case Fault.HANG:
                while True:
                    time.sleep(3600)
            case Fault.PANIC:
                raise InjectedPanic("a failpoint injected this panic")
            case Fault.ERROR:
                raise InjectedError("a failpoint injected this error")
            case Fault.CRASH:
                signal.raise_signal(signal.SIGSEGV)
            case _:
                assert_never(self._fault)


class _FaultyModel:
    """A model of which one run fails; prefill and decode runs count together."""

    def __init__(self, model: CausalLM, fault: _CountedFault) -> None:
        self.num_slots = model.num_slots
        self.context_length = model.context_length
        self.vocabulary_size = model.vocabulary_size
        self.fixed_chunk = model.fixed_chunk
        self.switch_length = model.switch_length
        self.copy = model.copy
        self.release = model.release
        self._model = model
        self._fault = fault

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        self._fault.strike()
        return self._model.prefill(slot, token_ids, total_length=total_length)

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        self._fault.strike()
        return self._model.decode(slots, token_ids)


def _faulty_engine(engine_type: type[Engine], fault: _CountedFault) -> type[Engine]:
    class FaultyEngine(engine_type):
        """An engine that fails to sample one token."""

        def sample(self, row: Logits, sequence: EngineSequence) -> int:
            fault.strike()
            return super().sample(row, sequence)

    return FaultyEngine


def _faulty_generation(generation_type: type[Generation], fault: _CountedFault) -> type[Generation]:
    class FaultyGeneration(generation_type):
        """A generation that fails to take one event; the events of all requests count together."""

        def put(self, timed: TimedEvent) -> None:
            fault.strike()
            super().put(timed)

    return FaultyGeneration
