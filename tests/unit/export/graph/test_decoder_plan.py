from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onward_server.errors import ExportError
from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.graph.plan import DecoderPlan
from onward_server.export.tensors import ArrayTensor
from tests.decoder_cases import DECODERS, LLAMA, LONG_FROM, LONG_ROPE, random_decoder_weights
from tests.decoder_reference import reference_logits
from tests.naive_decoder import NaiveDecoder

NUM_TOKENS = 14
TOLERANCE = 2e-5


def tokens(config: DecoderConfig, *shape: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, config.vocab_size, shape)


def as_tensors(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, ArrayTensor]:
    return {name: ArrayTensor(weight) for name, weight in weights.items()}


def written(folder: Path, config: DecoderConfig, weights: Mapping[str, NDArray[np.float32]]) -> NaiveDecoder:
    DecoderPlan.of(config, as_tensors(weights), "fp32").write(folder)
    return NaiveDecoder(folder / "model.onnx")


@pytest.mark.parametrize("name", DECODERS)
def test_a_prompt_has_the_logits_of_the_reference(tmp_path: Path, name: str) -> None:
    config = DECODERS[name]
    weights = random_decoder_weights(config, seed=len(name))
    token_ids = tokens(config, 2, NUM_TOKENS)
    logits, _ = written(tmp_path, config, weights).forward(token_ids)
    for row, found in zip(token_ids, logits, strict=True):
        np.testing.assert_allclose(found, reference_logits(config, weights, row), atol=TOLERANCE)


@pytest.mark.parametrize("name", [name for name in DECODERS if "long frequencies" not in name])
def test_tokens_after_a_prompt_have_the_logits_of_the_reference(tmp_path: Path, name: str) -> None:
    config = DECODERS[name]
    weights = random_decoder_weights(config, seed=len(name))
    token_ids = tokens(config, 1, NUM_TOKENS)
    decoder = written(tmp_path, config, weights)
    logits, caches = decoder.forward(token_ids[:, :5])
    found = [logits[0]]
    for step in (slice(5, 9), *(slice(index, index + 1) for index in range(9, NUM_TOKENS))):
        logits, caches = decoder.forward(token_ids[:, step], caches)
        found.append(logits[0])
    np.testing.assert_allclose(np.concatenate(found), reference_logits(config, weights, token_ids[0]), atol=TOLERANCE)


def test_embedded_weights_give_the_same_bits(tmp_path: Path) -> None:
    weights = random_decoder_weights(LLAMA, seed=0)
    plan = DecoderPlan.of(LLAMA, as_tensors(weights), "fp32")
    plan.write(tmp_path)
    token_ids = tokens(LLAMA, 1, NUM_TOKENS)
    beside, _ = NaiveDecoder(tmp_path / "model.onnx").forward(token_ids)
    embedded, _ = NaiveDecoder(plan.embedded()).forward(token_ids)
    np.testing.assert_array_equal(beside, embedded)


def test_rows_of_a_run_choose_their_frequencies_by_their_own_length(tmp_path: Path) -> None:
    weights = random_decoder_weights(LONG_ROPE, seed=0)
    short, long = tokens(LONG_ROPE, LONG_FROM - 2), tokens(LONG_ROPE, LONG_FROM + 3)
    decoder = written(tmp_path, LONG_ROPE, weights)
    run = np.zeros((2, len(long)), np.int64)
    run[0, : len(short)], run[1] = short, long
    mask = np.array([[1] * len(short) + [0] * (len(long) - len(short)), [1] * len(long)])
    logits, caches = decoder.forward(run, mask=mask)
    for row, length in enumerate((len(short), len(long))):
        np.testing.assert_allclose(
            logits[row, :length], reference_logits(LONG_ROPE, weights, run[row, :length]), atol=TOLERANCE
        )
    mask = np.array([[1] * (len(short) + 1) + [0] * (len(long) - len(short)), [1] * (len(long) + 1)])
    logits, _ = decoder.forward(np.array([[7], [8]]), caches, mask=mask)
    for found, sequence in zip(logits, ([*short, 7], [*long, 8]), strict=True):
        wanted = reference_logits(LONG_ROPE, weights, np.array(sequence))[-1]
        np.testing.assert_allclose(found[0], wanted, atol=TOLERANCE)


def test_progress_adds_up_to_the_bytes_of_the_weights(tmp_path: Path) -> None:
    weights = random_decoder_weights(LLAMA, seed=0)
    pieces: list[int] = []
    plan = DecoderPlan.of(LLAMA, as_tensors(weights), "fp32")
    plan.write(tmp_path, pieces.append)
    tables = 2 * LLAMA.max_positions * LLAMA.head_dim // 2 * 4
    assert sum(pieces) == sum(weight.nbytes for weight in weights.values()) + tables
    assert (tmp_path / "model.onnx.data").stat().st_size == plan.num_bytes >= sum(pieces)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(LLAMA, num_heads=3), "3 query heads and 2 KV heads"),
        (replace(LLAMA, head_dim=8), "rotates 16 dimensions of a head that has 8"),
    ],
)
def test_heads_that_no_graph_can_have_are_rejected(config: DecoderConfig, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        DecoderPlan.of(config, as_tensors(random_decoder_weights(config, seed=0)), "fp32")


def test_weights_that_do_not_fit_are_all_named() -> None:
    tensors = as_tensors(random_decoder_weights(LLAMA, seed=0))
    del tensors["layers.0.q_proj.weight"]
    tensors["layers.0.q_proj.bias"] = ArrayTensor(np.zeros(64, np.float32))
    tensors["final_norm.weight"] = ArrayTensor(np.zeros(63, np.float32))
    with pytest.raises(ExportError) as raised:
        DecoderPlan.of(LLAMA, tensors, "fp32")
    assert str(raised.value).splitlines() == [
        "the weights do not fit the configuration:",
        "  layers.0.q_proj.weight [64, 64] is missing",
        "  layers.0.q_proj.bias [64] is unknown",
        "  final_norm.weight is [63] instead of [64]",
    ]


def test_float16_holds_sums_that_exceed_its_range() -> None:
    """Output norms of large weights make them in Gemma 3."""
    config = DECODERS["soft caps, output norms, windows in every other layer"]
    weights = random_decoder_weights(config, seed=0)
    for name in weights:
        if name.endswith("output_norm.weight"):
            weights[name] *= 40_000
    token_ids = tokens(config, 1, NUM_TOKENS)
    logits, _ = NaiveDecoder(DecoderPlan.of(config, as_tensors(weights), "fp16").embedded()).forward(token_ids)
    np.testing.assert_allclose(logits[0], reference_logits(config, weights, token_ids[0]), atol=0.03)


@pytest.mark.parametrize("name", DECODERS)
def test_float16_has_nearly_the_logits_of_the_reference(name: str) -> None:
    config = DECODERS[name]
    weights = random_decoder_weights(config, seed=len(name))
    token_ids = tokens(config, 1, NUM_TOKENS)
    decoder = NaiveDecoder(DecoderPlan.of(config, as_tensors(weights), "fp16").embedded())
    logits, caches = decoder.forward(token_ids)
    assert {cache.dtype for cache in caches} == {np.dtype(np.float16)}
    np.testing.assert_allclose(logits[0], reference_logits(config, weights, token_ids[0]), atol=0.03)
