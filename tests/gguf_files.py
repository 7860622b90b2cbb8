"""Writes small GGUF files for tests with the gguf package."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

Stored = NDArray[np.generic] | tuple[GGMLQuantizationType, NDArray[np.uint8]]
"""Floats, or blocks: their type and their bytes [rows, bytes of a row]."""


def write_gguf(
    path: Path, metadata: Mapping[str, object], tensors: Mapping[str, Stored], *, alignment: int | None = None
) -> Path:
    """Writes a file. Metadata may be strings, booleans, integers, floats, and lists of them."""
    writer = GGUFWriter(path, str(metadata.get("general.architecture", "test")))
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    for key, value in metadata.items():
        if key != "general.architecture":
            _add(writer, key, value)
    for name, stored in tensors.items():
        if isinstance(stored, tuple):
            writer.add_tensor(name, stored[1], raw_dtype=stored[0])
        else:
            writer.add_tensor(name, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: GGUFWriter, key: str, value: object) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list() | tuple() | np.ndarray():
            writer.add_array(key, cast(Sequence[object], value))
        case _:
            raise TypeError(f"{key}: {value!r}")


def random_blocks(block_type: GGMLQuantizationType, rows: int, columns: int, seed: int) -> NDArray[np.uint8]:
    """Blocks of random bits whose scales are ordinary numbers: [rows, bytes of a row]."""
    num_weights, num_bytes = GGML_QUANT_SIZES[block_type]
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (rows * columns // num_weights, num_bytes), dtype=np.uint8)
    for position in SCALES[block_type.name]:
        values = random.uniform(0.002, 0.02, len(blocks)) * random.choice([-1, 1], len(blocks))
        blocks[:, position : position + 2] = values.astype("<f2")[:, None].view(np.uint8)
    if block_type is GGMLQuantizationType.IQ1_M:  # the bits of its scale are spread over four numbers
        blocks[:, 49:56:2] = blocks[:, 49:56:2] & 0x0F | np.array([0x00, 0x80, 0x10, 0x20], np.uint8)
    if block_type is GGMLQuantizationType.MXFP4:
        blocks[:, 0] = random.integers(115, 125, len(blocks), dtype=np.uint8)
    return blocks.reshape(rows, -1)


SCALES: Mapping[str, Sequence[int]] = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "IQ4_NL": [0],
    "MXFP4": [],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_XS": [0],
    "IQ2_XXS": [0],
    "IQ2_XS": [0],
    "IQ2_S": [0],
    "IQ3_XXS": [0],
    "IQ3_S": [0],
    "IQ1_S": [0],
    "IQ1_M": [],
    "TQ1_0": [52],
    "TQ2_0": [64],
}
"""The positions of float16 numbers in the blocks of each type."""
