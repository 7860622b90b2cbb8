"""Finds in config.json the length up to which a model computes positions in one way."""

from dataclasses import dataclass
from typing import cast

from onward_server.model.source.json_file import JsonObject

_ORIGINAL = "original_max_position_embeddings"
_SWITCHED = frozenset({"longrope", "su", "dynamic"})
"""Kinds of rotary embedding whose frequencies depend on the length of the sequence."""
_LONG_FACTORS = "long_factor"
"""The factors of long sequences. Early configurations of Phi-3 have them with the kind `yarn`."""
_DEFAULT_ORIGINAL = {"phi3": 4096}
"""The original length, by model_type, of a config.json that does not give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeLimit:
    """The longest sequence that is computed with one set of frequencies."""

    num_tokens: int
    kind: str


def rope_limit(config: JsonObject) -> RopeLimit | None:
    """The limit that config.json gives; None: it gives none.

    Beyond it, a model needs other keys in its cache than those that it computed before: see decision 0031.
    """
    for key in ("rope_scaling", "rope_parameters"):
        value = config.get(key)
        if not isinstance(value, dict):
            continue
        scaling = cast(JsonObject, value)
        kind = scaling.get("rope_type") or scaling.get("type")
        if not isinstance(kind, str) or (kind not in _SWITCHED and _LONG_FACTORS not in scaling):
            continue
        default = _DEFAULT_ORIGINAL.get(str(config.get("model_type")))
        lengths = (scaling.get(_ORIGINAL), config.get(_ORIGINAL), default, config.get("max_position_embeddings"))
        for length in lengths:
            if isinstance(length, int) and length > 0:
                return RopeLimit(num_tokens=length, kind=kind)
    return None
