"""The outcome of rewriting a graph, and its form in a file and in a pipe."""

import json
from dataclasses import asdict, dataclass

from onward_server.errors import OnwardError


class NotServed(OnwardError):
    """A rewritten graph must not be served, or could not be made; the message says why, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A graph that was compared with its original."""

    model: bytes
    """The serialized `ModelProto`, whose weights lie where those of the original do."""
    changes: str
    """What was changed, for the log."""
    difference: float
    """Largest difference of a logit that the comparison found, as a part of the range of its row."""

    def to_bytes(self) -> bytes:
        """Returns what `outcome_of` reads."""
        return _encoded({"changes": self.changes, "difference": self.difference}, self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The original graph is served."""

    reason: str
    """Why, as the end of a sentence."""

    def to_bytes(self) -> bytes:
        """Returns what `outcome_of` reads."""
        return _encoded(asdict(self), b"")


Outcome = Rewritten | Kept


def outcome_of(data: bytes) -> Outcome:
    """Reads what `to_bytes` wrote.

    Raises:
        ValueError: The data is something else.
    """
    header, _, model = data.partition(b"\n")
    fields = json.loads(header)
    match fields:
        case {"reason": str(reason)} if not model:
            return Kept(reason=reason)
        case {"changes": str(changes), "difference": float(difference)} if model:
            return Rewritten(model=model, changes=changes, difference=difference)
        case _:
            raise ValueError(f"not the outcome of a rewriting: {header[:80]!r}")


def _encoded(fields: dict[str, object], model: bytes) -> bytes:
    return json.dumps(fields).encode() + b"\n" + model
