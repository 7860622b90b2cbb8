from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import checker, external_data_helper

from testing.other_exporters.decoder_config import DecoderConfig
from testing.other_exporters.decoder_graph import Layout, build_decoder
from testing.other_exporters.quantize import quantize
from testing.other_exporters.random_weights import random_weights
from testing.other_exporters.weights import WeightFormat, WeightFormats
from testing.tiny_model import TINY
from tests.naive_decoder import NaiveDecoder
from tests.reference_decoder import reference_logits

CONFIGS = {
    "llama": TINY,
    "untied": replace(TINY, tied_embeddings=False),
    "attention_bias": replace(TINY, attention_bias=True),
    "qk_norm": replace(TINY, qk_norm=True),
    "one_group": replace(TINY, num_kv_heads=1, rope_theta=1e6),
    "no_rotation": replace(TINY, rope_theta=None),
}
LAYOUTS: tuple[Layout, ...] = ("slots", "growing")
TOKEN_IDS = np.random.default_rng(1).integers(0, TINY.vocab_size, (3, 24))


def naive(config: DecoderConfig, layout: Layout = "slots", formats: WeightFormats | None = None) -> NaiveDecoder:
    model = build_decoder(config, random_weights(config, seed=0), layout=layout, formats=formats)
    return NaiveDecoder(model.SerializeToString())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_equal_those_of_the_reference(config: DecoderConfig, layout: Layout) -> None:
    logits, _ = naive(config, layout).forward(TOKEN_IDS)
    for row, token_ids in zip(logits, TOKEN_IDS, strict=True):
        expected = reference_logits(config, random_weights(config, seed=0), token_ids)
        np.testing.assert_allclose(row, expected, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_chunks_and_single_steps_equal_one_shot(config: DecoderConfig, layout: Layout) -> None:
    decoder = naive(config, layout)
    token_ids = TOKEN_IDS[:1]
    whole, _ = decoder.forward(token_ids)
    parts: list[NDArray[np.float32]] = []
    caches = None
    for chunk in np.split(token_ids, [9, 15, 21, 22, 23], axis=1):
        logits, caches = decoder.forward(chunk, caches)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4)


def test_rows_of_unequal_length_share_slot_buffers_and_keep_their_bits() -> None:
    decoder = naive(TINY)
    lengths = np.array([3, 11, 7])
    shape = (3, TINY.num_kv_heads, 32, TINY.head_dim)
    buffers = [np.full(shape, np.nan, np.float32) for _ in decoder.past_names]
    alone: list[NDArray[np.float32]] = []
    for row, length in enumerate(lengths):
        _, caches = decoder.forward(TOKEN_IDS[row : row + 1, :length])
        for buffer, cache in zip(buffers, caches, strict=True):
            buffer[row, :, :length] = cache[0]
        logits, _ = decoder.forward(TOKEN_IDS[row : row + 1, length : length + 1], caches)
        alone.append(logits[0])
    binding = decoder.session.io_binding()
    for name, buffer in zip(decoder.past_names, buffers, strict=True):
        for bind, tensor in (
            (binding.bind_input, name),
            (binding.bind_output, name.replace("past_key_values", "present")),
        ):
            bind(tensor, "cpu", 0, np.float32, shape, buffer.ctypes.data)
    binding.bind_cpu_input("input_ids", TOKEN_IDS[np.arange(3), lengths][:, None])
    binding.bind_cpu_input("attention_mask", (np.arange(12) <= lengths[:, None]).astype(np.int64))
    binding.bind_output("logits")
    decoder.session.run_with_iobinding(binding)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[-1], np.stack(alone))


def test_growing_rows_padded_on_the_left_equal_unpadded_ones() -> None:
    decoder = naive(TINY, "growing")
    expected, _ = decoder.forward(TOKEN_IDS[:1, :5])
    padded = np.concatenate([np.zeros((1, 3), np.int64), TOKEN_IDS[:1, :5]], axis=1)
    empty = [np.zeros((1, heads, 0, width), np.float32) for heads, width in decoder.cache_shapes]
    feeds = {
        "input_ids": padded,
        "attention_mask": np.array([[0, 0, 0, 1, 1, 1, 1, 1]]),
        "position_ids": np.array([[0, 0, 0, 0, 1, 2, 3, 4]]),
    }
    (logits,) = decoder.session.run(["logits"], feeds | dict(zip(decoder.past_names, empty, strict=True)))
    np.testing.assert_allclose(logits[:, 3:], expected, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(("name", "error"), [("float16", 0.02), ("int8", 0.8)])
def test_narrow_weights_give_nearly_the_same_logits(name: WeightFormat, error: float, *, tied: bool) -> None:
    config = replace(TINY, tied_embeddings=tied)
    exact, _ = naive(config).forward(TOKEN_IDS)
    rounded, _ = naive(config, formats=WeightFormats(layers=name, embeddings=name)).forward(TOKEN_IDS)
    assert 0 < np.abs(rounded - exact).max() < error


@pytest.mark.parametrize("name", ["int8", "int4"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_integer_weights_mean_what_quantize_stored(name: WeightFormat, *, tied: bool) -> None:
    """The tolerance is the operator's rounding of activations to eight bits; a wrong order of weights differs by 4."""
    config = replace(TINY, tied_embeddings=tied, num_layers=1)
    weights = random_weights(config, seed=0)
    formats = WeightFormats(layers=name, embeddings=name)
    rounded, _ = NaiveDecoder(build_decoder(config, weights, formats=formats).SerializeToString()).forward(TOKEN_IDS)
    read_back = {key: _dequantized(weight, name) if weight.ndim > 1 else weight for key, weight in weights.items()}
    exact, _ = NaiveDecoder(build_decoder(config, read_back).SerializeToString()).forward(TOKEN_IDS)
    assert np.abs(rounded - exact).max() < 0.2


def _dequantized(matrix: NDArray[np.float32], name: WeightFormat) -> NDArray[np.float32]:
    if name == "int4":
        stored = quantize(matrix, 4)
        steps = np.stack([stored.packed & 15, stored.packed >> 4], axis=-1).reshape(*stored.scales.shape, -1)
        middle = 8.0
    else:
        stored = quantize(matrix, 8)
        steps, middle = stored.packed, 128.0
    return ((steps.astype(np.float32) - middle) * stored.scales[..., None]).reshape(matrix.shape).astype(np.float32)


@pytest.mark.parametrize(("name", "bytes_each"), [("float32", 4.0), ("float16", 2.0), ("int8", 1.125), ("int4", 0.625)])
def test_a_tied_table_is_stored_once(name: WeightFormat, bytes_each: float) -> None:
    config = replace(TINY, vocab_size=20_000, num_layers=1)
    formats = WeightFormats(layers=name, embeddings=name)
    model = build_decoder(config, random_weights(config, seed=0), formats=formats)
    num_weights = sum(int(np.prod(shape)) for shape in config.weight_shapes().values())
    assert model.ByteSize() < num_weights * bytes_each + 100_000


def test_no_tensor_points_outside_the_file() -> None:
    model = build_decoder(TINY, random_weights(TINY, seed=0))
    assert not any(external_data_helper.uses_external_data(tensor) for tensor in model.graph.initializer)


def test_the_growing_graph_is_well_formed_beside_its_fused_norms() -> None:
    model = build_decoder(TINY, random_weights(TINY, seed=0), layout="growing")
    for node in model.graph.node:
        if "LayerNormalization" not in node.op_type:
            checker.check_node(node)


def test_weights_that_do_not_fit_are_all_named() -> None:
    weights = random_weights(TINY, seed=0)
    weights["model.norm.weight"] = np.ones(3, np.float32)
    weights["model.extra"] = weights.pop("model.embed_tokens.weight")
    with pytest.raises(
        ValueError, match=r"(?s)embed_tokens.*found None.*model.extra: expected None.*norm.weight.*\(3,\)"
    ):
        build_decoder(TINY, weights)


def test_a_quantized_matrix_of_odd_width_is_rejected() -> None:
    config = replace(TINY, hidden_size=40)
    with pytest.raises(ValueError, match="40 columns; quantization needs a multiple of 32"):
        build_decoder(config, random_weights(config, seed=0), formats=WeightFormats(layers="int4"))


@pytest.mark.parametrize(("field", "value"), [("num_kv_heads", 3), ("head_dim", 24)])
def test_a_shape_that_no_kernel_supports_is_rejected(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        replace(TINY, **{field: value})
