"""Computes the frequencies of rotary position embeddings, for each way of scaling them.

The arithmetic is that of transformers, in float32 where transformers has float32.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward_server.errors import ExportError
from onward_server.export.architectures.config_values import ConfigValues
from onward_server.export.decoder_config import LongRope, Rope

_ORIGINAL = "original_max_position_embeddings"
_LAYER_TYPES = ("full_attention", "sliding_attention")
_OTHER_NAMES = {"su": "longrope"}
_LONGROPE_OF_PHI3 = {"yarn": "longrope"}

_Frequencies = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameters:
    """What determines the frequencies."""

    scaling: ConfigValues
    theta: float
    num_dims: int
    """Number of dimensions of a head that are rotated. If it is odd, one more is rotated."""
    max_positions: int
    original_positions: int

    @property
    def frequencies(self) -> _Frequencies:
        """The frequencies without scaling."""
        return np.float32(1) / self.wavelengths

    @property
    def wavelengths(self) -> _Frequencies:
        """The wavelengths without scaling, divided by 2 pi."""
        exponents = np.arange(0, self.num_dims, 2, dtype=np.float32) / np.float32(self.num_dims)
        return np.float32(self.theta) ** exponents


def ropes_of_layer_types(
    config: ConfigValues, head_dim: int, *, of_sliding: Mapping[str, object] | None = None
) -> Mapping[str, Rope]:
    """The embedding of layers with full attention, and that of layers with a sliding window.

    Args:
        config: A config.json of transformers 4, with `rope_theta` and `rope_scaling`, or 5, with `rope_parameters`.
        head_dim: Number of dimensions of a head.
        of_sliding: The parameters of sliding layers where config.json has only those of the others; None: the same.

    Raises:
        ExportError: A value is invalid, or the kind of scaling is not supported.
    """
    key = "rope_scaling" if config.section("rope_scaling") else "rope_parameters"
    found = config.section(key) or {}
    if any(layer_type in found for layer_type in _LAYER_TYPES):
        sections = config.within(key, found, {})
        truncate = found.get("truncate")  # transformers reads it only beside the layer types
        of_types = {name: {**(sections.section(name) or {}), "truncate": truncate} for name in _LAYER_TYPES}
    else:
        of_types = {"full_attention": found, "sliding_attention": found if of_sliding is None else of_sliding}
    return {layer_type: _rope(config, key, values, head_dim) for layer_type, values in of_types.items()}


def _rope(config: ConfigValues, key: str, values: Mapping[str, object], head_dim: int) -> Rope:
    defaults = {name: config.get(name) for name in ("rope_theta", "partial_rotary_factor")}
    scaling = config.within(key, values, {**defaults, "rope_type": values.get("type") or "default"})
    kind = _kind(config, scaling)
    if kind not in _SCALINGS:
        supported = ", ".join(sorted(_SCALINGS))
        raise ExportError(f"{scaling.place}: rope_type {kind!r} is not supported; supported are {supported}")
    max_positions = config.size("max_position_embeddings")
    parameters = _Parameters(
        scaling=scaling,
        theta=scaling.number("rope_theta", above=1.0),
        num_dims=_num_rotated(config, scaling, head_dim),
        max_positions=max_positions,
        original_positions=_original_positions(config, scaling, max_positions),
    )
    with np.errstate(over="ignore"):  # a frequency that underflows to 0 changes no angle that matters
        return _SCALINGS[kind](parameters)


def _kind(config: ConfigValues, scaling: ConfigValues) -> str:
    kind = "default" if scaling.get("rope_type") is None else scaling.text("rope_type")
    if config.get("model_type") == "phi3":
        kind = _LONGROPE_OF_PHI3.get(kind, kind)
    return _OTHER_NAMES.get(kind, kind)


def _num_rotated(config: ConfigValues, scaling: ConfigValues, head_dim: int) -> int:
    part = 1.0 if scaling.get("partial_rotary_factor") is None else scaling.number("partial_rotary_factor")
    if part > 1 or (part < 1 and "partial_rotary_factor" not in config.defaults):
        allowed = "a number from 0 to 1" if "partial_rotary_factor" in config.defaults else "1 in this family"
        raise scaling.invalid("partial_rotary_factor", allowed)
    num_dims = int(head_dim * part)
    if not 1 <= num_dims <= head_dim - num_dims % 2:
        raise ExportError(
            f"{config.place}: {num_dims} of the {head_dim} dimensions of each head (head_dim, partial_rotary_factor) "
            "would be rotated in pairs; the number must be even and larger than 0"
        )
    return num_dims


def _original_positions(config: ConfigValues, scaling: ConfigValues, max_positions: int) -> int:
    """The context length before scaling. Phi-3 gives it beside `rope_scaling`, other families in it."""
    if _ORIGINAL in config.defaults:
        return config.size(_ORIGINAL)
    if scaling.get(_ORIGINAL) is not None:
        return scaling.size(_ORIGINAL)
    return max_positions if config.get(_ORIGINAL) is None else config.size(_ORIGINAL)


def _unscaled(parameters: _Parameters) -> Rope:
    return _as_rope(parameters.frequencies)


def _linear(parameters: _Parameters) -> Rope:
    return _as_rope(parameters.frequencies / np.float32(parameters.scaling.number("factor")))


def _dynamic(parameters: _Parameters) -> Rope:
    """Changes nothing up to `max_position_embeddings`, which is the context length of the export."""
    if parameters.scaling.get("alpha") is not None:
        raise ExportError(f"{parameters.scaling.place}: rope_type 'dynamic' with alpha is not supported")
    return _as_rope(parameters.frequencies)


def _llama3(parameters: _Parameters) -> Rope:
    scaling, original = parameters.scaling, parameters.original_positions
    factor, low, high = (scaling.number(key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    if low >= high:
        raise scaling.invalid("high_freq_factor", f"larger than low_freq_factor = {low:g}")
    frequencies = parameters.frequencies
    wavelengths = np.float32(2 * math.pi) / frequencies
    share = (np.float32(original) / wavelengths - np.float32(low)) / np.float32(high - low)
    slowed = frequencies / np.float32(factor)
    mixed = (1 - share) * slowed + share * frequencies
    kept = wavelengths < np.float32(original / high)
    scaled = np.where(wavelengths > np.float32(original / low), slowed, mixed)
    return _as_rope(np.where(kept, frequencies, scaled).astype(np.float32))


def _yarn(parameters: _Parameters) -> Rope:
    scaling, original = parameters.scaling, parameters.original_positions
    factor = scaling.optional_number("factor") or parameters.max_positions / original
    low = _dimension_with_rotations(parameters, scaling.optional_number("beta_fast") or 32)
    high = _dimension_with_rotations(parameters, scaling.optional_number("beta_slow") or 1)
    if scaling.get("truncate") is None or scaling.flag("truncate"):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, parameters.num_dims - 1)
    width = high - low or 0.001
    positions = np.arange(len(parameters.wavelengths), dtype=np.float32)
    kept = np.float32(1) - np.clip((positions - np.float32(low)) / np.float32(width), 0, 1).astype(np.float32)
    slowed = np.float32(1) / (np.float32(factor) * parameters.wavelengths)
    frequencies = slowed * (np.float32(1) - kept) + parameters.frequencies * kept
    return _as_rope(frequencies.astype(np.float32), scale=_yarn_scale(scaling, factor))


def _dimension_with_rotations(parameters: _Parameters, num_rotations: float) -> float:
    """The dimension that rotates that many times in the original context."""
    wavelength = parameters.original_positions / (num_rotations * 2 * math.pi)
    return parameters.num_dims * math.log(wavelength) / (2 * math.log(parameters.theta))


def _yarn_scale(scaling: ConfigValues, factor: float) -> float:
    given = scaling.optional_number("attention_factor")
    if given is not None:
        return given
    growth = math.log(factor) if factor > 1 else 0.0
    above, below = (_as_number(scaling, key) for key in ("mscale", "mscale_all_dim"))
    if above and below:
        return (0.1 * above * growth + 1.0) / (0.1 * below * growth + 1.0)
    return 0.1 * growth + 1.0


def _as_number(scaling: ConfigValues, key: str) -> float | None:
    return None if scaling.get(key) in (None, 0) else scaling.number(key)


def _longrope(parameters: _Parameters) -> Rope:
    scaling, original = parameters.scaling, parameters.original_positions
    factor = scaling.optional_number("factor") or parameters.max_positions / original
    scale = scaling.optional_number("attention_factor")
    if scale is None:
        scale = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 and original > 1 else 1.0
    short, long = (
        np.float32(1)
        / (np.array(scaling.numbers(key, len(parameters.wavelengths)), np.float32) * parameters.wavelengths)
        for key in ("short_factor", "long_factor")
    )
    if parameters.max_positions <= original:
        return _as_rope(short, scale=scale)
    return _as_rope(short, scale=scale, long=LongRope(frequencies=_as_floats(long), scale=scale, above=original))


def _as_rope(frequencies: _Frequencies, *, scale: float = 1.0, long: LongRope | None = None) -> Rope:
    return Rope(frequencies=_as_floats(frequencies), scale=scale, long=long)


def _as_floats(frequencies: _Frequencies) -> tuple[float, ...]:
    return tuple(float(frequency) for frequency in frequencies)


_SCALINGS: Mapping[str, Callable[[_Parameters], Rope]] = {
    "default": _unscaled,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
