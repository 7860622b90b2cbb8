"""The plan of a model against the memory that it really takes."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from onward_server.model import trial_runs
from onward_server.model.causal_lm import CausalLM, Logits, TokenIds
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.fitting import Fitter
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.memory import resident_memory
from onward_server.model.memory_plan import MemoryBudget, WantedSize
from onward_server.model.onnx_session import OnnxSession, SessionOptions
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.folder import ModelFolder
from testing.other_exporters.decoder_graph import Layout
from testing.tiny_model import write_tiny_model
from tests.fakes import FakeCausalLM

MIB = 2**20
CONTEXT = 256


def fitter(folder: Path, layout: Layout, *, prefill_chunk: int = 512) -> Fitter:
    model = ModelFolder.read(write_tiny_model(folder, layout=layout))
    session = OnnxSession(model.onnx_path, SessionOptions(num_threads=1))
    return Fitter(
        layout=SlotCausalLM if layout == "slots" else GrowingCausalLM,
        session=session,
        io=DecoderIO.of(session, model.config),
        isolates_runs=False,
        prefill_chunk=prefill_chunk,
    )


def fill(causal_lm: CausalLM) -> None:
    """Fills all slots to their whole context: prefills all tokens but the last in one run each, and decodes one."""
    prompt = np.arange(causal_lm.context_length - 1, dtype=np.int64)
    for slot in range(causal_lm.num_slots):
        causal_lm.prefill(slot, prompt)
    causal_lm.decode(range(causal_lm.num_slots), [7] * causal_lm.num_slots)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_the_plan_is_what_a_full_server_holds(tmp_path: Path, layout: Layout) -> None:
    wanted = WantedSize(num_slots=300, max_context_length=CONTEXT, model_context_length=CONTEXT)
    fitted = fitter(tmp_path / "tiny", layout).fit(wanted, MemoryBudget())
    planned = fitted.remaining_bytes() - fitted.plan.call_bytes
    before = resident_memory()
    fill(fitted.causal_lm)
    assert planned > 15 * MIB
    assert 0.9 < (resident_memory() - before) / planned < 1.1
    for slot in range(300):
        fitted.causal_lm.release(slot)
    fitted.causal_lm.clear()
    assert resident_memory() - before < planned / 2


class Arena:
    """Memory that keeps what the largest run needed."""

    def __init__(self, needed: Callable[[int, int], int], *, left_by_run: int = 0) -> None:
        self.needed = needed
        self.left_by_run = left_by_run
        self.held = 7 * MIB
        self.most = 0

    def run(self, num_tokens: int, end: int) -> None:
        needed = self.needed(num_tokens, end)
        self.held += max(needed - self.most, 0) + self.left_by_run
        self.most = max(self.most, needed)


class ModelWithArena(FakeCausalLM):
    """A model whose runs take memory of an arena."""

    def __init__(self, arena: Arena, *, num_slots: int, context_length: int) -> None:
        super().__init__(num_slots=num_slots, context_length=context_length)
        self.arena = arena

    def prefill(self, slot: int, token_ids: TokenIds, *, total_length: int = 0) -> Logits:
        self.arena.run(len(token_ids), len(token_ids))
        return super().prefill(slot, token_ids, total_length=total_length)

    def run_at_end(self, num_tokens: int = 1) -> None:
        self.arena.run(num_tokens, self.context_length)

    def clear(self) -> None:
        """Nothing was taken."""


def needed_by_slots(num_tokens: int, _: int) -> int:
    return 500_000 + 600_000 * num_tokens


def needed_by_growing_caches(num_tokens: int, end: int) -> int:
    return 600_000 * num_tokens + 4_000 * end + 360 * num_tokens * end


@pytest.mark.parametrize(
    ("is_growing", "needed"), [(False, needed_by_slots), (True, needed_by_growing_caches)], ids=["slots", "growing"]
)
def test_intermediate_results_are_extrapolated_from_small_runs_to_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_growing: bool, needed: Callable[[int, int], int]
) -> None:
    arena = Arena(needed)
    monkeypatch.setattr(trial_runs, "resident_memory", lambda: arena.held)
    activations = trial_runs.measure_activations(
        partial(ModelWithArena, arena),
        fitter(tmp_path / "tiny", "slots").io,
        is_growing=is_growing,
        context_length=8192,
        max_chunk=512,
    )
    assert arena.most < needed(128, 1024)
    assert activations.num_bytes(512, 8192) == pytest.approx(needed(512, 8192), rel=0.05)


def test_what_a_run_leaves_besides_its_results_is_not_multiplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a context of 512 tokens, 0.6 MiB became 300 MiB of the plan."""

    def needed(num_tokens: int, end: int) -> int:
        return 50_000 * num_tokens + 50 * num_tokens * end

    arena = Arena(needed, left_by_run=600_000)
    monkeypatch.setattr(trial_runs, "resident_memory", lambda: arena.held)
    activations = trial_runs.measure_activations(
        partial(ModelWithArena, arena),
        fitter(tmp_path / "tiny", "slots").io,
        is_growing=True,
        context_length=512,
        max_chunk=512,
    )
    assert activations.num_bytes(511, 512) == pytest.approx(needed(511, 512), rel=0.3)


def test_slots_are_useful_as_long_as_larger_runs_decode_more_tokens_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    durations_s = {8: 1.0, 16: 1.5, 32: 3.0}

    def duration_s(_: object, num_rows: int) -> float:
        return durations_s.pop(num_rows)

    monkeypatch.setattr(trial_runs, "_decode_duration_s", duration_s)

    assert trial_runs.measure_useful_slots(partial(ModelWithArena, Arena(max)), 32, 512) == 16
    assert not durations_s


@pytest.mark.parametrize("num_fitting", [1, 5, 8])
def test_up_to_eight_slots_are_not_measured(num_fitting: int) -> None:
    def make(*, num_slots: int, context_length: int) -> ModelWithArena:
        raise AssertionError((num_slots, context_length))

    assert trial_runs.measure_useful_slots(make, num_fitting, 512) == num_fitting


def test_a_context_that_is_shorter_than_the_trials_gets_eight_slots() -> None:
    """Trials of 32 slots ran beyond a context of 11 tokens, where the graph has no positions."""

    def make(*, num_slots: int, context_length: int) -> ModelWithArena:
        raise AssertionError((num_slots, context_length))

    assert trial_runs.measure_useful_slots(make, 32, 11) == 8


def test_a_measurement_of_real_runs_gives_eight_slots_or_more(tmp_path: Path) -> None:
    wanted = WantedSize(num_slots=None, max_context_length=64, model_context_length=CONTEXT)
    fitted = fitter(tmp_path / "tiny", "slots").fit(wanted, MemoryBudget())
    assert fitted.causal_lm.num_slots in (8, 16, 32)
    assert fitted.causal_lm.context_length == 64
