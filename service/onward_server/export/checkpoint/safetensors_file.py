"""Reads the header of a safetensors file, and checks all of it.

The file has a length in 8 bytes, a JSON object of that length, and the data. The object maps the name of each tensor to
its type, its shape, and the start and end of its data. As the format demands, the data of the tensors covers the file
without gaps or overlaps.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import cast

from onward_server.errors import ExportError
from onward_server.export.checkpoint.stored_tensor import StoredTensor
from onward_server.model.source.access import open_file, require_readable_file

_MAX_HEADER = 16 << 20
"""Bytes of a header. Those of the largest public checkpoints have a tenth of that."""
_MAX_RANK = 16
_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}


def read_safetensors(path: Path) -> Mapping[str, StoredTensor]:
    """The tensors of a file, by name.

    Raises:
        ExportError: The file is malformed or truncated.
        ModelFolderError: It cannot be read, is empty, or is a Git LFS pointer.
    """
    require_readable_file(path)
    with open_file(path) as file:
        header, data_start = _header(path, file)
        data_size = os.fstat(file.fileno()).st_size - data_start
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry, data_start) for name, entry in header.items()}
    _require_exact_cover(path, list(tensors.values()), data_start, data_size)
    return tensors


def _header(path: Path, file: BufferedReader) -> tuple[dict[str, object], int]:
    """The header, and the position of the data."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise ExportError(
            f"{path} is not a safetensors file, or is truncated: it has {size:,} bytes, but its first 8 bytes give its "
            f"header {length:,}; download or copy it again"
        )
    if length > _MAX_HEADER:
        raise ExportError(f"{path} has a header of {length:,} bytes, more than the limit of {_MAX_HEADER:,}")
    text = file.read(length)
    try:
        header: object = json.loads(text.decode(), object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path} has a header that is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise ExportError(f"{path} has a header that is not a JSON object")
    return cast(dict[str, object], header), 8 + length


def _without_repeated_keys(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is repeated")
        found[key] = value
    return found


def _tensor(path: Path, name: str, entry: object, data_start: int) -> StoredTensor:
    values = cast(dict[str, object], entry) if isinstance(entry, dict) else dict[str, object]()
    dtype, shape, offsets = values.get("dtype"), values.get("shape"), values.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ExportError(f"{path}: {name} has dtype {dtype!r}; known are {', '.join(sorted(_BITS))}")
    sizes = _sizes(shape)
    if sizes is None or len(sizes) > _MAX_RANK:
        raise ExportError(f"{path}: {name} has shape {shape!r}; it must be a list of at most {_MAX_RANK} sizes")
    ends = _sizes(offsets)
    if ends is None or len(ends) != 2 or ends[0] > ends[1]:
        raise ExportError(
            f"{path}: {name} has data_offsets {offsets!r}; they must be a start and an end, in this order"
        )
    start, end = ends
    if (end - start) * 8 != math.prod(sizes) * _BITS[dtype]:
        raise ExportError(f"{path}: {name} has {end - start:,} bytes, which do not fit shape {list(sizes)} of {dtype}")
    return StoredTensor(
        file=path, name=name, dtype=dtype, shape=sizes, offset=data_start + start, num_bytes=end - start
    )


def _sizes(value: object) -> tuple[int, ...] | None:
    """The integers of a list, none of them negative; None: it is something else."""
    items = cast(list[object], value) if isinstance(value, list) else [None]
    found = [item for item in items if isinstance(item, int) and not isinstance(item, bool) and item >= 0]
    return tuple(found) if len(found) == len(items) else None


def _require_exact_cover(path: Path, tensors: list[StoredTensor], data_start: int, data_size: int) -> None:
    end = data_start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.num_bytes)):
        if tensor.offset != end:
            problem = "overlaps the tensor before it" if tensor.offset < end else "does not follow the tensor before it"
            raise ExportError(
                f"{path}: {tensor.name} {problem}: it starts at byte {tensor.offset - data_start:,} of the data, "
                f"and that ends at {end - data_start:,}"
            )
        end = tensor.offset + tensor.num_bytes
    if end - data_start > data_size:
        raise ExportError(
            f"{path} is truncated: its tensors have {end - data_start:,} bytes, but the file has {data_size:,} of "
            "them; download or copy it again"
        )
    if end - data_start < data_size:
        raise ExportError(
            f"{path} has {data_size - end + data_start:,} bytes after its last tensor; download or copy it again"
        )
