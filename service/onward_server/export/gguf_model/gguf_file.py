"""Opens GGUF files: reads their metadata and where their tensors are, and checks all of it before any data is read."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gguf import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType

from onward_server.errors import ExportError, ModelFolderError
from onward_server.export.gguf_model.header_reader import HeaderReader, Value
from onward_server.export.gguf_model.metadata import Metadata
from onward_server.model.source.access import open_file, require_readable_file
from onward_server.model.source.export_choice import GGUF_PART, MAX_GGUF_PARTS

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_ENTRIES = 100_000
"""Maximum number of metadata entries, and of tensors, in a file."""
_MAX_DIMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Where a tensor is, and how it is stored."""

    name: str
    path: Path
    shape: tuple[int, ...]
    """Rows first, as in numpy; the file has the reverse."""
    block_type: GGMLQuantizationType
    start: int
    """Position of its first byte in the file."""
    num_bytes: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, an index of the first axis."""
        return self.num_bytes // self.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFile:
    """A GGUF file, or the parts of a split one."""

    path: Path
    metadata: Metadata
    tensors: Mapping[str, TensorInfo]


def open_gguf(path: Path) -> GgufFile:
    """Reads the header of a GGUF file. For the first part of a split file, also those of the other parts.

    Raises:
        ExportError: The file cannot be read, is not a complete GGUF file, or contradicts itself.
    """
    first = _read(path)
    count = first.metadata.optional_size("split.count", maximum=MAX_GGUF_PARTS) or 1
    parts = [first, *(_read(part) for part in _other_parts(first, count))]
    tensors = [tensor for part in parts for tensor in part.tensors.values()]
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) < len(tensors):
        raise ExportError(f"{path}: a tensor is in several parts of the file; download or copy them again")
    expected = first.metadata.optional_size("split.tensors.count")
    if expected is not None and count > 1 and expected != len(tensors):
        raise ExportError(
            f"{path}: the parts have {len(tensors)} tensors, but should have {expected}; download them again"
        )
    return GgufFile(path=path, metadata=first.metadata, tensors=by_name)


def is_later_part(name: str) -> bool:
    """Whether a file name is that of a part of a split GGUF file other than the first."""
    found = GGUF_PART.fullmatch(name)
    return found is not None and int(found["number"]) > 1


def _other_parts(first: GgufFile, count: int) -> Sequence[Path]:
    if count == 1:
        return []
    found = GGUF_PART.fullmatch(first.path.name)
    if found is None or int(found["count"]) != count:
        raise ExportError(
            f"{first.path} is one of {count} parts of a file; give the parts their original names, such as "
            f"{first.path.stem}-00001-of-{count:05d}.gguf"
        )
    model, number, digits = found.groups()
    if int(number) != 1:
        raise ExportError(f"{first.path} is part {int(number)} of {count}; name {model}-00001-of-{digits}.gguf")
    return [first.path.with_name(f"{model}-{other:05d}-of-{digits}.gguf") for other in range(2, count + 1)]


def _read(path: Path) -> GgufFile:
    try:
        require_readable_file(path)
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            return _header(path, HeaderReader(file, size), size)
    except ModelFolderError as error:
        raise ExportError(str(error)) from error
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error


def _header(path: Path, reader: HeaderReader, size: int) -> GgufFile:
    _require_magic(reader)
    num_tensors, num_entries = reader.uint64(), reader.uint64()
    if max(num_tensors, num_entries) > _MAX_ENTRIES:
        raise ExportError(
            f"the header announces {num_tensors:,} tensors and {num_entries:,} metadata entries; {_MAX_ENTRIES:,} are "
            "allowed"
        )
    metadata = Metadata(_entries(reader, num_entries))
    infos = [_tensor(path, reader) for _ in range(num_tensors)]
    alignment = metadata.optional_size("general.alignment") or GGUF_DEFAULT_ALIGNMENT
    data_start = -(-reader.position // alignment) * alignment
    tensors = [_placed(info, data_start, alignment) for info in infos]
    _require_no_overlap(tensors, size)
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) < len(tensors):
        raise ExportError("two tensors have the same name; download or copy the file again")
    return GgufFile(path=path, metadata=metadata, tensors=by_name)


def _require_magic(reader: HeaderReader) -> None:
    magic = reader.take(4)
    if magic != _MAGIC:
        raise ExportError(f"not a GGUF file: it starts with {magic!r}, not {_MAGIC!r}")
    version = reader.uint32()
    if version and not version & 0xFFFF:
        raise ExportError("the file is big-endian; only little-endian GGUF files can be exported")
    if version not in _VERSIONS:
        raise ExportError(
            f"the file has GGUF version {version}; versions {_VERSIONS[0]} and {_VERSIONS[1]} are supported"
        )


def _entries(reader: HeaderReader, count: int) -> Mapping[str, Value]:
    entries: dict[str, Value] = {}
    for _ in range(count):
        key = reader.text()
        if key in entries:
            raise ExportError(f"the metadata has {key!r} twice")
        try:
            entries[key] = reader.value()
        except ExportError as error:
            raise ExportError(f"{key}: {error}") from error
    return entries


def _tensor(path: Path, reader: HeaderReader) -> TensorInfo:
    """Reads the description of a tensor. Its start is relative to the data."""
    name = reader.text()
    num_dims = reader.uint32()
    if not 1 <= num_dims <= _MAX_DIMS:
        raise ExportError(f"{name} has {num_dims} dimensions; 1 to {_MAX_DIMS} are allowed")
    shape = tuple(reader.uint64() for _ in range(num_dims))[::-1]
    block_type = _block_type(name, reader.uint32())
    num_weights, block_bytes = GGML_QUANT_SIZES[block_type]
    if 0 in shape or shape[-1] % num_weights:
        raise ExportError(
            f"{name} has shape {list(shape)}; sizes must be above 0, and rows of {block_type.name} a multiple of "
            f"{num_weights}"
        )
    num_bytes = math.prod(shape) // num_weights * block_bytes
    return TensorInfo(
        name=name, path=path, shape=shape, block_type=block_type, start=reader.uint64(), num_bytes=num_bytes
    )


def _block_type(name: str, number: int) -> GGMLQuantizationType:
    try:
        return GGMLQuantizationType(number)
    except ValueError:
        raise ExportError(
            f"{name} has block type {number}, which is unknown; convert the model to Q8_0, Q6_K or Q4_K_M"
        ) from None


def _placed(info: TensorInfo, data_start: int, alignment: int) -> TensorInfo:
    if info.start % alignment:
        raise ExportError(
            f"{info.name} starts at byte {info.start:,} of the data, which is not a multiple of {alignment}"
        )
    return replace(info, start=data_start + info.start)


def _require_no_overlap(tensors: Sequence[TensorInfo], size: int) -> None:
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.start):
        if tensor.start < end:
            raise ExportError(f"{tensor.name} overlaps the tensor before it; download or copy the file again")
        end = tensor.start + tensor.num_bytes
        if end > size:
            raise ExportError(
                f"the file is truncated: it has {size:,} bytes, but {tensor.name} ends at {end:,}; download or copy it "
                "again"
            )
