"""The expected numbers are those of transformers 5.24."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from onward_server.errors import ExportError
from onward_server.export.architectures.reading import read_architecture
from onward_server.export.decoder_config import Rope

HEADS_OF_8 = {
    "model_type": "llama",
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_hidden_layers": 1,
    "max_position_embeddings": 512,
}
YARN = {"rope_type": "yarn", "original_max_position_embeddings": 64, "rope_theta": 100.0}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "original_max_position_embeddings": 64,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
    "rope_theta": 500.0,
}
SHORT = [1.0, 0.06666667, 0.0049999999, 0.00039999999]
SCALINGS: Mapping[str, tuple[Mapping[str, Any], list[float], float]] = {
    "default": ({"rope_type": "default", "rope_theta": 10_000.0}, [1.0, 0.1, 0.01, 0.001], 1.0),
    "empty": ({}, [1.0, 0.1, 0.01, 0.001], 1.0),
    "dynamic": ({"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}, [1.0, 0.1, 0.01, 0.001], 1.0),
    "linear": (
        {"rope_type": "linear", "factor": 4, "rope_theta": 10_000.0},
        [0.25, 0.025, 0.0024999999, 0.00025000001],
        1.0,
    ),
    "llama3": (LLAMA3, [1.0, 0.21147424, 0.0055901702, 0.001182177], 1.0),
    "yarn": ({**YARN, "factor": 4.0}, [1.0, 0.23717082, 0.049999997, 0.0079056947], 1.138629436),
    "yarn-untruncated": (
        {**YARN, "factor": 4.0, "truncate": False, "beta_fast": 16, "beta_slow": 2},
        [1.0, 0.14849025, 0.025, 0.0079056947],
        1.138629436,
    ),
    "yarn-mscale": (
        {**YARN, "factor": 16.0, "mscale": 0.7, "mscale_all_dim": 0.3},
        [1.0, 0.21740657, 0.037499998, 0.0019764237],
        1.102387219,
    ),
    "yarn-attention-factor": (
        {**YARN, "factor": 16.0, "attention_factor": 1.5},
        [1.0, 0.21740657, 0.037499998, 0.0019764237],
        1.5,
    ),
    "yarn-without-original": (
        {"rope_type": "yarn", "factor": 2.0, "rope_theta": 100.0},
        [1.0, 0.27669927, 0.075000003, 0.019764237],
        1.069314718,
    ),
    "longrope": (LONG, SHORT, 1.224744871),
    "longrope-factor": ({**LONG, "factor": 3.0}, SHORT, 1.124348886),
}


@pytest.mark.parametrize("name", SCALINGS)
def test_each_scaling_has_the_frequencies_of_transformers_in_both_styles_of_config(name: str) -> None:
    parameters, frequencies, scale = SCALINGS[name]
    old = {**parameters, "type": parameters.get("rope_type", "default")}
    theta = old.pop("rope_theta", 10_000.0)
    old.pop("rope_type", None)
    for values in (
        {"rope_parameters": parameters},
        {"rope_theta": theta, "rope_scaling": old},
        {"rope_theta": theta, "rope_scaling": {**old, "rope_type": old["type"]}, "rope_parameters": None},
    ):
        rope = _rope({**HEADS_OF_8, **values})
        np.testing.assert_allclose(rope.frequencies, frequencies, rtol=3e-7)
        assert rope.scale == pytest.approx(scale, rel=1e-8)


def test_longrope_has_other_frequencies_above_the_original_context() -> None:
    long = _rope({**HEADS_OF_8, "rope_parameters": LONG}).long
    assert long is not None
    np.testing.assert_allclose(long.frequencies, [0.5, 0.033333335, 0.0024999999, 0.00019999999], rtol=3e-7)
    assert (long.above, long.scale) == (64, pytest.approx(1.224744871))


def test_longrope_whose_context_is_the_original_has_one_set_of_frequencies() -> None:
    parameters = {**LONG, "original_max_position_embeddings": 512}
    rope = _rope({**HEADS_OF_8, "rope_parameters": parameters})
    assert (rope.long, rope.scale) == (None, 1.0)


@pytest.mark.parametrize("kind", ["longrope", "su", "yarn"])
def test_phi3_calls_longrope_by_three_names_and_has_the_original_context_beside_it(kind: str) -> None:
    config = {**HEADS_OF_8, "model_type": "phi3", "original_max_position_embeddings": 128}
    scaling = {"type": kind, "short_factor": LONG["short_factor"], "long_factor": LONG["long_factor"]}
    rope = _rope({**config, "rope_scaling": scaling})
    assert rope.long is not None
    assert rope.long.above == 128
    assert rope.scale == pytest.approx((1 + np.log(4) / np.log(128)) ** 0.5)


def test_a_part_of_the_dimensions_is_rotated() -> None:
    config = {**HEADS_OF_8, "model_type": "phi3", "partial_rotary_factor": 0.5}
    np.testing.assert_allclose(_rope(config).frequencies, [1.0, 0.01], rtol=1e-6)
    config = {**HEADS_OF_8, "model_type": "stablelm"}  # a quarter by default
    assert _rope(config).frequencies == (1.0,)


def test_layer_types_have_parameters_of_their_own() -> None:
    nested = {"full_attention": LLAMA3, "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0}}
    config = {
        **HEADS_OF_8,
        "model_type": "ministral",
        "num_hidden_layers": 2,
        "head_dim": 8,
        "sliding_window": 4,
        "layer_types": ["full_attention", "sliding_attention"],
        "rope_parameters": nested,
    }
    full, sliding = (layer.rope for layer in read_architecture(config).decoder.layers)
    assert full == _rope({**HEADS_OF_8, "rope_parameters": LLAMA3})
    assert sliding == _rope(HEADS_OF_8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"rope_scaling": {"type": "proportional"}},
            "rope_type 'proportional' is not supported; supported are default,",
        ),
        ({"rope_scaling": {"type": 5}}, "rope_scaling: rope_type is 5; it must be a string"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear'; it must be an object"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling: factor is missing; it must be a number larger than 0"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor is 0; it must be a number larger than 0"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "factor is nan"),
        ({"rope_scaling": {"type": "linear", "factor": True}}, "factor is True"),
        ({"rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": 1000}}, "'dynamic' with alpha is not supported"),
        ({"rope_parameters": {**LLAMA3, "high_freq_factor": 1.0}}, "high_freq_factor is 1.0; it must be larger than"),
        (
            {"rope_parameters": {**LONG, "short_factor": [1.0] * 3}},
            r"short_factor is .*; it must be a list of 4 numbers",
        ),
        ({"rope_parameters": {**LONG, "long_factor": [1.0, 2.0, 3.0, "4"]}}, "long_factor is"),
        ({"rope_theta": -5}, "rope_theta is -5; it must be a number larger than 1"),
        ({"rope_theta": 10**400}, "rope_theta is 1000"),
        ({"rope_theta": 1e308}, "rope_theta is 1e.308; it must be a number larger than 1, and at most 1e.30"),
        ({"rope_parameters": {**YARN, "factor": 1e-40}}, "factor is 1e-40"),
        ({"rope_parameters": {**YARN, "factor": 4.0, "beta_fast": 1e308}}, "beta_fast is 1e.308"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5; it must be 1 in this family"),
        ({"head_dim": 7}, "7 of the 7 dimensions of each head"),
    ],
)
def test_parameters_that_are_not_valid_are_named(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        read_architecture({**HEADS_OF_8, **values})


def _rope(config: Mapping[str, Any]) -> Rope:
    rope = read_architecture(config).decoder.layers[0].rope
    assert rope is not None
    return rope
