"""Generates random weights for a decoder."""

import re

import numpy as np
from numpy.typing import NDArray

from testing.other_exporters.decoder_config import DecoderConfig

_ATTENTION_SCALE = re.compile(r"[qk]_(proj|norm)\.weight")
_SHARPNESS = np.float32(2)
"""Makes attention select rather than average: 150 greedy tokens then contain about 90 different ones, not 20."""


def random_weights(config: DecoderConfig, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights by Hugging Face name. The same seed gives the same weights; products have the scale of their inputs."""
    generator = np.random.default_rng(seed)
    return {name: _weight(generator, name, shape) for name, shape in config.weight_shapes().items()}


def _weight(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    weight = _plain(generator, name, shape)
    return _SHARPNESS * weight if _ATTENTION_SCALE.search(name) else weight


def _plain(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    normal = generator.standard_normal(shape, dtype=np.float32)
    if "norm" in name:
        return np.float32(1) + np.float32(0.1) * normal
    return np.float32(0.1 if name.endswith(".bias") else shape[-1] ** -0.5) * normal
