"""The addresses that processes of this machine listen on, from Linux's table of TCP sockets."""

import contextlib
import socket
import sys
from pathlib import Path

_TABLES = ((socket.AF_INET, Path("/proc/net/tcp")), (socket.AF_INET6, Path("/proc/net/tcp6")))
_LISTEN = "0A"


def listening_addresses(port: int) -> list[str]:
    """Returns the addresses at which the port is taken, such as `127.0.0.1:80` and `[::]:80`; empty if unknown."""
    found: list[str] = []
    for family, table in _TABLES:
        with contextlib.suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                ip, _, local_port = local.partition(":")
                if state == _LISTEN and int(local_port, 16) == port:
                    text = socket.inet_ntop(family, _packed(ip))
                    found.append(f"[{text}]:{port}" if family == socket.AF_INET6 else f"{text}:{port}")
    return found


def _packed(ip: str) -> bytes:
    """The bytes of an address that is written as 32-bit words in the byte order of this machine."""
    words = (ip[start : start + 8] for start in range(0, len(ip), 8))
    return b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
