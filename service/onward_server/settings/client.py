"""The environment variables of the client commands.

Imports no pydantic, which would double the start time of `onward health`: see the contract in pyproject.toml.
"""

import os
from dataclasses import dataclass

_DEFAULT_TARGET = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What the environment sets for `onward complete`, `models` and `health`; an empty variable counts as unset."""

    target: str
    """`HOST:PORT` of the server to call: ONWARD_TARGET."""
    api_key: str | None
    """The API key to send: ONWARD_API_KEY."""

    @classmethod
    def read(cls) -> "ClientSettings":
        """Reads the environment."""
        return cls(
            target=os.environ.get("ONWARD_TARGET") or _DEFAULT_TARGET,
            api_key=os.environ.get("ONWARD_API_KEY") or None,
        )
