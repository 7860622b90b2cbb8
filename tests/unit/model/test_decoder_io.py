"""Graphs whose inputs and outputs are not those of a decoder are rejected with the name of what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from onward_server.errors import ModelFolderError
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import OnnxSession, TensorInfo


@dataclass(frozen=True, slots=True)
class FakeSession:
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    optional_inputs: Mapping[str, TensorInfo] = field(default_factory=dict[str, TensorInfo])
    properties: Mapping[str, str] = field(default_factory=dict[str, str])


def tensor(name: str, *shape: int | str | None, type_name: str = "tensor(float)") -> dict[str, TensorInfo]:
    return {name: TensorInfo(name=name, type_name=type_name, shape=shape)}


IDS = tensor("input_ids", "B", "S", type_name="tensor(int64)")
LOGITS = tensor("logits", "B", "S", 512)
PAST, PRESENT = (tensor(f"{kind}.0.key", "B", 2, "T", 16) for kind in ("past_key_values", "present"))


def read(
    inputs: Mapping[str, TensorInfo], outputs: Mapping[str, TensorInfo], config: dict[str, Any] | None = None
) -> DecoderIO:
    return DecoderIO.of(cast(OnnxSession, FakeSession(inputs, outputs)), config or {})


def test_sizes_are_those_of_the_graph() -> None:
    io = read({**IDS, **PAST}, {**LOGITS, **PRESENT})
    (cache,) = io.caches
    assert (cache.sizes, io.vocabulary_size, io.token_bytes) == ((1, 2, 1, 16), 512, 128)


def test_the_number_of_logits_may_be_an_input_that_can_be_left_out() -> None:
    number = tensor("num_logits_to_keep", type_name="tensor(int64)")
    session = FakeSession({**IDS, **PAST}, {**LOGITS, **PRESENT}, {**number, **tensor("weight", 64, 64)})
    io = DecoderIO.of(cast(OnnxSession, session), {})
    assert io.num_logits == number["num_logits_to_keep"]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"onward.switch_length": "4096"}, 4096),
        ({}, None),
        ({"onward.switch_length": "-1"}, None),
        ({"onward.switch_length": "many"}, None),
        ({"onward.switch_length": "9" * 5000}, None),
    ],
    ids=["a length", "missing", "negative", "not a number", "too large"],
)
def test_a_graph_that_takes_the_length_of_its_sequences_says_where_it_switches(
    properties: dict[str, str], expected: int | None
) -> None:
    length = tensor("rope_length", 1, type_name="tensor(int64)")
    both = FakeSession({**IDS, **PAST}, {**LOGITS, **PRESENT}, length, properties)
    io = DecoderIO.of(cast(OnnxSession, both), {})
    assert (io.rope_length, io.switch_length) == (length["rope_length"], expected)


def test_a_graph_that_takes_no_length_of_its_sequences_does_not_switch() -> None:
    session = FakeSession({**IDS, **PAST}, {**LOGITS, **PRESENT}, properties={"onward.switch_length": "4096"})
    assert DecoderIO.of(cast(OnnxSession, session), {}).switch_length is None


def test_layers_may_have_caches_of_different_sizes() -> None:
    wide, present_of_wide = (tensor(f"{kind}.11.key", "B", 1, "T", 64) for kind in ("past_key_values", "present"))
    io = read({**IDS, **wide, **PAST}, {**LOGITS, **present_of_wide, **PRESENT})
    assert [(cache.past_name, cache.shape(3, 5)) for cache in io.caches] == [
        ("past_key_values.0.key", (3, 2, 5, 16)),
        ("past_key_values.11.key", (3, 1, 5, 64)),
    ]
    assert io.token_bytes == (2 * 16 + 64) * 4


@pytest.mark.parametrize(
    ("past_shape", "present_shape", "shape"),
    [
        (("batch_size", 2, "past_sequence_length", 16), ("batch_size", 2, "total", 16), (3, 2, 5, 16)),
        (("batch_size", "past_sequence_length", 2, 16), ("batch_size", "total", 2, 16), (3, 5, 2, 16)),
        ((None, None, None, None), (None, None, None, None), (3, 2, 5, 8)),
        (("b", "h", "p", "d"), ("b", "h", "t", "d"), (3, 2, 5, 8)),
        ((1, 2, "p", 16), (1, 2, "t", 16), (3, 2, 5, 16)),
        (("batch_size * num_heads", 16, "p"), ("batch_size * num_heads", 16, "t"), (6, 16, 5)),
        (("batch_size", "p", 32), ("batch_size", "t", 32), (3, 5, 32)),
        ((2, "batch_size", 2, "past_seq_len", 16), (2, "batch_size", 2, "total_seq_len", 16), (2, 3, 2, 5, 16)),
        ((2, "b", 2, "p", 16), (2, "b", 2, "t", 16), (2, 3, 2, 5, 16)),
    ],
)
def test_the_axes_of_a_cache_are_known_by_their_names_and_by_what_changes(
    past_shape: tuple[int | str | None, ...], present_shape: tuple[int | str | None, ...], shape: tuple[int, ...]
) -> None:
    inputs = {**IDS, **tensor("past_key_values.0.key", *past_shape)}
    outputs = {**LOGITS, **tensor("present.0.key", *present_shape)}
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32}
    (cache,) = read(inputs, outputs, config).caches
    assert cache.shape(3, 5) == shape


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        (PAST, {**LOGITS, **PRESENT}, "no input input_ids or no output logits"),
        ({**IDS, **PAST}, PRESENT, "no input input_ids or no output logits"),
        (IDS, LOGITS, "no past_key_values inputs; export it with a KV cache"),
        ({**IDS, **PAST}, LOGITS, r"input past_key_values\.0\.key but no output present\.0\.key"),
        (
            {**IDS, **tensor("past_key_values.0.key", "B", 2, 16)},
            {**LOGITS, **PRESENT},
            "has 3 axes, .* which of them is the length is not known",
        ),
        (
            {**IDS, **tensor("past_key_values.0.key", "B", 2, "T", 16, type_name="tensor(double)")},
            {**LOGITS, **PRESENT},
            r"has type tensor\(double\), which is not supported",
        ),
        (
            {**IDS, **tensor("past_key_values.0.key", "B", 2, 64, 16)},
            {**LOGITS, **PRESENT},
            r"past_key_values\.0\.key has a fixed length of 64 tokens; export it with a dynamic length",
        ),
        (
            {**IDS, **tensor("past_key_values.0.key", 4, 2, "T", 16)},
            {**LOGITS, **PRESENT},
            "takes 4 rows a run; export it with a dynamic batch size",
        ),
        (
            {**IDS, **tensor("past_key_values.0.key", "B", "H", "T", 16)},
            {**LOGITS, **PRESENT},
            "neither the graph nor config.json gives the size of axis 1",
        ),
        (
            {**IDS, **PAST, **tensor("attention_mask", "B", 1, "S", "T")},
            {**LOGITS, **PRESENT},
            "attention_mask has 4 axes; it must have 2",
        ),
        (
            {**IDS, **PAST, **tensor("encoder_hidden_states", "B", "S", 16)},
            {**LOGITS, **PRESENT},
            "decoder of an encoder-decoder model, .* it has the input encoder_hidden_states",
        ),
        (
            {**IDS, **PAST},
            {**tensor("logits", "B", "S", "V"), **PRESENT},
            "neither the graph nor config.json gives the size of the last axis of logits",
        ),
        ({**IDS, **PAST}, {**tensor("logits", 512), **PRESENT}, "logits have 1 axes; they must have 2 or 3"),
    ],
    ids=[
        "no ids",
        "no logits",
        "no cache",
        "no present",
        "three axes",
        "double",
        "fixed length",
        "fixed batch",
        "open heads",
        "additive mask",
        "encoder-decoder",
        "open vocabulary",
        "flat logits",
    ],
)
def test_a_graph_that_is_no_decoder_is_rejected(
    inputs: Mapping[str, TensorInfo], outputs: Mapping[str, TensorInfo], reason: str
) -> None:
    with pytest.raises(ModelFolderError, match=reason):
        read(inputs, outputs)
