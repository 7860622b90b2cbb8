"""Weights that are blocks of integers: what the graph computes from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.graph.plan import DecoderPlan
from onward_server.export.tensors import ArrayTensor, BlockLayout, Blocks, Tensor, read_floats
from onward_server.model.exporting.precision import Precision
from tests.decoder_cases import LLAMA, random_decoder_weights
from tests.decoder_reference import reference_logits
from tests.naive_decoder import NaiveDecoder

Q4 = BlockLayout(bits=4, block_size=32)
Q4_OFFSET = BlockLayout(bits=4, block_size=32, has_offsets=True)
Q8 = BlockLayout(bits=8, block_size=32)
Q8_OFFSET = BlockLayout(bits=8, block_size=32, has_offsets=True)
Q8_SMALL = BlockLayout(bits=8, block_size=16)
LAYOUTS = (Q4, Q4_OFFSET, Q8, Q8_OFFSET, Q8_SMALL)

TOKENS = np.random.default_rng(2).integers(0, LLAMA.vocab_size, 12)


@dataclass(frozen=True, slots=True)
class BlockTensor:
    """A tensor that is blocks already, as in a GGUF file."""

    blocks: Blocks

    @property
    def shape(self) -> tuple[int, ...]:
        return self.blocks.codes.shape

    @property
    def layout(self) -> BlockLayout:
        return self.blocks.layout

    def read(self, start: int, stop: int) -> Blocks:
        return self.blocks[start:stop]


def random_blocks(shape: tuple[int, ...], layout: BlockLayout, *, seed: int) -> BlockTensor:
    """Weights of the size of `random_decoder_weights`; half of their variance is that of the offsets, if any."""
    generator = np.random.default_rng(seed)
    rows, columns = shape
    num_blocks = -(-columns // layout.block_size)
    size = columns**-0.5
    scales = (generator.uniform(0.5, 1.5, (rows, num_blocks)) * size / layout.center).astype(np.float32)
    offsets = (size * generator.standard_normal((rows, num_blocks))).astype(np.float32) if layout.has_offsets else None
    codes = generator.integers(0, 2 * layout.center, shape).astype(np.uint8)
    return BlockTensor(Blocks(layout=layout, codes=codes, scales=scales, offsets=offsets))


def in_layouts(config: DecoderConfig, layouts: Mapping[str, BlockLayout]) -> dict[str, Tensor]:
    """Random tensors; those whose name ends in a key are blocks of that layout."""
    tensors: dict[str, Tensor] = {}
    for seed, (name, weight) in enumerate(random_decoder_weights(config, seed=3).items()):
        found = [layout for end, layout in layouts.items() if name.endswith(f"{end}.weight")]
        tensors[name] = random_blocks(weight.shape, found[0], seed=seed) if found else ArrayTensor(weight)
    return tensors


def exact_activations(model: bytes) -> bytes:
    """The model without quantization of activations, so that only the weights are not exact."""
    edited = onnx.load_model_from_string(model)
    for node in edited.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    return edited.SerializeToString()


def compared(config: DecoderConfig, tensors: Mapping[str, Tensor], precision: Precision) -> None:
    weights = {name: read_floats(tensor) for name, tensor in tensors.items()}
    wanted = reference_logits(config, weights, TOKENS)
    model = DecoderPlan.of(config, tensors, precision).embedded()
    logits, _ = NaiveDecoder(exact_activations(model)).forward(TOKENS[None])
    np.testing.assert_allclose(logits[0], wanted, atol=5e-5)
    served, _ = NaiveDecoder(model).forward(TOKENS[None])
    assert np.abs(served[0] - wanted).max() < 0.1 * np.abs(wanted).max()


ALL = ("embed_tokens", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_blocks_of_every_layout_are_exact(layout: BlockLayout, *, is_tied: bool) -> None:
    config = replace(LLAMA, tied_embeddings=is_tied)
    compared(config, in_layouts(config, dict.fromkeys(ALL, layout)), "int4")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_rows_need_not_be_whole_blocks(layout: BlockLayout) -> None:
    config = replace(LLAMA, hidden_size=40, intermediate_size=100)
    compared(config, in_layouts(config, dict.fromkeys(ALL, layout)), "int8")


@pytest.mark.parametrize("shift", range(len(LAYOUTS) + 1))
def test_matrices_of_a_layer_may_have_different_layouts(shift: int) -> None:
    """Including floats, which stay as they are in fp32."""
    choices = [*LAYOUTS, None]
    picked = {name: choices[(shift + index) % len(choices)] for index, name in enumerate(ALL)}
    layouts = {name: layout for name, layout in picked.items() if layout is not None}
    config = replace(LLAMA, biases=frozenset({"q_proj", "v_proj", "up_proj"}), residual_scale=0.5, logits_scale=0.3)
    tensors = in_layouts(config, layouts)
    weights = {name: ArrayTensor(read_floats(tensor)) for name, tensor in tensors.items()}
    compared(config, weights, "fp32")
    compared(config, tensors, "fp32")


def test_floats_become_blocks_of_4_bits() -> None:
    kinds = operators_of_export("int4")
    assert kinds.count("MatMulNBits") == 4 * len(LLAMA.layers) + 1
    assert kinds.count("GatherBlockQuantized") == 1
    assert not {"MatMul", "FusedMatMul"} & set(kinds)


def test_floats_become_blocks_of_8_bits_except_the_projections_of_values() -> None:
    kinds = operators_of_export("int8")
    assert kinds.count("MatMulNBits") == 5 * len(LLAMA.layers) + 1
    assert kinds.count("GatherBlockQuantized") == 1
    assert kinds.count("FusedMatMul") == len(LLAMA.layers)


def operators_of_export(precision: Precision) -> list[str]:
    tensors = {name: ArrayTensor(weight) for name, weight in random_decoder_weights(LLAMA, seed=4).items()}
    model = onnx.load_model_from_string(DecoderPlan.of(LLAMA, tensors, precision).embedded())
    return [node.op_type for node in model.graph.node]


def test_a_tied_table_of_blocks_is_stored_once(tmp_path: Path) -> None:
    """Two initializers share its bytes, because lookups and products take it in different shapes."""
    config = replace(LLAMA, vocab_size=20_000)
    tensors = in_layouts(config, {"embed_tokens": Q4})
    plan = DecoderPlan.of(config, tensors, "int4")
    plan.write(tmp_path)
    table = 20_000 * 64 // 2
    assert table < (tmp_path / "model.onnx.data").stat().st_size < 1.5 * table
    beside, _ = NaiveDecoder(tmp_path / "model.onnx").forward(TOKENS[None])
    embedded, _ = NaiveDecoder(plan.embedded()).forward(TOKENS[None])
    np.testing.assert_array_equal(beside, embedded)
