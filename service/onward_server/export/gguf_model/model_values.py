"""Reads the metadata whose keys begin with the architecture of a model."""

from dataclasses import dataclass

from onward_server.export.architectures.family import MAX_LAYERS
from onward_server.export.gguf_model.gguf_file import GgufFile
from onward_server.export.gguf_model.metadata import Metadata

ARCHITECTURE = "general.architecture"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelValues:
    """Values whose keys begin with the architecture. Each method raises `ExportError` if one is missing or invalid."""

    file: GgufFile
    architecture: str

    @property
    def metadata(self) -> Metadata:
        """All metadata of the file."""
        return self.file.metadata

    @property
    def head_dim(self) -> int:
        """The length of a head's queries and keys."""
        given = self.optional_size("attention.key_length")
        return given or max(self.size("embedding_length") // self.num_heads, 1)

    @property
    def num_heads(self) -> int:
        """The number of query heads."""
        return self.size("attention.head_count")

    @property
    def num_kv_heads(self) -> int:
        """The number of heads of keys and values."""
        return self.optional_size("attention.head_count_kv") or self.num_heads

    @property
    def num_layers(self) -> int:
        """The number of layers."""
        return self.metadata.size(self.key("block_count"), maximum=MAX_LAYERS)

    def key(self, name: str) -> str:
        """The whole key of a value."""
        return f"{self.architecture}.{name}"

    def size(self, name: str) -> int:
        """An integer of 1 or more."""
        return self.metadata.size(self.key(name))

    def optional_size(self, name: str) -> int | None:
        """An integer of 1 or more; None if the file has 0 or does not have it."""
        return self.metadata.optional_size(self.key(name))

    def number(self, name: str) -> float:
        """A finite number."""
        return self.metadata.number(self.key(name))

    def optional_number(self, name: str) -> float | None:
        """A finite number; None if the file does not have it."""
        return self.metadata.optional_number(self.key(name))

    def has_tensor(self, name: str) -> bool:
        """Whether the first layer has a tensor."""
        return f"blk.0.{name}" in self.file.tensors
