"""The HTTP proxy that gRPC uses for a target, as the environment sets it."""

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from onward_client.environment import first_of

_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_BYPASS_VARIABLES = ("no_grpc_proxy", "no_proxy")
"""The variables that gRPC reads; the first that is not empty counts. It ignores upper-case names."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the environment variable that sets it."""

    variable: str
    url: str
    """Without user and password."""


def proxy_for(host: str) -> Proxy | None:
    """Returns the proxy through which gRPC connects to a host; None if it connects directly."""
    found = first_of(_PROXY_VARIABLES)
    if found is None:
        return None
    variable, value = found
    _, bypass = first_of(_BYPASS_VARIABLES) or ("", "")
    if any(_is_match(host, entry.strip()) for entry in bypass.split(",")):
        return None
    return Proxy(variable, re.sub(r"//[^/]*@", "//", value))


def _is_match(host: str, entry: str) -> bool:
    """Whether an entry of `no_proxy` covers the host: a network that contains it, or the end of its name."""
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return bool(entry) and host.lower().endswith(entry.lower())
