"""A source of an export: the configuration of a decoder, its weights, and the files that describe it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from onward_server.export.decoder_config import DecoderConfig
from onward_server.export.tensors import Tensor


class Source(Protocol):
    """A checkpoint that was opened and checked: everything that is not supported has been rejected."""

    @property
    def config(self) -> DecoderConfig: ...

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All weights, by the names and with the shapes of `DecoderConfig.weight_shapes()`."""
        ...

    def write_descriptions(self, folder: Path) -> None:
        """Writes config.json, generation_config.json, the tokenizer's files and the chat template into the folder."""
        ...
