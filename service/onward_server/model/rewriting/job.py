"""The request to the process that rewrites graphs."""

import json
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from onward_server.model.source.json_file import JsonObject

Change: TypeAlias = Literal["slots", "last_logits"]
"""slots: sequences share slots instead of growing caches, and last_logits. last_logits: a run gives the logits of as
many last tokens as are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A graph to rewrite."""

    model: bytes
    """The serialized `ModelProto`, whose weights are external data."""
    folder: str
    """Folder to which the locations of external data are relative."""
    change: Change
    config: JsonObject
    """The model's config.json and what genai_config.json adds to it."""
    context_length: int
    """Maximum tokens of a sequence, according to the configuration."""
    num_threads: int

    def to_bytes(self) -> bytes:
        """Returns what `from_bytes` reads."""
        header = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "model"}
        return json.dumps(header).encode() + b"\n" + self.model

    @classmethod
    def from_bytes(cls, data: bytes) -> "Job":
        """Reads what `to_bytes` wrote."""
        header, _, model = data.partition(b"\n")
        return cls(model=model, **json.loads(header))
