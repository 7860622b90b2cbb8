"""The precisions that a model can be exported in."""

from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["fp32", "fp16", "int8", "int4"]
"""How weights are stored. fp16 also computes in float16; int8 and int4 are blocks of integers with a float32 scale."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DEFAULT_PRECISION: Precision = "int8"
"""A quarter of the memory of fp32, with the same next token nearly always: see decision 0036."""
