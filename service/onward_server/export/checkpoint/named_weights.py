"""Finds each weight of a decoder among the tensors of a checkpoint."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onward_server.errors import ExportError
from onward_server.export.architectures.naming import Naming
from onward_server.export.architectures.reading import Architecture
from onward_server.export.checkpoint.stored_tensor import Shifted, StoredTensor, Transposed
from onward_server.export.decoder_config import DecoderConfig, Rope
from onward_server.export.tensors import ArrayTensor, ReorderedRows, RowRange, Tensor

_PREFIXES = (
    "model.",
    "",
    "transformer.",
    "model.decoder.",
    "decoder.",
    "language_model.model.",
    "model.language_model.",
    "language_model.",
)
"""What checkpoints put before the names of all weights except the output layer's."""
_HEADS = ("lm_head.weight", "model.lm_head.weight", "language_model.lm_head.weight")
_IGNORED = re.compile(r"(^|\.)rotary_(pos_)?emb\.|\.attn\.(masked_)?bias$|(^|\.)position_ids$")
"""Tables that are computed from config.json and may be stored, too."""
_QUANTIZED = re.compile(
    r"\.(qweight|qzeros|scales|g_idx|weight_scale(_inv|_2)?|input_scale|weight_packed|weight_shape|SCB|absmax|quant_map|"
    r"quant_state\..*|[kv]_scale|codebooks)$"
)
_COMPARED_ROWS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of a checkpoint."""

    config: DecoderConfig
    """Its `tied_embeddings` follows from the weights, which win over config.json."""
    tensors: Mapping[str, Tensor]
    """By the names of `DecoderConfig.weight_shapes()`."""


def find_weights(folder: Path, architecture: Architecture, stored: Mapping[str, StoredTensor]) -> Weights:
    """Finds each weight and checks its type and shape.

    Args:
        folder: The checkpoint, for error texts.
        architecture: The model according to config.json.
        stored: The tensors of the checkpoint.

    Raises:
        ExportError: A weight is missing, or of another type or shape, or there are weights that are not known.
    """
    if found := next((name for name in stored if _QUANTIZED.search(name)), None):
        raise ExportError(
            f"{folder} is quantized: it has {found}; use the checkpoint in floating point that it was made from"
        )
    prefix = _prefix(folder, architecture.naming, stored)
    head = next((name for name in _HEADS if name in stored), None)
    finder = _Finder(folder=folder, architecture=architecture, stored=stored, prefix=prefix, head=head)
    config = replace(architecture.decoder, tied_embeddings=finder.is_tied())
    tensors = {name: finder.find(name, shape) for name, shape in config.weight_shapes().items()}
    finder.require_all_used()
    return Weights(config=config, tensors=tensors)


def _prefix(folder: Path, naming: Naming, stored: Mapping[str, StoredTensor]) -> str:
    table = f"{naming.modules['embed_tokens']}.weight"
    for prefix in _PREFIXES:
        if prefix + table in stored:
            return prefix
    raise ExportError(
        f"{folder} has no embedding table, such as {_PREFIXES[0]}{table}, among its {len(stored)} tensors"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finder:
    folder: Path
    architecture: Architecture
    stored: Mapping[str, StoredTensor]
    prefix: str
    head: str | None
    """The name of the output layer's matrix."""
    used: set[str] = field(default_factory=set[str])

    @property
    def naming(self) -> Naming:
        return self.architecture.naming

    def is_tied(self) -> bool:
        """Whether the output layer is the embedding table.

        As in transformers, weights win over config.json: if an output layer differs from the table, they are not tied.
        """
        if self.head is None:
            if self.architecture.says_untied:
                raise ExportError(
                    f"{self.folder} has no {_HEADS[0]}, but config.json has tie_word_embeddings = false; use the "
                    "checkpoint of a causal language model, or correct config.json"
                )
            return True
        if not self.architecture.decoder.tied_embeddings:
            return False
        self.used.add(self.head)
        table = self.stored[f"{self.prefix}{self.naming.modules['embed_tokens']}.weight"]
        head = self.stored[self.head]
        for tensor in (table, head):
            tensor.require_floats()
        return _are_equal(table, head)

    def find(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor of a weight of `DecoderConfig.weight_shapes()`."""
        module, parameter = name.rsplit(".", 1)
        canonical = module.rsplit(".", 1)[-1]
        if module == "lm_head" and self.head is not None:
            return self._stored(self.head, shape)
        if canonical.endswith("_norm"):
            return self._norm(module, parameter, shape)
        if canonical == "position_embeddings":
            first, (num_positions, width) = self.naming.first_position, shape
            return RowRange(
                self._plain(module, parameter, (first + num_positions, width)), first, first + num_positions
            )
        if (source := self.naming.source_of(canonical)) is not None:
            return self._part(module, source, parameter)
        found = self._plain(module, parameter, shape)
        if self.naming.interleaved_rope and canonical in ("q_proj", "k_proj"):
            return self._half_split(found, self.architecture.decoder.layers[_layer_index(module)].rope)
        return found

    def require_all_used(self) -> None:
        """Checks that no weight is left over, since it would change the output."""
        is_part = self.architecture.is_part
        unknown = [
            name
            for name in self.stored
            if name not in self.used and not _IGNORED.search(name) and (not is_part or name.startswith(self.prefix))
        ]
        if unknown:
            others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise ExportError(
                f"{self.folder} has weights that a model of type {self.architecture.decoder.model_type!r} with this "
                f"config.json does not have: {unknown[0]}{others}; the model is of another kind, or config.json is "
                "not its own"
            )

    def _norm(self, module: str, parameter: str, shape: tuple[int, ...]) -> Tensor:
        if self.naming.constant_norms:
            return ArrayTensor(np.full(shape, parameter == "weight", np.float32))
        found = self._plain(module, parameter, shape)
        return Shifted(found, self.naming.norm_offset) if parameter == "weight" and self.naming.norm_offset else found

    def _part(self, module: str, source: str, parameter: str) -> Tensor:
        """The rows of one of several modules that are stored as one."""
        shapes = self.architecture.decoder.weight_shapes()
        layer, canonical = module.rsplit(".", 1)
        parts = self.naming.fused[source]
        rows = [shapes[f"{layer}.{part}.{parameter}"] for part in parts]
        whole = self._oriented(module, source, parameter, (sum(shape[0] for shape in rows), *rows[0][1:]))
        start = sum(shape[0] for shape in rows[: parts.index(canonical)])
        return RowRange(whole, start, start + rows[parts.index(canonical)][0])

    def _plain(self, module: str, parameter: str, shape: tuple[int, ...]) -> Tensor:
        return self._oriented(module, self.naming.modules[module.rsplit(".", 1)[-1]], parameter, shape)

    def _oriented(self, module: str, source: str, parameter: str, shape: tuple[int, ...]) -> Tensor:
        layer = module.split(".")[1:-1]
        name = f"{self.prefix}{''.join(f'{self.naming.layers}.{index}.' for index in layer)}{source}.{parameter}"
        if parameter == "weight" and source in self.naming.transposed:
            return Transposed(self._stored(name, shape[::-1]))
        return self._stored(name, shape)

    def _stored(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        tensor = self.stored.get(name)
        if tensor is None:
            raise ExportError(
                f"{self.folder} lacks the weight {name}, which a model of type "
                f"{self.architecture.decoder.model_type!r} has; download the checkpoint again"
            )
        if tensor.shape != shape:
            raise ExportError(
                f"{tensor.file}: {name} has shape {list(tensor.shape)}, but {list(shape)} according to config.json"
            )
        tensor.require_floats()
        self.used.add(name)
        return tensor

    def _half_split(self, tensor: Tensor, rope: Rope | None) -> Tensor:
        """Orders interleaved dimensions as `Rope` describes: each pair half of the rotated dimensions apart."""
        if rope is None:
            return tensor
        head_dim, half = self.architecture.decoder.head_dim, len(rope.frequencies)
        of_head = np.arange(head_dim)
        of_head[: 2 * half] = np.concatenate([np.arange(0, 2 * half, 2), np.arange(1, 2 * half, 2)])
        heads = np.arange(0, tensor.shape[0], head_dim)
        order: NDArray[np.int64] = (heads[:, None] + of_head).reshape(-1)
        return ReorderedRows(tensor, order)


def _layer_index(module: str) -> int:
    return int(module.split(".")[1])


def _are_equal(first: StoredTensor, second: StoredTensor) -> bool:
    if first.shape != second.shape:
        return False
    return all(
        np.array_equal(first.read(start, stop), second.read(start, stop)) for start, stop in _row_ranges(first.shape[0])
    )


def _row_ranges(num_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, num_rows, _COMPARED_ROWS):
        yield start, min(start + _COMPARED_ROWS, num_rows)
