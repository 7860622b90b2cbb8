"""Which layout serves the caches of a graph."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from onward_server.errors import ModelFolderError
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.growing_causal_lm import GrowingCausalLM
from onward_server.model.layout import choose_layout, quantizes_dynamically
from onward_server.model.onnx_session import OnnxSession, TensorInfo
from onward_server.model.slot_causal_lm import SlotCausalLM
from onward_server.model.source.onnx_file import NodeInput, OnnxFile


def tensor(name: str, *shape: int | str, type_name: str = "tensor(float)") -> dict[str, TensorInfo]:
    return {name: TensorInfo(name=name, type_name=type_name, shape=shape)}


@dataclass(frozen=True, slots=True)
class FakeSession:
    """Two layers with keys alone."""

    inputs: dict[str, TensorInfo] = field(
        default_factory=lambda: {
            **tensor("input_ids", "B", "S", type_name="tensor(int64)"),
            **tensor("past_key_values.0.key", "B", 2, "T", 16),
            **tensor("past_key_values.1.key", "B", 2, "T", 16),
        }
    )
    optional_inputs: dict[str, TensorInfo] = field(default_factory=dict[str, TensorInfo])
    outputs: dict[str, TensorInfo] = field(
        default_factory=lambda: {
            **tensor("logits", "B", "S", 512),
            **tensor("present.0.key", "B", 2, "T", 16),
            **tensor("present.1.key", "B", 2, "T", 16),
        }
    )


def read_by(*op_types: str) -> OnnxFile:
    """A graph whose layers read their caches with these operators."""
    return OnnxFile(
        op_types=set(op_types),
        uses={
            f"past_key_values.{layer}.key": [NodeInput(op_type=op_type, index=3, bits=None)]
            for layer, op_type in enumerate(op_types)
        },
    )


def io(windows: dict[str, int] | None = None, *, more_inputs: dict[str, TensorInfo] | None = None) -> DecoderIO:
    session = FakeSession()
    session.inputs.update(more_inputs or {})
    return DecoderIO.of(cast(OnnxSession, session), {}, windows)


def test_slots_need_the_operator_that_shares_them_in_every_layer() -> None:
    assert choose_layout(read_by("GroupQueryAttention", "GroupQueryAttention"), io()) is SlotCausalLM
    assert choose_layout(read_by("GroupQueryAttention", "Concat"), io()) is GrowingCausalLM
    assert choose_layout(read_by("Concat", "Concat"), io()) is GrowingCausalLM


def test_one_graph_of_two_in_a_file_cannot_share_slots() -> None:
    branch = tensor("use_cache_branch", 1, type_name="tensor(bool)")
    assert (
        choose_layout(read_by("GroupQueryAttention", "GroupQueryAttention"), io(more_inputs=branch)) is GrowingCausalLM
    )


def test_paged_caches_are_rejected() -> None:
    with pytest.raises(ModelFolderError, match="PagedAttention, which is not supported; export it without"):
        choose_layout(read_by("PagedAttention", "PagedAttention"), io())


def test_windows_need_slots() -> None:
    windows = {"past_key_values.1.key": 64}
    assert choose_layout(read_by("GroupQueryAttention", "GroupQueryAttention"), io(windows)) is SlotCausalLM
    with pytest.raises(ModelFolderError, match="export it with windowed_kv_cache=false"):
        choose_layout(read_by("Concat", "GroupQueryAttention"), io(windows))


def test_operators_that_quantize_all_tokens_of_a_run_together_are_known() -> None:
    for op_type in ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"):
        assert quantizes_dynamically(read_by(op_type))
    assert not quantizes_dynamically(read_by("MatMulInteger", "MatMulNBits"))
