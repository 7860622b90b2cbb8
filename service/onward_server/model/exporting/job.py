"""The request to the process that exports."""

import json
from dataclasses import asdict, dataclass

from onward_server.model.exporting.precision import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What to export."""

    source: str
    """Path of a checkpoint folder or GGUF file."""
    output: str
    """Path of the folder to create."""
    precision: Precision

    def to_bytes(self) -> bytes:
        """Returns what `from_bytes` reads."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ExportJob":
        """Reads what `to_bytes` wrote."""
        return cls(**json.loads(data))
