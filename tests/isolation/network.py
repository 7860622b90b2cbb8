"""An empty network for a process tree, which shows what that tree sends and whom it asks.

`empty_machine` needs network and mount namespaces of its own: `unshare --net --mount`. It makes every address local, so
that a packet to any address is seen, and a connection to a port of telemetry is accepted.
"""

import pwd
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

_NAME_SERVER, _EVERY_NAME = "192.0.2.53", "192.0.2.80"
"""Where names are looked up, and the address that all of them have; both are reserved for documentation."""
_PORTS = (80, 443, 4317, 4318)
"""Ports with a listener: HTTP, HTTPS, and OpenTelemetry over gRPC and HTTP."""
_ALL_PROTOCOLS, _TCP, _UDP = 0x0003, 6, 17
_SYN, _SYN_OR_ACK = 0x02, 0x12


def empty_machine(needed: Iterable[Path]) -> list[Path]:
    """Empties the network and the folders for temporary and personal files, except folders that hold `needed` paths.

    Returns:
        The folders that were emptied.
    """
    for words in ("link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"):
        subprocess.run(["ip", *words.split()], check=True)  # noqa: S607
    shared = ["/tmp", "/var/tmp", "/dev/shm", pwd.getpwuid(0).pw_dir]  # noqa: S108  emptied, not used
    resolved = [path.resolve() for path in needed]
    emptied = [folder for folder in map(Path, shared) if not any(folder in path.parents for path in resolved)]
    for folder in emptied:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True)  # noqa: S607
    for path, text in (("resolv.conf", f"nameserver {_NAME_SERVER}\n"), ("nsswitch.conf", "hosts: files dns\n")):
        source = Path("/dev/shm", path)  # noqa: S108
        source.write_text(text)
        target = Path("/etc", path).resolve()
        subprocess.run(["mount", "--bind", str(source), str(target)], check=True)  # noqa: S607
    return emptied


class Traffic:
    """Records the targets of connections and datagrams, and the names that are looked up."""

    def __init__(self) -> None:
        """Starts to record; call after `empty_machine`."""
        self.targets: set[str] = set()
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
        resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        resolver.bind((_NAME_SERVER, 53))
        _serve(lambda: self._record(packets.recv(1 << 16)))
        _serve(lambda: self._resolve(resolver))
        for port in _PORTS:
            listener = socket.create_server(("0.0.0.0", port))  # noqa: S104  reachable from in here only
            accepted: list[socket.socket] = []
            _serve(lambda listener=listener, accepted=accepted: accepted.append(listener.accept()[0]))

    def _record(self, packet: bytes) -> None:
        target = _target(packet)
        if target is not None:
            self.targets.add(target)

    def _resolve(self, resolver: socket.socket) -> None:
        query, client = resolver.recvfrom(4096)
        question = query[12 : query.index(b"\0", 12) + 5]
        self.targets.add(f"name {_name(question)}")
        is_address = question[-4:-2] == b"\0\1"
        header = query[:2] + struct.pack(">5H", 0x8180, 1, int(is_address), 0, 0)
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(_EVERY_NAME)
        resolver.sendto(header + question + answer * is_address, client)


def _serve(step: Callable[[], object]) -> None:
    def run() -> None:
        while True:
            step()

    threading.Thread(target=run, daemon=True).start()


def _target(packet: bytes) -> str | None:
    """`ADDRESS:PORT` of a packet that opens a TCP connection or carries a UDP datagram; None for any other packet."""
    if packet[0] >> 4 == 4:
        protocol, address = packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20])
        body = packet[(packet[0] & 15) * 4 :]
    else:
        protocol, address = packet[6], f"[{socket.inet_ntop(socket.AF_INET6, packet[24:40])}]"
        body = packet[40:]
    source, port = struct.unpack(">HH", body[:4])
    is_sent = source != 53 if protocol == _UDP else protocol == _TCP and body[13] & _SYN_OR_ACK == _SYN
    return f"{address}:{port}" if is_sent else None


def _name(question: bytes) -> str:
    labels: list[str] = []
    position = 0
    while length := question[position]:
        labels.append(question[position + 1 : position + 1 + length].decode("ascii", "replace"))
        position += 1 + length
    return ".".join(labels)
