"""Exports of a small decoder in memory, which can be ended with SIGKILL at any piece of its weights.

python -m tests.fake_exports OUTPUT N    kills itself at the Nth report of progress
"""

import os
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.exporter import export_source
from onward_server.export.tensors import ArrayTensor, Tensor
from onward_server.model.source.pull_progress import Advance
from testing.tiny_model import write_tiny_tokenizer
from tests.decoder_cases import LLAMA, random_decoder_weights

SOURCE = Path("models/llama.gguf")
"""Where the decoder is said to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeSource:
    """A decoder in memory, with the small tokenizer of the tests."""

    config: DecoderConfig = field(default_factory=lambda: replace(LLAMA, vocab_size=512))
    descriptions: Mapping[str, str] = field(default_factory=lambda: {"config.json": '{"eos_token_id": [2, 0]}'})
    has_tokenizer: bool = True

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Random weights."""
        weights = random_decoder_weights(self.config, seed=0)
        return {name: ArrayTensor(weight) for name, weight in weights.items()}

    def write_descriptions(self, folder: Path) -> None:
        """Writes the files."""
        if self.has_tokenizer:
            write_tiny_tokenizer(folder)
        for name, text in self.descriptions.items():
            (folder / name).write_text(text)


@dataclass(slots=True, kw_only=True)
class RecordedProgress:
    """Keeps what is shown, and may end the process."""

    killed_at: int = 0
    """The report of progress at which the process ends; 0: it does not."""
    notes: list[str] = field(default_factory=list[str])
    total: int = 0
    reports: list[int] = field(default_factory=list[int])

    def note(self, text: str) -> None:
        """Keeps the sentence."""
        self.notes.append(text)

    @contextmanager
    def weights(self, num_bytes: int) -> Generator[Advance]:
        """Keeps the numbers of bytes; the beginning and the end are reports, too."""
        self.total = num_bytes
        self._report(0)
        yield self._report
        self._report(0)

    def _report(self, num_bytes: int) -> None:
        self.reports.append(num_bytes)
        if len(self.reports) == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    export_source(FakeSource(), SOURCE, Path(sys.argv[1]), "fp32", RecordedProgress(killed_at=int(sys.argv[2])))
