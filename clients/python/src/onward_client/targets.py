"""The targets of gRPC: names and addresses of servers."""

import re
from ipaddress import ip_address

from onward_client.errors import RequestError, shown
from onward_client.fields import text

_TARGET = re.compile(r"(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)?(?P<addresses>[^/]+)")
_URL = re.compile(r"(?P<scheme>https?|grpcs?|tcp|ws|wss)://(?P<address>[^/?#]*).*", re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r":(\d{1,9})$", re.ASCII)
_MAX_PORT = 65535


def check_target(path: str, target: object) -> str:
    """Returns a value that must be a gRPC target; error messages call it `path`.

    Raises:
        RequestError: The value is not a string, is a URL, or has a character or port that an address cannot have.
    """
    if not isinstance(target, str) or not target:
        how = "; pass it, or set ONWARD_TARGET" if target is None else ""
        raise RequestError(f"{path}: must be 'host:port', such as '127.0.0.1:50051', not {shown(target)}{how}")
    text(path, target)
    if url := _URL.fullmatch(target):
        how = {"http": " and tls=False", "grpc": " and tls=False", "https": " and tls=True", "grpcs": " and tls=True"}
        raise RequestError(
            f"{path}: {shown(target)} is a URL; use {shown(url['address'])}{how.get(url['scheme'].lower(), '')}"
        )
    if not target.isprintable() or (" " in target and not target.startswith("unix")):
        raise RequestError(f"{path}: {shown(target)} has spaces or control characters")
    port = _PORT.search(target)
    if port and not target.startswith("unix") and int(port[1]) > _MAX_PORT:
        raise RequestError(f"{path}: the port of {shown(target)} is outside [0, {_MAX_PORT}]")
    return target


def is_loopback(target: str) -> bool:
    """Returns whether a gRPC target is this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    match = _TARGET.fullmatch(target)
    return match is not None and all(_is_loopback_address(address) for address in match["addresses"].split(","))


def hosts_of(target: str) -> list[str]:
    """Returns the hosts of a target, without ports and brackets; empty for a socket of this machine."""
    match = _TARGET.fullmatch(target)
    return [_host(address) for address in match["addresses"].split(",")] if match else []


def _is_loopback_address(address: str) -> bool:
    host = _host(address)
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _host(address: str) -> str:
    """Returns an address without its port and brackets."""
    bracketed = re.fullmatch(r"\[(.*)\](:\d+)?", address)
    return bracketed[1] if bracketed else address if address.count(":") > 1 else address.partition(":")[0]
