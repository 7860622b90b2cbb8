"""A tensor of a GGUF file, read a range of rows at a time.

Files are read rather than mapped, because a mapped file would count as memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward_server.errors import ExportError, ModelFolderError
from onward_server.export.blocks.codec import BlockCodec
from onward_server.export.gguf_model.block_types import BLOCK_CODECS, FLOAT_TYPES
from onward_server.export.gguf_model.gguf_file import TensorInfo
from onward_server.export.tensors import BlockLayout, Floats, Rows
from onward_server.model.source.access import open_file


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor whose type can be exported: see `require_readable`."""

    info: TensorInfo

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file has it."""
        return self.info.shape

    @property
    def layout(self) -> BlockLayout | None:
        """That of its block type."""
        codec = self._codec
        return None if codec is None else codec.layout

    def read(self, start: int, stop: int) -> Rows:
        """See `Tensor.read`.

        Raises:
            ExportError: The file cannot be read any more or has become shorter since it was opened, or a value is not
                finite.
        """
        data = self._bytes(start, stop)
        with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are reported below
            if (codec := self._codec) is None:
                values = FLOAT_TYPES[self.info.block_type](data)
                self._require_finite(values)
                return values.reshape(stop - start, *self.shape[1:])
            blocks = codec.decode(data.reshape(stop - start, -1))
            self._require_finite(blocks.scales * np.float32(codec.layout.center))
        if blocks.offsets is not None:
            self._require_finite(blocks.offsets)
        return blocks

    @property
    def _codec(self) -> BlockCodec | None:
        return BLOCK_CODECS.get(self.info.block_type)

    def _require_finite(self, values: Floats) -> None:
        if not np.isfinite(values).all():
            raise ExportError(
                f"{self.info.path}: {self.info.name} has values that are not finite (infinite or NaN); "
                "download the file again"
            )

    def _bytes(self, start: int, stop: int) -> NDArray[np.uint8]:
        num_bytes = (stop - start) * self.info.row_bytes
        try:
            with open_file(self.info.path) as file:
                file.seek(self.info.start + start * self.info.row_bytes)
                data = file.read(num_bytes)
        except ModelFolderError as error:
            raise ExportError(str(error)) from error
        if len(data) < num_bytes:
            raise ExportError(
                f"{self.info.path} was truncated while {self.info.name} was read; restore it and export again"
            )
        return np.frombuffer(data, np.uint8)


def require_readable(info: TensorInfo) -> StoredTensor:
    """The tensor, whose type is checked.

    Raises:
        ExportError: It cannot be exported.
    """
    supported = FLOAT_TYPES if len(info.shape) == 1 else {**FLOAT_TYPES, **BLOCK_CODECS}
    if info.block_type not in supported:
        raise ExportError(
            f"{info.path}: {info.name} has type {info.block_type.name}; a tensor of its shape can have "
            f"{', '.join(block_type.name for block_type in supported)}; use a file in one of these types"
        )
    return StoredTensor(info)
