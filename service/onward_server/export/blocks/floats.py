"""Decodes stored floats, by the names that safetensors and GGUF have for their types."""

from collections.abc import Callable, Mapping

import numpy as np

from onward_server.export.blocks.codec import Bytes
from onward_server.export.tensors import Floats


def _from_bfloat16(data: Bytes) -> Floats:
    return (data.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


def _from_type(dtype: str) -> Callable[[Bytes], Floats]:
    def decode(data: Bytes) -> Floats:
        with np.errstate(over="ignore"):
            return data.view(dtype).astype(np.float32, copy=False)

    return decode


FLOATS: Mapping[str, Callable[[Bytes], Floats]] = {
    "F32": _from_type("<f4"),
    "F16": _from_type("<f2"),
    "BF16": _from_bfloat16,
    "F64": _from_type("<f8"),
}
"""Takes the bytes of some values, little-endian. A value outside the range of float32 becomes infinite."""
