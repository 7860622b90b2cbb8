"""Draws weights for a decoder that nobody trained; it knows only shapes."""

import numpy as np
from numpy.typing import NDArray

from models.export.decoder_config import DecoderConfig


def random_weights(config: DecoderConfig, *, seed: int) -> dict[str, NDArray[np.float32]]:
    """The same seed gives the same weights; every matrix keeps the scale of what it multiplies."""
    generator = np.random.default_rng(seed)
    return {name: _draw(generator, name, shape) for name, shape in config.weight_shapes().items()}


def _draw(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    normal = generator.standard_normal(shape, dtype=np.float32)
    if "norm" in name:
        return np.float32(1) + np.float32(0.1) * normal
    if name.endswith(".bias"):
        return np.float32(0.1) * normal
    return np.float32(shape[-1] ** -0.5) * normal
