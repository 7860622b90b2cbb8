"""Places the parts of weights in a data file, and writes it a range of rows at a time."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import TensorProto, helper

from onward_server.export.graph.stored_weights import Part, StoredWeight

DATA_FILE = "model.onnx.data"
_ALIGNMENT = 4096
"""Every part begins at a multiple of it, so that ONNX Runtime can map it."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """Where each part of the weights lies."""

    weights: Sequence[StoredWeight]
    offsets: dict[str, int]
    """Offset of a part, by its name."""
    num_bytes: int
    """Size of the file."""

    @classmethod
    def of(cls, weights: Sequence[StoredWeight]) -> "DataFile":
        """Places the weights one after the other."""
        offsets: dict[str, int] = {}
        end = 0
        for part in (part for weight in weights for part in weight.parts):
            offsets[part.name] = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = offsets[part.name] + part.num_bytes
        return cls(weights=weights, offsets=offsets, num_bytes=end)

    @property
    def content_bytes(self) -> int:
        """Size of all parts, without the gaps between them."""
        return sum(part.num_bytes for weight in self.weights for part in weight.parts)

    def initializer(self, part: Part) -> TensorProto:
        """An initializer that refers to the file."""
        tensor = TensorProto(
            name=part.name,
            data_type=helper.np_dtype_to_tensor_dtype(part.element_type),
            dims=part.shape,
            data_location=TensorProto.EXTERNAL,
        )
        place = {"location": DATA_FILE, "offset": self.offsets[part.name], "length": part.num_bytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def write(self, path: Path, advance: Callable[[int], None]) -> None:
        """Writes the file; calls `advance` with the number of bytes after each piece."""
        with path.open("wb") as file:
            for weight in self.weights:
                self._write_weight(file, weight, advance)
            file.truncate(self.num_bytes)
            os.fsync(file.fileno())  # before the graph is written, so that a graph is never there without its data

    def _write_weight(self, file: BinaryIO, weight: StoredWeight, advance: Callable[[int], None]) -> None:
        ends = [self.offsets[part.name] for part in weight.parts]
        for chunk in weight.chunks():
            for index, (part, values) in enumerate(zip(weight.parts, chunk, strict=True)):
                assert values.dtype == part.element_type
                file.seek(ends[index])
                ends[index] += file.write(np.ascontiguousarray(values).data)
                advance(values.nbytes)
        expected = [self.offsets[part.name] + part.num_bytes for part in weight.parts]
        assert ends == expected, weight.parts


def embedded_initializers(weights: Sequence[StoredWeight]) -> dict[str, TensorProto]:
    """Initializers that hold the contents of all parts, by name."""
    made: dict[str, TensorProto] = {}
    for weight in weights:
        contents = [bytearray() for _ in weight.parts]
        for chunk in weight.chunks():
            for content, values in zip(contents, chunk, strict=True):
                content.extend(values.tobytes())
        for part, content in zip(weight.parts, contents, strict=True):
            data_type = helper.np_dtype_to_tensor_dtype(part.element_type)
            made[part.name] = TensorProto(name=part.name, data_type=data_type, dims=part.shape, raw_data=bytes(content))
    return made
