"""The environment variables with the prefix `ONWARD_`, and those that nothing reads.

Imports no pydantic, like the client commands that use it: see the contract in pyproject.toml.
"""

import os
import re
from collections.abc import Collection
from difflib import get_close_matches

PREFIX = "ONWARD_"

CLIENT_VARIABLES = {
    "ONWARD_TARGET": "`HOST:PORT` or `unix:PATH` of the server to call. Default: `127.0.0.1:50051`.",
    "ONWARD_API_KEY": "API key to send. Default: no key is sent.",
}
"""What the client commands read, with its meaning."""

_SERVICE_LINK = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_SIMILAR, _MISSPELLED = 0.6, 0.75
"""Similarity of names without the prefix. TARGTE is 0.83 like TARGET, but API_KEYS_FILE only 0.7 like API_KEY."""


def unknown_variables(known: Collection[str]) -> list[str]:
    """Returns one sentence for each variable with the prefix that is not known, with the nearest name that is."""
    return [_sentence(name, _nearest(name, known, _SIMILAR)) for name in _set_variables() if name not in known]


def misspelled_client_variables() -> list[str]:
    """Returns one sentence for each variable whose name is nearly that of a client variable.

    The environment may also hold variables of a server, so a name that is not similar is no error.
    """
    near = {name: _nearest(name, CLIENT_VARIABLES, _MISSPELLED) for name in _set_variables()}
    return [_sentence(name, found) for name, found in near.items() if found and name not in CLIENT_VARIABLES]


def _nearest(name: str, known: Collection[str], cutoff: float) -> str | None:
    suffixes = [other.removeprefix(PREFIX) for other in known]
    found = get_close_matches(name.removeprefix(PREFIX), suffixes, n=1, cutoff=cutoff)
    return f"{PREFIX}{found[0]}" if found else None


def _sentence(name: str, nearest: str | None) -> str:
    remedy = f"did you mean {nearest}?" if nearest else "unset it, or take a name from docs/settings.md"
    return f"{name}: there is no such environment variable; {remedy}"


def _set_variables() -> list[str]:
    """The names that are not empty, without those that Kubernetes sets for a service whose name begins with onward."""
    return sorted(
        name
        for name, value in ((name.upper(), value) for name, value in os.environ.items())
        if name.startswith(PREFIX) and value and not _SERVICE_LINK.fullmatch(name) and not _SERVICE_ADDRESS.match(value)
    )
