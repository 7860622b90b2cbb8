"""KV memory takes pages when they are written, and memory for runs does not add up."""

import mmap
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from onward_server.model.decoder_io import DecoderIO
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.host_memory import LazyZeros
from onward_server.model.memory import resident_memory
from onward_server.model.onnx_session import OnnxSession, SessionOptions
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.folder import ModelFolder
from testing.tiny_model import write_tiny_model

MIB = 2**20

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
def test_memory_is_taken_when_it_is_written_and_reading_it_takes_none() -> None:
    before = resident_memory()
    memory = LazyZeros((64, MIB), np.dtype(np.uint8))
    array = memory.array
    assert not array[:, :: mmap.PAGESIZE].any()
    assert resident_memory() - before < 4 * MIB
    array[:32] = 1
    assert 30 * MIB < resident_memory() - before < 36 * MIB
    memory.clear()
    assert resident_memory() - before < 4 * MIB
    assert not array[:, :: mmap.PAGESIZE].any()


def test_memory_beyond_the_address_space_raises_memory_error() -> None:
    with pytest.raises(MemoryError, match="bytes of address space are not available"):
        LazyZeros((2**31, 2**31), np.dtype(np.float32))


@linux_only
@pytest.mark.parametrize("layout", [SlotCausalLM, GrowingCausalLM])
def test_a_thousand_slots_take_memory_only_when_they_are_used(
    tmp_path: Path, layout: type[SlotCausalLM] | type[GrowingCausalLM]
) -> None:
    """They took 23 s to start, because each page was written."""
    folder = ModelFolder.read(
        write_tiny_model(tmp_path / "tiny", layout="slots" if layout is SlotCausalLM else "growing")
    )
    session = OnnxSession(folder.onnx_path, SessionOptions(num_threads=1))
    io = DecoderIO.of(session, folder.config)
    before = resident_memory()
    causal_lm = layout(session, io, num_slots=1000, context_length=256)
    assert layout.cache_bytes(io, num_slots=1000, context_length=256) > 60 * MIB
    assert resident_memory() - before < 16 * MIB
    empty = resident_memory()
    for slot in range(100):
        causal_lm.prefill(slot, np.arange(3, 230))
    assert resident_memory() - empty > 3 * MIB


def test_the_logits_of_ever_longer_prompts_do_not_add_up_over_slots(tmp_path: Path) -> None:
    """The binding of each row kept the array that was large enough for its last prompt."""
    folder = ModelFolder.read(write_tiny_model(tmp_path / "tiny"))
    session = OnnxSession(folder.onnx_path, SessionOptions(num_threads=1))
    io = DecoderIO.of(session, folder.config)
    causal_lm = SlotCausalLM(session, io, num_slots=60, context_length=256)
    largest_bytes = io.num_logits_of(241, 2) * io.vocabulary_size * 4
    tracemalloc.start()
    try:
        for slot in range(60):
            causal_lm.prefill(slot, np.arange(3, 7 + 4 * slot))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.9 * largest_bytes < held_bytes < 2 * largest_bytes


@linux_only
def test_the_logits_of_prefill_runs_do_not_add_up_over_slots(tmp_path: Path) -> None:
    """Each slot kept the logits of its last prompt: 96 MiB for 512 tokens of a vocabulary of 49,152."""
    folder = ModelFolder.read(write_tiny_model(tmp_path / "tiny"))
    session = OnnxSession(folder.onnx_path, SessionOptions(num_threads=1))
    io = DecoderIO.of(session, folder.config)
    num_slots, size = 120, 240
    assert io.num_logits_of(size + 1, 2) * io.vocabulary_size * 4 > MIB // 3
    causal_lm = SlotCausalLM(session, io, num_slots=num_slots, context_length=256)
    causal_lm.prefill(0, np.arange(3, 3 + size))
    before = resident_memory()
    for slot in range(1, num_slots):
        causal_lm.prefill(slot, np.arange(3, 3 + size))
    kv_bytes = SlotCausalLM.cache_bytes(io, num_slots=num_slots, context_length=256)
    assert resident_memory() - before < kv_bytes + 16 * MIB
