"""Draws weights for a decoder that nobody trained; it knows only shapes."""

import re

import numpy as np
from numpy.typing import NDArray

from models.export.decoder_config import DecoderConfig

_ATTENTION_SCALE = re.compile(r"[qk]_(proj|norm)\.weight")
_SHARPNESS = np.float32(2)
"""Makes attention pick rather than average: greedy answers of 150 tokens then hold some 90 different ones, not 20."""


def random_weights(config: DecoderConfig, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """The same seed gives the same weights; matrices keep the scale of what they multiply."""
    generator = np.random.default_rng(seed)
    return {name: _draw(generator, name, shape) for name, shape in config.weight_shapes().items()}


def _draw(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    weight = _plain(generator, name, shape)
    return _SHARPNESS * weight if _ATTENTION_SCALE.search(name) else weight


def _plain(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    normal = generator.standard_normal(shape, dtype=np.float32)
    if "norm" in name:
        return np.float32(1) + np.float32(0.1) * normal
    return np.float32(0.1 if name.endswith(".bias") else shape[-1] ** -0.5) * normal
