"""The shape of the keys or the values of one layer, as a graph takes them.

Most graphs take (B, H_kv, length, D). Others merge rows and heads (BLOOM), fuse keys and values (GPT-BigCode, the
exports of ONNX Runtime's own scripts), or have the axes in another order.
"""

import re
from dataclasses import dataclass

from onward_server.errors import ModelFolderError
from onward_server.model.onnx_session import ElementType, TensorInfo
from onward_server.model.source.json_file import JsonObject

_LENGTH = re.compile("past|seq|len|total|cache", re.IGNORECASE)
"""Found in the names of axes whose size is the number of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTensor:
    """The keys or the values of one layer, or both."""

    past_name: str
    present_name: str
    sizes: tuple[int, ...]
    """Size of each axis for one row and one token."""
    batch_axis: int
    length_axis: int
    element_type: ElementType
    window: int = 0
    """Number of tokens for which the buffer must have room at least, because the graph keeps only so many; 0: any."""

    @classmethod
    def of(cls, past: TensorInfo, present: TensorInfo, config: JsonObject, *, window: int = 0) -> "CacheTensor":
        """Reads it from an input and its output; sizes that the graph leaves open come from config.json.

        Raises:
            ModelFolderError: The axes are not known, or one that must be open is fixed.
        """
        length_axis = _length_axis(past, present)
        batch_axis = _batch_axis(past, length_axis)
        sizes = tuple(
            1 if axis == length_axis else _size(past, axis, config, is_batch=axis == batch_axis)
            for axis in range(len(past.shape))
        )
        return cls(
            past_name=past.name,
            present_name=present.name,
            sizes=sizes,
            batch_axis=batch_axis,
            length_axis=length_axis,
            element_type=past.element_type,
            window=window,
        )

    @property
    def token_bytes(self) -> int:
        """Bytes for one token."""
        return self.token_size * self.element_type.numpy.itemsize

    @property
    def token_size(self) -> int:
        """Number of elements for one token."""
        size = 1
        for axis_size in self.sizes:
            size *= axis_size
        return size

    @property
    def has_standard_axes(self) -> bool:
        """Whether the axes are (B, H_kv, length, D), which GroupQueryAttention takes."""
        return (len(self.sizes), self.batch_axis, self.length_axis, self.sizes[0]) == (4, 0, 2, 1)

    def shape(self, num_rows: int, length: int) -> tuple[int, ...]:
        """The shape for a number of rows with `length` tokens each."""
        shape = list(self.sizes)
        shape[self.batch_axis] *= num_rows
        shape[self.length_axis] = length
        return tuple(shape)


def config_numbers(config: JsonObject, *keys: str) -> list[int]:
    """The values of those keys that are positive integers."""
    return [value for key in keys if isinstance(value := config.get(key), int) and value > 0]


def _is_open(size: int | str | None) -> bool:
    return not (isinstance(size, int) and size > 0)


def _length_axis(past: TensorInfo, present: TensorInfo) -> int:
    """The axis that grows: by its name, else by a name that differs in the output, else the third of four."""
    axes = [axis for axis, size in enumerate(past.shape) if _is_open(size) and "batch" not in str(size)]
    named = [axis for axis in axes if _LENGTH.search(str(past.shape[axis]))]
    grown = present.shape if len(present.shape) == len(past.shape) else past.shape
    changed = [axis for axis in axes if _is_open(grown[axis]) and grown[axis] != past.shape[axis]]
    for candidates in (named, changed):
        if len(candidates) == 1:
            return candidates[0]
    if len(past.shape) == 4:
        if _is_open(past.shape[2]):
            return 2
        raise ModelFolderError(
            f"the model's {past.name} has a fixed length of {past.shape[2]} tokens; export it with a dynamic length"
        )
    raise ModelFolderError(
        f"the model's {past.name} has {len(past.shape)} axes, {list(past.shape)}, and which of them is the length is "
        "not known; export it with axes (batch, heads, length, head size)"
    )


def _batch_axis(past: TensorInfo, length_axis: int) -> int:
    named = [axis for axis, size in enumerate(past.shape) if "batch" in str(size) and axis != length_axis]
    if named:
        return named[0]
    first = 1 if len(past.shape) == 5 else 0  # after the axis of keys and values
    return first if first != length_axis else first + 1


def _size(past: TensorInfo, axis: int, config: JsonObject, *, is_batch: bool) -> int:
    size = past.shape[axis]
    if isinstance(size, int) and size > 0:
        if is_batch and size != 1:
            raise ModelFolderError(f"the model takes {size} rows a run; export it with a dynamic batch size")
        return size
    heads = config_numbers(config, "num_attention_heads", "n_head", "num_heads")
    if is_batch and "head" not in str(size):
        return 1
    if axis == len(past.shape) - 1:
        numbers = _head_sizes(config, heads)
        numbers = [2 * number for number in numbers] if past.name.endswith("key_value") else numbers
    else:
        numbers = config_numbers(config, "num_key_value_heads", "num_kv_heads") or heads
    if numbers:
        return numbers[0]
    raise ModelFolderError(
        f"neither the graph nor config.json gives the size of axis {axis} of the model's {past.name}"
    )


def _head_sizes(config: JsonObject, heads: list[int]) -> list[int]:
    hidden = config_numbers(config, "hidden_size", "n_embd", "d_model")
    return config_numbers(config, "head_dim", "head_size") or [
        width // count for width, count in zip(hidden, heads, strict=False)
    ]
