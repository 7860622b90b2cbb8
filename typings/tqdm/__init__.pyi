# What the project uses of tqdm 4.70, which ships no types.

from contextlib import AbstractContextManager
from typing import Self

class tqdm:  # noqa: N801  its own name
    def __init__(
        self,
        *,
        desc: str,
        total: int,
        initial: int,
        unit: str,
        unit_scale: bool,
        unit_divisor: int,
        ncols: int,
        nrows: int,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def update(self, n: int, /) -> None: ...
    @classmethod
    def external_write_mode(cls) -> AbstractContextManager[None]: ...
