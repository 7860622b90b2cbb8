"""The reference for the decoders that `testing.other_exporters` writes: that for exported graphs, by other names."""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onward_server.export.decoder_config import DecoderConfig, Layer, Projection
from testing.other_exporters.decoder_config import DecoderConfig as OtherConfig
from tests import decoder_reference
from tests.decoder_cases import rope

_NAMES = {
    r"^model\.": "",
    r"^norm\.": "final_norm.",
    r"input_layernorm": "attention_norm",
    r"post_attention_layernorm": "mlp_norm",
    r"(self_attn|mlp)\.": "",
}


def reference_logits(
    config: OtherConfig, weights: Mapping[str, NDArray[np.float32]], token_ids: NDArray[np.int64]
) -> decoder_reference.Array:
    """Logits (T, V) after each token of one sequence. The weights have the names of Hugging Face."""
    renamed = {_canonical(name): weight for name, weight in weights.items()}
    return decoder_reference.reference_logits(_canonical_config(config), renamed, token_ids)


def _canonical(name: str) -> str:
    for pattern, replacement in _NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def _canonical_config(config: OtherConfig) -> DecoderConfig:
    biases: frozenset[Projection] = frozenset({"q_proj", "k_proj", "v_proj"} if config.attention_bias else ())
    rotation = None if config.rope_theta is None else rope(config.head_dim, config.rope_theta)
    return DecoderConfig(
        model_type="llama",
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        max_positions=config.max_positions,
        layers=(Layer(rope=rotation),) * config.num_layers,
        tied_embeddings=config.tied_embeddings,
        biases=biases,
        norm_eps=config.norm_eps,
        qk_norm="heads" if config.qk_norm else None,
    )
