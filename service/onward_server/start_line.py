"""The line that a server prints once it accepts calls."""

import ipaddress
import shlex
from collections.abc import Sequence
from pathlib import Path

from onward_server.settings.server import Settings
from onward_server.version import VERSION


def start_line(settings: Settings, address: str, program: Sequence[str] = ("onward",)) -> str:
    """Returns the line: the models, the address, and a shell command that sends a first request from any folder here.

    With mutual TLS, CERT and KEY in the command stand for the files of a client certificate.

    Args:
        settings: The server's settings.
        address: Where it listens, with the port that was selected.
        program: The words that start the `onward` command.
    """
    words = [*program, "complete"]
    target = _target(address)
    if target != "127.0.0.1:50051":
        words += ["--target", target]
    if settings.tls_cert:
        words += ["--tls-ca", str(settings.tls_cert.resolve())]
    elif settings.listens_beyond_loopback and target == address:
        words.append("--insecure")
    if settings.tls_client_ca:
        words += ["--tls-cert", "CERT", "--tls-key", "KEY"]
    if settings.api_keys_file:
        words += ["--api-key-file", str(settings.api_keys_file.resolve())]
    command = shlex.join([*words, "Hello"])
    return f"onward {VERSION} serves {', '.join(settings.models)} on {address}; try: {command}"


def _target(address: str) -> str:
    """The address to call from this machine; loopback if the server listens on all addresses."""
    if address.startswith("unix:"):
        return f"unix:{Path(address.removeprefix('unix:')).resolve()}"
    host, _, port = address.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
    except ValueError:  # a host name
        return address
    if not ip.is_unspecified:
        return address
    return f"127.0.0.1:{port}" if ip.version == 4 else f"[::1]:{port}"
