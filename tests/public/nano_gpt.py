"""Reads minGPT's trained "nano-gpt-sort", which sorts six symbols."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

CHECKPOINT = Path("nano-gpt-sort/gpt-nano-sort-model.json")
REFERENCE = Path("nano-gpt-sort/gpt-nano-sort-t0-partials.json")
"""Activations of the original, for three inputs of eleven symbols."""


def read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The tensors of CHECKPOINT or REFERENCE by name."""
    document = cast("Mapping[str, Mapping[str, object]]", json.loads(path.read_text(encoding="utf-8")))
    return {
        name: np.frombuffer(base64.b64decode(cast("str", entry["data"])), "<f4").reshape(
            cast("list[int]", entry["shape"])
        )
        for name, entry in document.items()
        if "data" in entry
    }
