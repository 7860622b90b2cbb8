"""Checks that weights fit a configuration, and writes the decoder as model.onnx and model.onnx.data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onward_server.errors import ExportError
from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.graph.data_file import DATA_FILE, DataFile, embedded_initializers
from onward_server.export.graph.decoder_graph import build_decoder
from onward_server.export.graph.onnx_graph import Graph
from onward_server.export.graph.rotation import HeadLayout
from onward_server.export.graph.stored_formats import in_precision
from onward_server.export.tensors import Tensor
from onward_server.model.exporting.precision import Precision

MODEL_FILE = "model.onnx"
_MAX_LISTED = 12


@dataclass(frozen=True, slots=True)
class DecoderPlan:
    """A decoder that is ready to be written. No weight has been read."""

    _graph: Graph
    _data: DataFile
    _head_size: int

    @classmethod
    def of(cls, config: DecoderConfig, tensors: Mapping[str, Tensor], precision: Precision) -> "DecoderPlan":
        """Builds the graph.

        Args:
            config: The decoder.
            tensors: All weights, by the names and with the shapes of `config.weight_shapes()`.
            precision: How they are stored. Blocks stay as they are in int8 and int4.

        Raises:
            ExportError: A weight is missing, unknown or of the wrong shape, or no graph can have the configuration.
        """
        _check_heads(config)
        _check_weights(config, tensors)
        float_type = np.float16 if precision == "fp16" else np.float32
        graph = build_decoder(config, in_precision(tensors, precision), float_type)
        return cls(graph, DataFile.of(graph.weights), HeadLayout.of(config).size)

    @property
    def inputs(self) -> Sequence[str]:
        """The inputs of the graph that have no default."""
        return self._graph.input_names

    @property
    def shares_cache(self) -> bool:
        """Whether new keys and values can be written behind the old ones, in the same memory."""
        return "GroupQueryAttention" in self._graph.operators

    @property
    def cache_head_size(self) -> int:
        """The last axis of the caches: the dimensions of a head, filled up to what attention supports."""
        return self._head_size

    @property
    def num_bytes(self) -> int:
        """Size of the data file."""
        return self._data.num_bytes

    @property
    def weight_bytes(self) -> int:
        """Size of all weights: the sum of what `write` passes to `advance`."""
        return self._data.content_bytes

    def write(
        self,
        folder: Path,
        advance: Callable[[int], None] = lambda _: None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Writes the data file, and then the graph.

        A range of rows is in memory at a time.

        Args:
            folder: An existing folder.
            advance: Called with the number of bytes after each piece of the data file.
            metadata: Properties of the model, which tools show.
        """
        self._data.write(folder / DATA_FILE, advance)
        model = self._graph.model("decoder", self._data.initializer, metadata)
        (folder / MODEL_FILE).write_bytes(model.SerializeToString(deterministic=True))

    def embedded(self) -> bytes:
        """The content of a model.onnx that holds its weights. All are in memory; a model must have less than 2 GiB."""
        initializers = embedded_initializers(self._graph.weights)
        model = self._graph.model("decoder", lambda part: initializers[part.name])
        return model.SerializeToString(deterministic=True)


def _check_heads(config: DecoderConfig) -> None:
    if config.num_heads % config.num_kv_heads:
        raise ExportError(
            f"the model has {config.num_heads} query heads and {config.num_kv_heads} KV heads; the number of query "
            "heads must be a multiple of that of KV heads"
        )
    rotated = max((2 * len(layer.rope.frequencies) for layer in config.layers if layer.rope is not None), default=0)
    if rotated > config.head_dim:
        raise ExportError(
            f"the model rotates {rotated} dimensions of a head that has {config.head_dim}; it must not rotate more "
            "than a head has"
        )


def _check_weights(config: DecoderConfig, tensors: Mapping[str, Tensor]) -> None:
    expected = config.weight_shapes()
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    lines = [f"{name} {_text(expected[name])} is missing" for name in expected if name not in found]
    lines += [f"{name} {_text(found[name])} is unknown" for name in found if name not in expected]
    lines += [
        f"{name} is {_text(found[name])} instead of {_text(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if lines:
        shown = lines[:_MAX_LISTED] + ([f"and {len(lines) - _MAX_LISTED} more"] if len(lines) > _MAX_LISTED else [])
        raise ExportError("the weights do not fit the configuration:\n  " + "\n  ".join(shown))


def _text(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
