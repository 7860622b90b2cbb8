from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from onward_server.model.loader import load_model
from onward_server.model.onnx_session import ExecutionProvider, SessionOptions
from onward_server.model.source.folder import ModelFolder
from testing.other_exporters.decoder_graph import Layout, build_decoder
from testing.other_exporters.half import narrow_to_float16
from testing.other_exporters.random_weights import random_weights
from testing.tiny_model import TINY, write_tiny_model

LAYOUTS: tuple[Layout, ...] = ("slots", "growing")
ON_CPU = SessionOptions(execution_provider=ExecutionProvider.CPU)


def logits_and_precision(folder: Path) -> tuple[NDArray[np.float32], str]:
    loaded = load_model(ModelFolder.read(folder), ON_CPU, num_slots=2, max_context_length=None, prefill_chunk=64)
    token_ids = np.random.default_rng(1).integers(3, TINY.vocab_size, 20)
    logits = [loaded.causal_lm.prefill(0, token_ids[:10]).copy()]
    logits += [loaded.causal_lm.decode([0], [int(token_id)])[0].copy() for token_id in token_ids[10:]]
    return np.stack(logits), loaded.precision


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [None, 4], ids=["float", "int4"])
def test_narrowed_logits_are_close_to_the_wide_ones(tmp_path: Path, layout: Layout, bits: Literal[4] | None) -> None:
    """Logits lie between -15 and 15. int4 also rounds activations, where a small difference can cross a step."""
    wide, _ = logits_and_precision(write_tiny_model(tmp_path / "wide", layout=layout, bits=bits))
    half, precision = logits_and_precision(
        write_tiny_model(tmp_path / "half", layout=layout, bits=bits, is_float16=True)
    )
    assert precision == ("int4" if bits else "fp16")
    assert 0 < np.abs(half - wide).max() < (0.9 if bits else 0.3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_wide_or_infinite_is_left(layout: Layout) -> None:
    model = narrow_to_float16(build_decoder(TINY, random_weights(TINY, seed=0), layout=layout))
    declared = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    weights = [numpy_helper.to_array(weight) for weight in model.graph.initializer]
    assert TensorProto.FLOAT not in declared
    assert np.dtype(np.float32) not in {weight.dtype for weight in weights}
    assert all(np.isfinite(weight).all() for weight in weights)
