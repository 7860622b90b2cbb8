"""Blocks of GGUF files in exported graphs: each weight that an ONNX file holds is the one of the GGUF file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from numpy.typing import NDArray
from onnx import numpy_helper

from onward_server.export.gguf_model.block_types import BLOCK_CODECS
from onward_server.export.gguf_model.gguf_source import GgufSource, open_gguf_source
from onward_server.export.graph.plan import DecoderPlan
from onward_server.export.tensors import BlockLayout, Blocks
from onward_server.model.exporting.precision import Precision
from tests.gguf_files import Stored, random_blocks, write_gguf
from tests.gguf_models import LLAMA_CONFIG, Floats, llama_tensors, metadata_of, random_weights

PACKED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}

PACKED_IN_INT8 = {"gate_up_proj": ("gate_proj", "up_proj")}


def source_in_blocks(folder: Path, block_type: GGMLQuantizationType) -> tuple[GgufSource, dict[str, Floats]]:
    """A model with all matrices in a block type, and its weights as the gguf package dequantizes them."""
    num_weights, _ = GGML_QUANT_SIZES[block_type]
    width = max(64, num_weights)
    config = replace(
        LLAMA_CONFIG, hidden_size=width, intermediate_size=width, head_dim=width // 4, layers=LLAMA_CONFIG.layers[:1]
    )
    tensors: dict[str, Stored] = {}
    for seed, (name, stored) in enumerate(llama_tensors(random_weights(config), config.head_dim).items()):
        assert not isinstance(stored, tuple)
        if stored.ndim == 2:
            rows, columns = stored.shape
            tensors[name] = (block_type, random_blocks(block_type, rows, columns, seed))
        else:
            tensors[name] = stored
    metadata = metadata_of(
        "llama", embedding_length=width, feed_forward_length=width, block_count=1, rope__dimension_count=width // 4
    )
    path = write_gguf(folder / "model.gguf", metadata, tensors)
    expected = {
        name.removesuffix(".weight"): quants.dequantize(stored[1], block_type)
        for name, stored in tensors.items()
        if isinstance(stored, tuple)
    }
    return open_gguf_source(path), expected


def initializers(source: GgufSource, precision: Precision) -> Mapping[str, NDArray[np.generic]]:
    model = onnx.load_from_string(DecoderPlan.of(source.config, source.tensors, precision).embedded())
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def checkpoint_order(rows: Floats, head_dim: int) -> Floats:
    """The rows of a projection in the order of a checkpoint: pairs are half a head apart."""
    return rows.reshape(-1, head_dim // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def expected_weights(
    source: GgufSource, in_file: Mapping[str, Floats], packed: Mapping[str, Sequence[str]] = PACKED
) -> dict[str, Floats]:
    head_dim = source.config.head_dim
    layer = {
        "q_proj": checkpoint_order(in_file["blk.0.attn_q"], head_dim),
        "k_proj": checkpoint_order(in_file["blk.0.attn_k"], head_dim),
        "v_proj": in_file["blk.0.attn_v"],
        "o_proj": in_file["blk.0.attn_output"],
        "gate_proj": in_file["blk.0.ffn_gate"],
        "up_proj": in_file["blk.0.ffn_up"],
        "down_proj": in_file["blk.0.ffn_down"],
    }
    for whole, parts in packed.items():
        layer[whole] = np.concatenate([layer.pop(part) for part in parts])
    return {"embed_tokens": in_file["token_embd"], **{f"layers.0.{name}": rows for name, rows in layer.items()}}


@pytest.mark.parametrize("block_type", BLOCK_CODECS, ids=lambda block_type: block_type.name)
def test_a_quantized_graph_holds_the_blocks_of_the_file(block_type: GGMLQuantizationType, tmp_path: Path) -> None:
    source, in_file = source_in_blocks(tmp_path, block_type)
    layout = BLOCK_CODECS[block_type].layout
    cases: dict[Precision, Mapping[str, Sequence[str]]] = {"int8": PACKED_IN_INT8, "int4": PACKED}
    for precision, packed in cases.items():
        stored = initializers(source, precision)
        for name, expected in expected_weights(source, in_file, packed).items():
            is_float = f"{name}.weight" in stored
            assert is_float == (precision == "int8" and name.endswith("v_proj"))
            found = (
                stored[f"{name}.weight"].astype(np.float32)
                if is_float
                else dequantized(stored, f"{name}.weight", layout)
            )
            if layout.has_offsets:
                np.testing.assert_allclose(found, expected, rtol=0, atol=4e-7 * float(np.abs(expected).max()))
            else:
                np.testing.assert_array_equal(found, expected)


def dequantized(stored: Mapping[str, NDArray[np.generic]], name: str, layout: BlockLayout) -> Floats:
    packed = stored[f"{name}.codes"].astype(np.uint8)
    codes = packed.reshape(len(packed), -1)
    if layout.bits == 4:
        codes = np.stack([codes & np.uint8(15), codes >> np.uint8(4)], axis=2).reshape(len(codes), -1)
    scales, offsets = (stored.get(f"{name}.{part}") for part in ("scales", "offsets"))
    assert scales is not None
    return Blocks(
        layout=layout,
        codes=codes,
        scales=scales.astype(np.float32),
        offsets=None if offsets is None else offsets.astype(np.float32),
    ).dequantized()


@pytest.mark.parametrize("block_type", BLOCK_CODECS, ids=lambda block_type: block_type.name)
def test_a_float32_graph_holds_the_dequantized_weights(block_type: GGMLQuantizationType, tmp_path: Path) -> None:
    source, in_file = source_in_blocks(tmp_path, block_type)
    stored = initializers(source, "fp32")
    tolerance = 4e-7 if BLOCK_CODECS[block_type].layout.has_offsets else 0
    for name, expected in expected_weights(source, in_file).items():
        found = stored[f"{name}.weight"].astype(np.float32)
        found = found if found.shape == expected.shape else found.T
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=tolerance * float(np.abs(expected).max()), err_msg=name
        )
