"""Which faults can be injected, and that a server without them runs none of their code."""

import numpy as np
import pytest

from onward_server.engine.engine import Engine
from onward_server.runtime.engine_thread import Generation
from onward_server.runtime.failpoints import InjectedError, InjectedPanic, Parts, armed
from onward_server.settings.failpoint import Failpoint, Fault, Part
from onward_server.settings.server import WrongSettings, read_settings
from tests.fakes import FakeCausalLM


def test_without_failpoints_the_parts_are_those_of_the_engine() -> None:
    model = FakeCausalLM()
    parts = armed(Parts(model=model), ())

    assert (parts.model, parts.engine_type, parts.generation_type) == (model, Engine, Generation)


@pytest.mark.parametrize("part", Part)
def test_a_failpoint_wraps_its_own_part_only(part: Part) -> None:
    parts = Parts(model=FakeCausalLM())
    failing = armed(parts, [Failpoint(part=part, fault=Fault.ERROR)])

    assert (failing.model is not parts.model) == (part is Part.RUN)
    assert (failing.engine_type is not Engine) == (part is Part.SAMPLER)
    assert (failing.generation_type is not Generation) == (part is Part.DELIVERY)


def test_a_faulty_model_serves_an_engine_like_the_model_itself() -> None:
    """It had no fixed chunk, so a server with this failpoint did not start."""
    model = armed(Parts(model=FakeCausalLM(fixed_chunk=5)), [Failpoint(part=Part.RUN, fault=Fault.ERROR)]).model

    assert Engine(model).num_slots == model.num_slots
    assert model.fixed_chunk == 5


@pytest.mark.parametrize(("fault", "error"), [(Fault.ERROR, InjectedError), (Fault.PANIC, InjectedPanic)])
def test_a_fault_is_injected_at_its_occurrence_only(fault: Fault, error: type[BaseException]) -> None:
    model = armed(Parts(model=FakeCausalLM()), [Failpoint(part=Part.RUN, fault=fault, occurrence=2)]).model

    model.prefill(0, np.arange(3))
    with pytest.raises(error):
        model.decode([0], [3])
    model.decode([0], [3])
    model.copy(0, 1)
    model.release(0)


def test_settings_take_several_failpoints() -> None:
    settings = read_settings(["--failpoint", "run=hang@20", "--failpoint", "delivery=error"])

    assert settings.failpoints == (
        Failpoint(part=Part.RUN, fault=Fault.HANG, occurrence=20),
        Failpoint(part=Part.DELIVERY, fault=Fault.ERROR),
    )
    assert read_settings([]).failpoints == ()


@pytest.mark.parametrize("text", ["run", "run=", "run=sleep", "engine=hang", "run=hang@0", "run=hang@x", "=hang"])
def test_a_failpoint_that_is_misspelled_is_rejected_with_the_parts_and_faults(text: str) -> None:
    with pytest.raises(WrongSettings) as rejection:
        read_settings(["--failpoint", text])

    assert rejection.value.problems == (
        (
            f"--failpoint (or ONWARD_FAILPOINT): {text!r} is not PART=FAULT[@N]; "
            "PART is one of run, sampler, delivery, FAULT one of hang, panic, error, crash"
        ),
    )


def test_a_delivery_cannot_hang_because_nothing_could_report_it() -> None:
    with pytest.raises(WrongSettings, match="'delivery=hang' would stop the event loop, which nothing can report"):
        read_settings(["--failpoint", "delivery=hang"])
