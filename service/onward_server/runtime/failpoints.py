"""Injects faults into parts of a running server, to test what clients and supervisors then see.

Only parts with a failpoint are wrapped, so a server without failpoints runs no code of this module.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar, assert_never

from onward_server.engine import sampler
from onward_server.engine.engine import Sample
from onward_server.model.causal_lm import CausalLM, Logits, TokenIds
from onward_server.runtime.engine_thread import Generation, Put
from onward_server.settings.failpoint import Failpoint, Fault, Part

_P = ParamSpec("_P")
_R = TypeVar("_R")


class InjectedPanic(BaseException):
    """Stands for a panic of a library in Rust, whose class is derived from BaseException, too."""


class InjectedError(Exception):
    """Stands for a bug."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one model's engine that faults can be injected into."""

    model: CausalLM
    sample: Sample = sampler.sample
    put: Put = Generation.put


def armed(parts: Parts, failpoints: Sequence[Failpoint]) -> Parts:
    """The parts with their failpoints armed; the same parts if there are none."""
    for failpoint in failpoints:
        match failpoint.part:
            case Part.RUN:
                parts = replace(parts, model=_FaultyModel(parts.model, failpoint))
            case Part.SAMPLER:
                parts = replace(parts, sample=_faulty(parts.sample, failpoint))
            case Part.DELIVERY:
                parts = replace(parts, put=_faulty(parts.put, failpoint))
            case _:
                assert_never(failpoint.part)
    return parts


class _FaultyModel:
    """A model of which one run fails; prefill and decode runs count together."""

    def __init__(self, model: CausalLM, failpoint: Failpoint) -> None:
        self.num_slots = model.num_slots
        self.context_length = model.context_length
        self.vocabulary_size = model.vocabulary_size
        self.copy = model.copy
        self.release = model.release
        self._model = model
        self._run = _faulty(_call, failpoint)

    def prefill(self, slot: int, token_ids: TokenIds) -> Logits:
        return self._run(lambda: self._model.prefill(slot, token_ids))

    def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
        return self._run(lambda: self._model.decode(slots, token_ids))


def _call(run: Callable[[], Logits]) -> Logits:
    return run()


def _faulty(function: Callable[_P, _R], failpoint: Failpoint) -> Callable[_P, _R]:
    """The function, with the fault in place of one of its calls."""
    num_calls = 0

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        nonlocal num_calls
        num_calls += 1
        if num_calls == failpoint.occurrence:
            _strike(failpoint.fault)
        return function(*args, **kwargs)

    return call


def _strike(fault: Fault) -> None:
    match fault:
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
            assert_never(fault)
