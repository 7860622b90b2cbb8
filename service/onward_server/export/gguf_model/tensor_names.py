"""Maps the canonical names of weights to the tensors of a GGUF file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from gguf import MODEL_TENSOR, TENSOR_NAMES
from numpy.typing import NDArray

from onward_server.errors import ExportError
from onward_server.export.decoder_config import DecoderConfig, Projection
from onward_server.export.gguf_model.gguf_file import GgufFile
from onward_server.export.gguf_model.gguf_tensor import require_readable
from onward_server.export.tensors import ReorderedRows, RowRange, Tensor

TOKEN_EMBEDDINGS = f"{TENSOR_NAMES[MODEL_TENSOR.TOKEN_EMBD]}.weight"
ROPE_FACTORS = f"{TENSOR_NAMES[MODEL_TENSOR.ROPE_FREQS]}.weight"
SHORT_ROPE_FACTORS = f"{TENSOR_NAMES[MODEL_TENSOR.ROPE_FACTORS_SHORT]}.weight"
LONG_ROPE_FACTORS = f"{TENSOR_NAMES[MODEL_TENSOR.ROPE_FACTORS_LONG]}.weight"

_QUERY_KEY_VALUE = ("q_proj", "k_proj", "v_proj")
_GATE_UP = ("gate_proj", "up_proj")
_MODULES: Mapping[str, MODEL_TENSOR] = {
    "embed_tokens": MODEL_TENSOR.TOKEN_EMBD,
    "position_embeddings": MODEL_TENSOR.POS_EMBD,
    "final_norm": MODEL_TENSOR.OUTPUT_NORM,
    "lm_head": MODEL_TENSOR.OUTPUT,
    "attention_norm": MODEL_TENSOR.ATTN_NORM,
    "attention_output_norm": MODEL_TENSOR.ATTN_POST_NORM,
    "mlp_norm": MODEL_TENSOR.FFN_NORM,
    "mlp_output_norm": MODEL_TENSOR.FFN_POST_NORM,
    "q_proj": MODEL_TENSOR.ATTN_Q,
    "k_proj": MODEL_TENSOR.ATTN_K,
    "v_proj": MODEL_TENSOR.ATTN_V,
    "o_proj": MODEL_TENSOR.ATTN_OUT,
    "q_norm": MODEL_TENSOR.ATTN_Q_NORM,
    "k_norm": MODEL_TENSOR.ATTN_K_NORM,
    "gate_proj": MODEL_TENSOR.FFN_GATE,
    "up_proj": MODEL_TENSOR.FFN_UP,
    "down_proj": MODEL_TENSOR.FFN_DOWN,
}
_FUSED: Mapping[str, tuple[MODEL_TENSOR, tuple[str, ...]]] = {
    **dict.fromkeys(_QUERY_KEY_VALUE, (MODEL_TENSOR.ATTN_QKV, _QUERY_KEY_VALUE)),
    **dict.fromkeys(_GATE_UP, (MODEL_TENSOR.FFN_UP, _GATE_UP)),
}
"""The tensor that may hold a module together with others, and all of them in order, one below the other."""
_NOT_WEIGHTS = {ROPE_FACTORS, SHORT_ROPE_FACTORS, LONG_ROPE_FACTORS}
_OLD_FREQUENCIES = ".attn_rot_embd.weight"
"""Rotary frequencies that old files have in each layer, and that follow from the metadata."""
_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a file has a weight."""

    tensor: str
    modules: tuple[str, ...]
    """The modules that the tensor holds, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorNames:
    """Finds the weights of a file."""

    file: GgufFile
    gated: bool
    """The MLP has a gate, which may be fused with the projection beside it."""

    def biases(self) -> frozenset[Projection]:
        """The projections that have a bias in the first layer, or in the output layer."""
        return frozenset(
            projection
            for projection in cast(tuple[Projection, ...], get_args(Projection))
            if any(self._place(f"{prefix}{projection}.bias") for prefix in ("", "layers.0."))
        )

    def weights(self, config: DecoderConfig, *, interleaved_rope: bool) -> Mapping[str, Tensor]:
        """The weights by canonical name.

        Args:
            config: The decoder that the file holds.
            interleaved_rope: The rows of queries and keys are in the order in which dimension 2 i is rotated with
                dimension 2 i + 1.

        Raises:
            ExportError: A tensor is missing, is not a weight of the decoder, or has another shape or a type that is not
                supported.
        """
        shapes = config.weight_shapes()
        found: dict[str, Tensor] = {}
        used: set[str] = set(_NOT_WEIGHTS)
        for name in shapes:
            place = self._place(name)
            if place is None:
                raise ExportError(
                    f"{self.file.path}: the tensor {_gguf_name(name)} is missing; download or convert the file again"
                )
            used.add(place.tensor)
            tensor = self._part(name, place, shapes)
            if interleaved_rope and _module(name) in ("q_proj", "k_proj"):
                tensor = ReorderedRows(tensor, _half_split_order(tensor.shape[0], config.head_dim))
            found[name] = tensor
        self._require_known(used)
        return found

    def _place(self, name: str) -> _Place | None:
        module = _module(name)
        stored = _gguf_name(name)
        if module in _FUSED and (self.gated or module not in _GATE_UP):
            tensor, modules = _FUSED[module]
            fused = _gguf_name(name, tensor)
            first = _gguf_name(_sibling(name, modules[0]))
            if fused in self.file.tensors and first not in self.file.tensors:
                return _Place(tensor=fused, modules=modules)
        return _Place(tensor=stored, modules=(module,)) if stored in self.file.tensors else None

    def _part(self, name: str, place: _Place, shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
        info = self.file.tensors[place.tensor]
        rows = {module: shapes[_sibling(name, module)][0] for module in place.modules}
        expected = (sum(rows.values()), *shapes[name][1:])
        if info.shape != expected:
            raise ExportError(
                f"{info.path}: {info.name} has shape {list(info.shape)}; by the metadata it must be {list(expected)}"
            )
        whole = require_readable(info)
        if len(rows) == 1:
            return whole
        module = _module(name)
        start = sum(rows[other] for other in place.modules[: place.modules.index(module)])
        return RowRange(whole, start, start + rows[module])

    def _require_known(self, used: set[str]) -> None:
        unknown = [name for name in self.file.tensors if name not in used and not name.endswith(_OLD_FREQUENCIES)]
        if unknown:
            shown = ", ".join(unknown[:_MAX_SHOWN]) + (", ..." if len(unknown) > _MAX_SHOWN else "")
            raise ExportError(
                f"{self.file.path} has {len(unknown)} tensors that its architecture does not have, or that cannot be "
                f"exported: {shown}"
            )


def _half_split_order(num_rows: int, head_dim: int) -> NDArray[np.int64]:
    """The rows of heads whose pairs are neighbors, in the order in which pairs are half a head apart."""
    return np.arange(num_rows, dtype=np.int64).reshape(-1, head_dim // 2, 2).swapaxes(1, 2).ravel()


def _module(name: str) -> str:
    return name.split(".")[-2]


def _sibling(name: str, module: str) -> str:
    """The name with another module."""
    *before, _, part = name.split(".")
    return ".".join([*before, module, part])


def _gguf_name(name: str, tensor: MODEL_TENSOR | None = None) -> str:
    """The file's name for a canonical one, or for another tensor of the same layer."""
    parts = name.split(".")
    pattern = TENSOR_NAMES[_MODULES[parts[-2]] if tensor is None else tensor]
    return f"{pattern.format(bid=parts[1])}.{parts[-1]}"
