"""Small decoders that together have every feature of `DecoderConfig`, and random weights for them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onward_server.export.decoder_config import DecoderConfig, Layer, LongRope, Projection, Rope


def rope(num_rotated: int, theta: float = 10_000.0) -> Rope:
    """The plain rotation of the first dimensions of a head."""
    pairs = num_rotated // 2
    return Rope(frequencies=tuple(float(theta ** (-pair / pairs)) for pair in range(pairs)))


def _layers(*layers: Layer) -> tuple[Layer, ...]:
    return layers * 2


ROTATED = Layer(rope=rope(16))
LLAMA = DecoderConfig(
    model_type="llama",
    vocab_size=96,
    hidden_size=64,
    intermediate_size=96,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    max_positions=64,
    layers=_layers(ROTATED),
    tied_embeddings=True,
)
LONG_FROM = 10
"""Sequences of that many tokens use the long frequencies of `LONG_ROPE`."""
_LONG = LongRope(frequencies=rope(16, 50.0).frequencies, scale=1.4, above=LONG_FROM - 1)
LONG_ROPE = replace(LLAMA, layers=_layers(Layer(rope=replace(rope(16), scale=1.2, long=_LONG))))

_GPT2_BIASES: frozenset[Projection] = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"})

DECODERS = {
    "llama": LLAMA,
    "an output layer of its own": replace(LLAMA, tied_embeddings=False),
    "biases of queries, keys and values": replace(LLAMA, biases=frozenset({"q_proj", "k_proj", "v_proj"})),
    "biases everywhere but keys, and scales": replace(
        LLAMA,
        tied_embeddings=False,
        biases=frozenset({"q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"}),
        embedding_scale=12.0,
        residual_scale=0.4,
        logits_scale=0.3,
        attention_scale=0.1,
    ),
    "norms of query and key heads": replace(LLAMA, qk_norm="heads"),
    "soft caps, output norms, windows in every other layer": replace(
        LLAMA,
        output_norms=True,
        attention_softcap=5.0,
        logits_softcap=3.0,
        embedding_scale=8.0,
        activation="gelu_tanh",
        attention_scale=0.3,
        layers=_layers(replace(ROTATED, window=5), ROTATED),
    ),
    "two rotations": replace(
        LLAMA, qk_norm="heads", layers=_layers(replace(ROTATED, window=5), Layer(rope=rope(16, 1e6)))
    ),
    "output norms alone, norms of all query heads": replace(
        LLAMA, output_norms=True, input_norms=False, qk_norm="full", residual_scale=0.5
    ),
    "layer norms, output norms, gelu": replace(LLAMA, norm="layer", output_norms=True, activation="gelu"),
    "layer norms, learned positions, a plain MLP": replace(
        LLAMA,
        gated=False,
        activation="gelu_tanh",
        norm="layer",
        learned_positions=True,
        layers=_layers(Layer(rope=None)),
        biases=_GPT2_BIASES,
    ),
    "relu": replace(LLAMA, gated=False, activation="relu"),
    "the square of relu": replace(LLAMA, gated=False, norm="layer", activation="relu2"),
    "a layer without positions": replace(LLAMA, layers=(ROTATED, Layer(rope=None), ROTATED)),
    "half of a head is rotated": replace(LLAMA, head_dim=32),
    "8 of 16 dimensions are rotated": replace(LLAMA, layers=_layers(Layer(rope=rope(8)))),
    "heads of 4, one layer without positions": replace(
        LLAMA, head_dim=4, layers=(Layer(rope=rope(4)), Layer(rope=None))
    ),
    "heads of 8": replace(LLAMA, head_dim=8, layers=_layers(Layer(rope=rope(8)))),
    "heads of 24 of which 12 are rotated": replace(
        LLAMA, head_dim=24, layers=(Layer(rope=rope(12)), Layer(rope=None, window=3))
    ),
    "layers that rotate 16, 8 and 12 dimensions": replace(
        LLAMA, layers=(ROTATED, Layer(rope=rope(8)), Layer(rope=rope(12)), Layer(rope=None))
    ),
    "heads of 10 without positions": replace(LLAMA, head_dim=10, layers=_layers(Layer(rope=None))),
    "long frequencies": LONG_ROPE,
    "long frequencies of half of a head": replace(LONG_ROPE, head_dim=32),
    "long frequencies of heads of 8 and biases": replace(
        LLAMA,
        head_dim=8,
        biases=frozenset({"q_proj", "k_proj"}),
        layers=_layers(Layer(rope=replace(rope(8), long=replace(_LONG, frequencies=_LONG.frequencies[:4])))),
    ),
    "widths that no block size divides": replace(LLAMA, hidden_size=40, intermediate_size=100),
}


def random_decoder_weights(config: DecoderConfig, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights by canonical name. The same seed gives the same weights; products have the scale of their inputs."""
    generator = np.random.default_rng(seed)
    return {name: _weight(generator, name, shape) for name, shape in config.weight_shapes().items()}


def _weight(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    normal = generator.standard_normal(shape, dtype=np.float32)
    if name.endswith("norm.weight"):
        return np.float32(1) + np.float32(0.1) * normal
    sharpness = 2 if "q_proj" in name or "k_proj" in name else 1  # attention selects rather than averages
    return np.float32(0.1 if name.endswith(".bias") else sharpness * shape[-1] ** -0.5) * normal
