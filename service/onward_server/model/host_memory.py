"""Memory of the host whose pages the kernel supplies, as zeros, when they are first written."""

import mmap
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class LazyZeros:
    """An array of zeros that takes memory page by page, as it is written.

    `np.zeros` would ask for huge pages, so that the first byte of a row would take 2 MiB. Address space is taken at
    once, and commit charge where the kernel counts it strictly, so those limits apply here and not at the first write.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[np.generic]) -> None:
        """Takes the address space.

        Raises:
            MemoryError: It is not available.
        """
        num_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        try:
            self._pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as error:
            raise MemoryError(f"{num_bytes:,} bytes of address space are not available: {error}") from error
        self.array: npt.NDArray[np.generic] = np.frombuffer(self._pages, dtype).reshape(shape)

    def clear(self) -> None:
        """Gives the memory back to the kernel, so that the array is zeros again."""
        if sys.platform == "linux":  # elsewhere MADV_DONTNEED may keep the contents
            self._pages.madvise(mmap.MADV_DONTNEED)
        else:
            self.array.fill(0)
