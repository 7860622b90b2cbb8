"""The length up to which config.json says that positions are computed in one way."""

import pytest

from onward_server.model.rope_limit import rope_limit
from onward_server.model.source.json_file import JsonObject

LENGTHS: JsonObject = {"max_position_embeddings": 131072}


@pytest.mark.parametrize(
    ("config", "num_tokens"),
    [
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096}, 4096),
        ({"rope_scaling": {"type": "su", "original_max_position_embeddings": 4096}}, 4096),
        ({"rope_scaling": {"rope_type": "longrope"}, "original_max_position_embeddings": 8192}, 8192),
        ({"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 4096}}, 4096),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 131072),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": None}, 131072),
        ({"rope_scaling": {"type": "yarn", "long_factor": [1.0]}, "original_max_position_embeddings": 4096}, 4096),
        ({"rope_scaling": {"type": "longrope"}, "model_type": "phi3"}, 4096),
        ({"rope_scaling": {"type": "yarn", "original_max_position_embeddings": 4096}}, None),
        ({"rope_scaling": {"rope_type": "llama3", "original_max_position_embeddings": 4096}}, None),
        ({"rope_scaling": None, "rope_parameters": {"full_attention": {}}}, None),
        ({"rope_scaling": {"type": ["longrope"]}}, None),
        ({}, None),
    ],
)
def test_the_limit_is_the_original_length_of_models_that_switch(config: JsonObject, num_tokens: int | None) -> None:
    limit = rope_limit({**LENGTHS, **config})
    assert (limit and limit.num_tokens) == num_tokens


def test_without_any_length_there_is_no_limit() -> None:
    assert rope_limit({"rope_scaling": {"type": "longrope"}}) is None
