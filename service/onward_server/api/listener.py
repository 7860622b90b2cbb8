"""The address that the server listens on: all addresses of a host name or none, or a Unix socket.

gRPC succeeds if it can bind one address of a host name, and reports every failure in the same words. So each address is
first bound to a plain socket, whose errors tell the cause.
"""

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Sequence

import grpc
import grpc.aio

from onward_server.api.tcp_table import listening_addresses
from onward_server.api.unix_socket import SocketLock
from onward_server.errors import StartupError

logger = logging.getLogger(__name__)

_PORT_TRIALS = 16
"""Number of attempts to find a port that is free at every address of a host name."""


class Listener:
    """Binds gRPC servers to an address: one server, or several one after another."""

    def __init__(self, listen: str) -> None:
        """Checks that the address can be bound, and locks a Unix socket until `close`.

        Args:
            listen: A valid value of `--listen`.

        Raises:
            StartupError: The address cannot be bound; the message has the cause and the remedy.
        """
        self.address = listen
        """The address to connect to. Port 0 becomes the real port when the first server is bound."""
        self._lock: SocketLock | None = None
        if listen.startswith("unix:"):
            self._lock = SocketLock(listen)
            self._targets = [listen]
        else:
            host, _, port = listen.rpartition(":")
            self._targets = _free_targets(host.strip("[]"), int(port))

    def bind(self, server: grpc.aio.Server, credentials: grpc.ServerCredentials | None) -> None:
        """Adds the address to a server that has not started.

        Args:
            server: The server to bind.
            credentials: None for plaintext.

        Raises:
            StartupError: gRPC cannot use the certificate, or another process took the address after it was checked.
        """
        for number, target in enumerate(self._targets):
            try:
                port = (
                    server.add_insecure_port(target)
                    if credentials is None
                    else server.add_secure_port(target, credentials)
                )
            except RuntimeError:
                raise _unbindable(target, is_secure=credentials is not None) from None
            if self._lock is None:
                self._targets[number] = f"{target.rpartition(':')[0]}:{port}"
                self.address = f"{self.address.rpartition(':')[0]}:{port}"

    def close(self) -> None:
        """Unlocks a Unix socket. The server that is bound to it must have stopped."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _free_targets(host: str, port: int) -> list[str]:
    """The addresses of a host as gRPC takes them, after checking that each can be bound."""
    ips = _ips(host)
    if port == 0 and len(ips) > 1:
        port = _common_free_port(ips)
    for ip in ips:
        _require_free(host, ip, port)
    return [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip in ips]


def _ips(host: str) -> Sequence[str]:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return [host]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartupError(
            f"--listen: the host name {host!r} has no address here: {error.strerror}; correct it, or use an IP address"
        ) from None
    ips = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if "::1" in ips[1:] and not _has_ipv6():  # the hosts file of a machine without IPv6 may still list it
        logger.info("not listening on ::1, because this machine has no IPv6")
        ips.remove("::1")
    return ips


def _common_free_port(ips: Sequence[str]) -> int:
    """A port that is free at every address."""
    for _ in range(_PORT_TRIALS):
        with _bound_socket(ips[0], 0) as first:
            port: int = first.getsockname()[1]
            if all(_is_bindable(ip, port) for ip in ips[1:]):
                return port
    raise StartupError(f"--listen: found no port that is free at each of {', '.join(ips)}; choose one")


def _require_free(host: str, ip: str, port: int) -> None:
    try:
        _bound_socket(ip, port).close()
    except OSError as error:
        raise _refused(host, ip, port, error) from None


def _is_bindable(ip: str, port: int) -> bool:
    try:
        _bound_socket(ip, port).close()
    except OSError:
        return False
    return True


def _bound_socket(ip: str, port: int) -> socket.socket:
    """A socket bound as gRPC binds it: connections that a closed server left behind do not keep the port in use."""
    if ip == "::" and not _has_ipv6():
        ip = "0.0.0.0"  # noqa: S104  the operator asked for all addresses, and gRPC falls back to IPv4 in the same way
    is_ipv6 = ":" in ip
    opened = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(ip != "::"))
        opened.bind((ip, port))
    except OSError:
        opened.close()
        raise
    return opened


def _has_ipv6() -> bool:
    return _is_bindable("::1", 0)


def _unbindable(target: str, *, is_secure: bool) -> StartupError:
    if is_secure:
        return StartupError(
            "--tls-cert: gRPC cannot use the certificate or its key; make them with RSA, P-256 or P-384"
        )
    return StartupError(f"--listen: cannot bind {target}: another process has just taken it; choose another")


def _refused(host: str, ip: str, port: int, error: OSError) -> StartupError:
    """The error for a socket that cannot be bound: the cause, and what to do."""
    address = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    name = "" if host == ip else f", an address of {host},"
    match error.errno:
        case errno.EADDRINUSE:
            others = [other for other in listening_addresses(port) if other != address]
            at = f", which listens on {' and '.join(others)}" if others else ""
            problem = (
                f"{address}{name} is in use by another process{at}; stop that one (`ss -ltnp` lists it), or choose "
                "another port"
            )
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            problem = (
                f"{ip}{name} is not an address of this machine; use one of its own, or 0.0.0.0 or [::] for all of them"
            )
        case errno.EACCES | errno.EPERM:
            problem = (
                f"uid {os.geteuid()} may not bind port {port}{name}; choose a port of 1024 or higher, or grant the "
                "process CAP_NET_BIND_SERVICE"
            )
        case _:
            problem = f"cannot bind {address}{name}: {error.strerror}"
    return StartupError(f"--listen: {problem}")
