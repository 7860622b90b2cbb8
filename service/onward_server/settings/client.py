"""What the environment sets for the client commands.

Imports no pydantic, which would double the start time of `onward health`: see the contract in pyproject.toml.
"""

import os
from dataclasses import dataclass

_DEFAULT_TARGET = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The values of CLIENT_VARIABLES; an empty variable counts as unset."""

    target: str
    """ONWARD_TARGET."""
    api_key: str | None
    """ONWARD_API_KEY."""

    @classmethod
    def read(cls) -> "ClientSettings":
        """Reads the environment."""
        return cls(
            target=os.environ.get("ONWARD_TARGET") or _DEFAULT_TARGET,
            api_key=os.environ.get("ONWARD_API_KEY") or None,
        )
