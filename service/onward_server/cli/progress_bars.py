"""Progress bars of downloads and exports on a terminal."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tqdm import tqdm

from onward_server.model.source.pull_progress import Advance
from onward_server.model.source.remote_file import RemoteFile


class ProgressBars:
    """A bar on stderr for each file, and for the weights of an export."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Writes sentences with `say`, above the bar."""
        self._say = say

    def note(self, text: str) -> None:
        """Writes the sentence."""
        with tqdm.external_write_mode():
            self._say(text)

    @contextmanager
    def transfer(self, file: RemoteFile, start: int) -> Generator[Advance]:
        """Shows the bar of a file while the block runs; it stays afterwards."""
        with _bar(file.path, file.num_bytes, start) as bar:
            yield bar.update

    @contextmanager
    def weights(self, num_bytes: int) -> Generator[Advance]:
        """Shows the bar of all weights while the block runs; it stays afterwards."""
        with _bar("weights", num_bytes, 0) as bar:
            yield bar.update


def _bar(name: str, num_bytes: int, start: int) -> tqdm:
    columns, lines = os.get_terminal_size(sys.stderr.fileno())
    return tqdm(
        desc=name,
        total=num_bytes,
        initial=start,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        ncols=columns or 80,  # pseudo-terminals may have no size, and tqdm would show nothing
        nrows=lines or 24,
    )
