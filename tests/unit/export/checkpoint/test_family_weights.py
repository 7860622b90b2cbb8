"""How families store weights: fused, transposed, shifted, interleaved, or not at all."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from onward_server.errors import ExportError
from onward_server.export.checkpoint.checkpoint_folder import CheckpointFolder
from onward_server.export.tensors import read_floats
from tests.checkpoint_files import Array, opened, write_checkpoint

V, H, M, P = 40, 16, 24, 32
"""Vocabulary, hidden size, size of the MLP, positions. Heads have 8 dimensions; two are of queries, one of keys."""
CONFIG: Mapping[str, Any] = {
    "vocab_size": V,
    "hidden_size": H,
    "intermediate_size": M,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": P,
    "tie_word_embeddings": True,
}
LAYER = "model.layers.0."
NORMS = {"input_layernorm.weight": (H,), "post_attention_layernorm.weight": (H,)}
GATED_MLP = {"mlp.gate_proj.weight": (M, H), "mlp.up_proj.weight": (M, H), "mlp.down_proj.weight": (H, M)}
ATTENTION = {
    "self_attn.q_proj.weight": (16, H),
    "self_attn.k_proj.weight": (8, H),
    "self_attn.v_proj.weight": (8, H),
    "self_attn.o_proj.weight": (H, 16),
}


def test_fused_projections_are_ranges_of_their_rows(tmp_path: Path) -> None:
    fused = {"self_attn.qkv_proj.weight": (32, H), "self_attn.o_proj.weight": (H, 16)}
    mlp = {"mlp.gate_up_proj.weight": (2 * M, H), "mlp.down_proj.weight": (H, M)}
    source, stored = _checkpoint(tmp_path, {**CONFIG, "model_type": "phi3"}, {**NORMS, **fused, **mlp})
    qkv, gate_up = stored[f"{LAYER}self_attn.qkv_proj.weight"], stored[f"{LAYER}mlp.gate_up_proj.weight"]
    for name, expected in {
        "q_proj": qkv[:16],
        "k_proj": qkv[16:24],
        "v_proj": qkv[24:],
        "gate_proj": gate_up[:M],
        "up_proj": gate_up[M:],
    }.items():
        np.testing.assert_array_equal(_weight(source, name), expected)


def test_a_fused_projection_of_another_height_is_named(tmp_path: Path) -> None:
    fused = {"self_attn.qkv_proj.weight": (33, H), "self_attn.o_proj.weight": (H, 16)}
    with pytest.raises(ExportError, match=r"qkv_proj\.weight has shape \[33, 16\], but \[32, 16\] according to"):
        _checkpoint(tmp_path, {**CONFIG, "model_type": "phi3"}, {**NORMS, **fused})


def test_norms_of_gemma_add_one(tmp_path: Path) -> None:
    source, stored = _checkpoint(tmp_path, {**CONFIG, "model_type": "gemma"}, {**NORMS, **ATTENTION, **GATED_MLP})
    np.testing.assert_array_equal(_weight(source, "attention_norm"), stored[f"{LAYER}input_layernorm.weight"] + 1)
    np.testing.assert_array_equal(_weight(source, "q_proj"), stored[f"{LAYER}self_attn.q_proj.weight"])


def test_dimensions_that_are_rotated_side_by_side_are_put_apart(tmp_path: Path) -> None:
    source, stored = _checkpoint(tmp_path, {**CONFIG, "model_type": "helium"}, {**NORMS, **ATTENTION, **GATED_MLP})
    of_head = [0, 2, 4, 6, 1, 3, 5, 7]
    query, key = (stored[f"{LAYER}self_attn.{side}_proj.weight"] for side in "qk")
    np.testing.assert_array_equal(_weight(source, "q_proj"), query[[*of_head, *(8 + row for row in of_head)]])
    np.testing.assert_array_equal(_weight(source, "k_proj"), key[of_head])
    np.testing.assert_array_equal(_weight(source, "v_proj"), stored[f"{LAYER}self_attn.v_proj.weight"])


def test_dimensions_that_are_not_rotated_stay_where_they_are(tmp_path: Path) -> None:
    mlp = {"mlp.gate_up_proj.weight": (2 * M, H), "mlp.down_proj.weight": (H, M)}
    biases = {"self_attn.q_proj.bias": (16,), "self_attn.k_proj.bias": (8,), "self_attn.v_proj.bias": (8,)}
    config = {**CONFIG, "model_type": "glm"}  # half of the dimensions are rotated
    source, stored = _checkpoint(tmp_path, config, {**NORMS, **ATTENTION, **biases, **mlp})
    of_head = [0, 2, 1, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(_weight(source, "k_proj"), stored[f"{LAYER}self_attn.k_proj.weight"][of_head])
    bias = read_floats(source.tensors["layers.0.k_proj.bias"])
    np.testing.assert_array_equal(bias, stored[f"{LAYER}self_attn.k_proj.bias"][of_head])


def test_norms_without_weights_are_ones_and_zeros(tmp_path: Path) -> None:
    config = {**CONFIG, "model_type": "olmo"}
    source, _ = _checkpoint(tmp_path, config, {**ATTENTION, **GATED_MLP}, {"embed_tokens.weight": (V, H)})
    for name in ("layers.0.attention_norm", "layers.0.mlp_norm", "final_norm"):
        np.testing.assert_array_equal(read_floats(source.tensors[f"{name}.weight"]), np.ones(H))
        np.testing.assert_array_equal(read_floats(source.tensors[f"{name}.bias"]), np.zeros(H))


def test_positions_of_opt_begin_at_the_third_row(tmp_path: Path) -> None:
    layer = {
        f"{module}.{parameter}": shape[: 2 if parameter == "weight" else 1]
        for module, shape in {
            "self_attn.q_proj": (16, H),
            "self_attn.k_proj": (16, H),
            "self_attn.v_proj": (16, H),
            "self_attn.out_proj": (H, 16),
            "fc1": (M, H),
            "fc2": (H, M),
            "self_attn_layer_norm": (H,),
            "final_layer_norm": (H,),
        }.items()
        for parameter in ("weight", "bias")
    }
    top = {
        "embed_tokens.weight": (V, H),
        "embed_positions.weight": (P + 2, H),
        "final_layer_norm.weight": (H,),
        "final_layer_norm.bias": (H,),
    }
    config = {**CONFIG, "model_type": "opt", "ffn_dim": M}
    source, stored = _checkpoint(tmp_path, config, layer, top, prefix="model.decoder.")
    expected = stored["model.decoder.embed_positions.weight"][2:]
    np.testing.assert_array_equal(read_floats(source.tensors["position_embeddings.weight"]), expected)


def test_matrices_of_gpt2_are_stored_transposed(tmp_path: Path) -> None:
    layer = {
        "attn.c_attn.weight": (H, 3 * H),
        "attn.c_attn.bias": (3 * H,),
        "attn.c_proj.weight": (H, H),
        "attn.c_proj.bias": (H,),
        "mlp.c_fc.weight": (H, 4 * H),
        "mlp.c_fc.bias": (4 * H,),
        "mlp.c_proj.weight": (4 * H, H),
        "mlp.c_proj.bias": (H,),
        **{f"{norm}.{parameter}": (H,) for norm in ("ln_1", "ln_2") for parameter in ("weight", "bias")},
        "attn.bias": (1, 1, P, P),
        "attn.masked_bias": (1,),
    }
    top = {"wte.weight": (V, H), "wpe.weight": (P, H), "ln_f.weight": (H,), "ln_f.bias": (H,)}
    config = {"model_type": "gpt2", "vocab_size": V, "n_embd": H, "n_layer": 1, "n_head": 2, "n_positions": P}
    source, stored = _checkpoint(
        tmp_path, config, {f"h.0.{name}": shape for name, shape in layer.items()} | top, {}, ""
    )
    fused = stored["h.0.attn.c_attn.weight"].T
    np.testing.assert_array_equal(_weight(source, "k_proj"), fused[H : 2 * H])
    np.testing.assert_array_equal(_weight(source, "down_proj"), stored["h.0.mlp.c_proj.weight"].T)
    bias = read_floats(source.tensors["layers.0.v_proj.bias"])
    np.testing.assert_array_equal(bias, stored["h.0.attn.c_attn.bias"][2 * H :])


def _weight(source: CheckpointFolder, name: str) -> Array:
    return read_floats(source.tensors[f"layers.0.{name}.weight"])


def _checkpoint(
    folder: Path,
    config: Mapping[str, Any],
    layer: Mapping[str, tuple[int, ...]],
    top: Mapping[str, tuple[int, ...]] | None = None,
    prefix: str = "model.",
) -> tuple[CheckpointFolder, Mapping[str, Array]]:
    """A checkpoint of one layer with random weights of these shapes, opened, and the weights as they are stored."""
    outside = {"embed_tokens.weight": (V, H), "norm.weight": (H,)} if top is None else top
    shapes = {f"{prefix}{'layers.0.' if prefix else ''}{name}": shape for name, shape in layer.items()}
    shapes |= {prefix + name: shape for name, shape in outside.items()}
    stored = {
        name: np.random.default_rng(Random(name).randrange(1 << 32)).normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    source = opened(write_checkpoint(folder, config, stored))
    assert source.tensors.keys() == source.config.weight_shapes().keys()
    assert all(source.tensors[name].shape == shape for name, shape in source.config.weight_shapes().items())
    return source, stored
