"""Loading model folders: the chosen layout, memory checks, and folders that are rejected."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onward_server.errors import ModelFolderError, StartupError
from onward_server.model import memory_plan
from onward_server.model.causal_lm import CausalLM, Logits
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.load_independence import measure_load_independence
from onward_server.model.loader import LoadedModel, load_model
from onward_server.model.memory import Available
from onward_server.model.onnx_session import DeviceBuffer, ElementType, ExecutionProvider, OnnxSession, SessionOptions
from onward_server.model.rewriting.cache import RewritingCache
from onward_server.model.rewriting.rewriter import Rewriter
from onward_server.model.served_graph import served_graph
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.digests import FileDigests
from onward_server.model.source.folder import ModelFolder
from testing.other_exporters.decoder_graph import Layout
from testing.tiny_model import write_tiny_model
from tests.fakes import FakeCausalLM


def load(
    folder: Path, *, num_slots: int | None = 2, max_context_length: int | None = None, prefill_chunk: int = 512
) -> LoadedModel:
    return load_model(
        ModelFolder.read(folder),
        SessionOptions(),
        num_slots=num_slots,
        max_context_length=max_context_length,
        prefill_chunk=prefill_chunk,
    )


def edit_model(folder: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
    edit(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def test_runs_of_decomposed_attention_and_packed_weights_in_16_bits_are_isolated(tmp_path: Path) -> None:
    """It rounds differently in a longer run, but not at every length that a probe has."""
    growing = load(write_tiny_model(tmp_path / "growing", layout="growing", is_float16=True)).causal_lm
    slots = load(write_tiny_model(tmp_path / "slots", layout="slots", is_float16=True)).causal_lm
    packed = load(write_tiny_model(tmp_path / "packed", layout="slots", bits=4, is_float16=True)).causal_lm
    assert growing.fixed_chunk is not None
    assert slots.fixed_chunk is None
    assert packed.fixed_chunk is not None


def test_a_group_query_attention_export_gets_slots(folder: Path) -> None:
    loaded = load(folder)
    assert isinstance(loaded.causal_lm, SlotCausalLM)
    assert (loaded.causal_lm.vocabulary_size, loaded.causal_lm.context_length) == (512, 256)
    assert (loaded.precision, loaded.execution_provider) == ("fp32", "CPUExecutionProvider")
    assert loaded.deterministic


def test_a_decomposed_export_gets_growing_caches(tmp_path: Path) -> None:
    assert isinstance(load(write_tiny_model(tmp_path / "tiny", layout="growing")).causal_lm, GrowingCausalLM)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_precision_is_that_of_the_weights(tmp_path: Path, bits: Literal[4, 8]) -> None:
    assert load(write_tiny_model(tmp_path / "tiny", bits=bits)).precision == f"int{bits}"


def test_the_context_is_capped_by_the_setting_and_never_raised(folder: Path) -> None:
    assert load(folder, max_context_length=100).causal_lm.context_length == 100
    assert load(folder, max_context_length=1000).causal_lm.context_length == 256


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_a_context_can_be_filled_to_its_last_position(tmp_path: Path, layout: Layout) -> None:
    causal_lm = load(write_tiny_model(tmp_path / "tiny", layout=layout)).causal_lm
    causal_lm.prefill(0, np.arange(3, 258, dtype=np.int64))
    assert np.isfinite(causal_lm.decode([0], [7])).all()


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_a_copied_slot_goes_on_as_its_source_does(tmp_path: Path, layout: Layout) -> None:
    causal_lm = load(write_tiny_model(tmp_path / "tiny", layout=layout), num_slots=3).causal_lm
    causal_lm.prefill(0, np.arange(3, 20, dtype=np.int64))
    causal_lm.copy(0, 2)
    both = causal_lm.decode([0, 2], [5, 5]).copy()
    assert np.array_equal(both[0], both[1])
    causal_lm.release(0)
    copied = causal_lm.decode([2], [9])[0].copy()
    assert np.array_equal(copied, decoded_alone(causal_lm, [*range(3, 20)], [5, 9]))


def decoded_alone(causal_lm: CausalLM, prompt_ids: Sequence[int], output_ids: Sequence[int]) -> Logits:
    causal_lm.prefill(0, np.array(prompt_ids, np.int64))
    return [causal_lm.decode([0], [token_id])[0].copy() for token_id in output_ids][-1]


def test_decode_runs_of_any_size_share_one_buffer_of_logits(folder: Path) -> None:
    """A buffer for each size would take 1.2 GB with 64 slots and a vocabulary of 150,000."""
    causal_lm = load(folder, num_slots=3).causal_lm
    for slot in range(3):
        causal_lm.prefill(slot, np.arange(3, 9, dtype=np.int64))
    assert np.shares_memory(causal_lm.decode([0], [5]), causal_lm.decode([0, 1, 2], [5, 6, 7]))


def test_rows_that_move_to_close_gaps_keep_their_logits(folder: Path) -> None:
    def prefill(causal_lm: CausalLM, slots: Sequence[int]) -> None:
        for slot in slots:
            causal_lm.prefill(slot, np.arange(3 + slot, 20 + 2 * slot, dtype=np.int64))

    causal_lm, expected = load(folder, num_slots=4).causal_lm, load(folder, num_slots=4).causal_lm
    prefill(causal_lm, range(4))
    causal_lm.decode([0, 1, 2, 3], [5, 6, 7, 8])
    causal_lm.release(0)
    causal_lm.release(2)
    prefill(expected, (1, 3))
    expected.decode([1, 3], [6, 8])
    assert np.array_equal(causal_lm.decode([1, 3], [9, 10]), expected.decode([1, 3], [9, 10]))


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_a_graph_that_keeps_the_logits_asked_for_gives_the_same_ones(tmp_path: Path, layout: Layout) -> None:
    def keep_last(model: onnx.ModelProto) -> None:
        graph = model.graph
        (head,) = (node for node in graph.node if "logits" in node.output)
        head.output[0] = "all_logits"
        graph.input.append(helper.make_tensor_value_info("num_logits_to_keep", TensorProto.INT64, []))
        constants = {"axis_0": [0], "axis_1": [1], "end": [2**31]}
        graph.initializer.extend(helper.make_tensor(name, TensorProto.INT64, [1], v) for name, v in constants.items())
        graph.node.extend(
            [
                helper.make_node("Neg", ["num_logits_to_keep"], ["before_end"]),
                helper.make_node("Unsqueeze", ["before_end", "axis_0"], ["begin"]),
                helper.make_node("Slice", ["all_logits", "begin", "end", "axis_1"], ["logits"]),
            ]
        )

    plain = load(write_tiny_model(tmp_path / "plain", layout=layout)).causal_lm
    keeping = load(edit_model(write_tiny_model(tmp_path / "keeping", layout=layout), keep_last)).causal_lm
    for token_ids in (np.arange(3, 20, dtype=np.int64), np.arange(3, 242, dtype=np.int64)):  # 256, all the context
        assert np.array_equal(keeping.prefill(0, token_ids), plain.prefill(0, token_ids))
    keeping.release(0)
    plain.release(0)
    assert np.array_equal(decoded_alone(keeping, [5, 6], [7, 8]), decoded_alone(plain, [5, 6], [7, 8]))


def test_unknown_inputs_are_rejected_by_name(folder: Path) -> None:
    def add_input(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("beam_index", TensorProto.INT64, [1]))

    with pytest.raises(ModelFolderError, match="inputs that are not supported: beam_index"):
        load(edit_model(folder, add_input))


def test_a_graph_that_onnxruntime_cannot_load_is_rejected_with_its_first_sentence(folder: Path) -> None:
    def break_node(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "NoSuchOperator"

    with pytest.raises(ModelFolderError, match="cannot be loaded"):
        load(edit_model(folder, break_node))


def test_a_graph_that_loads_and_does_not_run_is_rejected(folder: Path) -> None:
    """Here a scale has the wrong length, which onnxruntime checks when it runs."""

    def shorten_scale(model: onnx.ModelProto) -> None:
        (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "model.norm.weight")
        values = onnx.numpy_helper.to_array(scale)[:-1]
        scale.CopyFrom(onnx.numpy_helper.from_array(values, scale.name))

    with pytest.raises(ModelFolderError, match="the model loads, but its first run failed"):
        load(edit_model(folder, shorten_scale))


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_a_context_that_the_graph_does_not_reach_is_rejected(tmp_path: Path, layout: Layout) -> None:
    """Three long prompts would end the engine of such a model."""
    folder = write_tiny_model(tmp_path / "tiny", layout=layout)
    (folder / "genai_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 257}))
    with pytest.raises(
        ModelFolderError, match=r"end of its context of 257 tokens; correct .* or lower --context-length"
    ):
        load(folder)
    assert load(folder, max_context_length=256).deterministic


def only(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """Leaves only this much memory."""
    found = Available(num_bytes=num_bytes, limit="the memory of the machine")
    monkeypatch.setattr(memory_plan, "available_memory", lambda: found)


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_a_cache_that_does_not_fit_is_rejected_with_values_that_fit(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny_model(tmp_path / "tiny", layout=layout)
    only(monkeypatch, 36 << 20)
    with pytest.raises(
        StartupError,
        match=r"KV cache of 1000 slots of 256 tokens, .* need \S+ MiB of memory, but the memory of the machine leaves "
        r"36 MiB; --slots \d+ --context-length 256 would need 3\d MiB",
    ) as refused:
        load(folder, num_slots=1000)
    words = str(refused.value).partition("--slots ")[2].split()
    assert load(folder, num_slots=int(words[0])).causal_lm.num_slots == int(words[0])


def test_weights_that_do_not_fit_are_rejected_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, 100_000)
    with pytest.raises(StartupError, match=r"the weights need 0\.\d MiB .* leaves 0\.1 MiB: .* smaller or quantized"):
        load(folder)


def test_slots_and_context_that_are_not_set_are_what_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, 1 << 30)
    causal_lm = load(folder, num_slots=None).causal_lm
    assert 8 <= causal_lm.num_slots <= 32
    assert causal_lm.context_length == 256


def test_a_server_in_a_small_container_starts_with_fewer_slots(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, 24 << 20)
    assert 1 <= load(folder, num_slots=None).causal_lm.num_slots < 32


@pytest.mark.parametrize("layout", ["slots", "growing"])
def test_a_cache_that_the_device_cannot_allocate_is_rejected_with_its_size(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA the free memory is not known before."""
    allocate = DeviceBuffer.__init__

    def refuse(self: DeviceBuffer, session: OnnxSession, shape: Sequence[int], element_type: ElementType) -> None:
        if shape[0] > 1000:
            raise MemoryError("Failed to allocate memory for requested buffer of size 67108864")
        allocate(self, session, shape, element_type)

    monkeypatch.setattr(DeviceBuffer, "__init__", refuse)
    with pytest.raises(
        StartupError,
        match=r"KV cache \(1024 slots of 256 tokens\) takes \d+ MiB, .* of size 67108864; lower --slots",
    ):
        load(write_tiny_model(tmp_path / "tiny", layout=layout), num_slots=1024)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_rejected(folder: Path) -> None:
    options = SessionOptions(execution_provider=ExecutionProvider.CUDA)
    with pytest.raises(StartupError, match=r"use --execution-provider cpu|built with it"):
        load_model(ModelFolder.read(folder), options, num_slots=2, max_context_length=None, prefill_chunk=16)


def test_a_model_whose_rows_depend_on_each_other_is_not_called_deterministic() -> None:
    class Entangled(FakeCausalLM):
        def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
            return super().decode(slots, token_ids) + np.float32(len(slots))

    class EntangledInCrowds(FakeCausalLM):
        def decode(self, slots: Sequence[int], token_ids: Sequence[int]) -> Logits:
            return super().decode(slots, token_ids) + np.float32(len(slots) > 8)

    assert not measure_load_independence(Entangled())
    assert not measure_load_independence(EntangledInCrowds(num_slots=9))
    assert measure_load_independence(EntangledInCrowds(num_slots=8))


def test_sizes_that_the_graph_leaves_open_come_from_the_configuration(folder: Path) -> None:
    def open_sizes(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            if value.name.startswith(("past", "present")):
                value.type.tensor_type.shape.dim[1].ClearField("dim_value")
                value.type.tensor_type.shape.dim[1].dim_param = "heads"

    assert isinstance(load(edit_model(folder, open_sizes)).causal_lm, SlotCausalLM)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 256}))
    (folder / "genai_config.json").unlink()
    with pytest.raises(ModelFolderError, match=r"axis 1 of the model's past_key_values\.0\.key"):
        load(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_inside_the_onnx_file_are_mapped_and_not_copied(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "tiny", layout="growing")
    loaded = load(folder)
    assert str((folder / "model.onnx").resolve()) in Path("/proc/self/maps").read_text()
    assert loaded.deterministic


@pytest.fixture
def rewriter(tmp_path: Path) -> Rewriter:
    return Rewriter(RewritingCache(tmp_path / "cache"), FileDigests())


def load_rewritten(folder: Path, rewriter: Rewriter | None) -> LoadedModel:
    return load_model(
        ModelFolder.read(folder),
        SessionOptions(num_threads=1),
        num_slots=4,
        max_context_length=None,
        prefill_chunk=64,
        rewriter=rewriter,
    )


def test_a_decomposed_export_is_rewritten_into_slots(tmp_path: Path, rewriter: Rewriter) -> None:
    folder = write_tiny_model(tmp_path / "tiny", layout="growing")
    loaded = load_rewritten(folder, rewriter)
    assert isinstance(loaded.causal_lm, SlotCausalLM)
    assert (loaded.layout, loaded.deterministic) == ("slots", True)
    assert loaded.origin.startswith("rewritten: slots (3 layers")
    original = load_rewritten(folder, None)
    assert (original.layout, original.origin) == ("growing", "as exported, because rewriting is off")
    tokens = np.arange(3, 40, dtype=np.int64)
    np.testing.assert_allclose(
        loaded.causal_lm.prefill(0, tokens), original.causal_lm.prefill(0, tokens), rtol=1e-4, atol=1e-4
    )
    assert loaded.graph_digest
    assert not original.graph_digest


def test_a_decomposed_export_that_is_not_recognized_is_served_as_it_is(tmp_path: Path, rewriter: Rewriter) -> None:
    folder = write_tiny_model(tmp_path / "tiny", layout="growing")

    def double_the_probabilities(model: onnx.ModelProto) -> None:
        (first, *_) = (node for node in model.graph.node if node.op_type == "Softmax")
        model.graph.node.insert(
            list(model.graph.node).index(first) + 1,
            helper.make_node("Add", ["probabilities", "probabilities"], [first.output[0]]),
        )
        first.output[0] = "probabilities"

    loaded = load_rewritten(edit_model(folder, double_the_probabilities), rewriter)
    assert isinstance(loaded.causal_lm, GrowingCausalLM)
    assert loaded.origin.startswith("as exported, because ")


def test_graphs_are_rewritten_for_the_cpu_only(tmp_path: Path, rewriter: Rewriter) -> None:
    folder = ModelFolder.read(write_tiny_model(tmp_path / "tiny", layout="growing"))
    options = SessionOptions(execution_provider=ExecutionProvider.CUDA)
    served = served_graph(folder, options, rewriter, prefill_chunk=64)
    assert served.origin == "as exported, because graphs are rewritten for the CPU only"
    assert not (tmp_path / "cache").exists()


def test_a_graph_with_slots_and_a_large_vocabulary_computes_the_last_logits_only(
    tmp_path: Path, rewriter: Rewriter
) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 1 << 20}))  # the graph has 512
    loaded, original = load_rewritten(folder, rewriter), load_rewritten(folder, None)
    assert loaded.origin == "rewritten: logits of last tokens only"
    for length in (1, 2, 40, 255, 256):
        tokens = np.arange(3, 3 + length, dtype=np.int64)
        assert np.array_equal(loaded.causal_lm.prefill(0, tokens), original.causal_lm.prefill(0, tokens))
        loaded.causal_lm.release(0)
        original.causal_lm.release(0)
