"""Graphs whose inputs and outputs are not those of a decoder are rejected with the name of what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import pytest

from onward_server.errors import ModelFolderError
from onward_server.model.decoder_io import DecoderIO
from onward_server.model.onnx_session import OnnxSession, TensorInfo


@dataclass(frozen=True, slots=True)
class FakeSession:
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


def tensor(name: str, *shape: int | str, type_name: str = "tensor(float)") -> dict[str, TensorInfo]:
    return {name: TensorInfo(name=name, type_name=type_name, shape=shape)}


IDS = tensor("input_ids", "B", "S", type_name="tensor(int64)")
LOGITS = tensor("logits", "B", "S", 512)
PAST, PRESENT = (tensor(f"{kind}.0.key", "B", 2, "T", 16) for kind in ("past_key_values", "present"))


def read(inputs: Mapping[str, TensorInfo], outputs: Mapping[str, TensorInfo]) -> DecoderIO:
    return DecoderIO.of(cast(OnnxSession, FakeSession(inputs, outputs)), {})


def test_sizes_are_those_of_the_graph() -> None:
    io = read({**IDS, **PAST}, {**LOGITS, **PRESENT})
    (cache,) = io.caches
    assert (cache.sizes, io.vocabulary_size, io.token_bytes) == ((1, 2, 1, 16), 512, 128)


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
    ],
    ids=["no ids", "no logits", "no cache", "no present", "three axes", "double"],
)
def test_a_graph_that_is_no_decoder_is_rejected(
    inputs: Mapping[str, TensorInfo], outputs: Mapping[str, TensorInfo], reason: str
) -> None:
    with pytest.raises(ModelFolderError, match=reason):
        read(inputs, outputs)
