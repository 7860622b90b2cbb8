"""The gRPC channels of a client: their target, encryption and settings.

A channel's number of retries is fixed when it is created, so each number that calls ask for has a channel of its own.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import grpc

from onward_client.errors import RequestError

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

ChannelOptions: TypeAlias = Sequence[tuple[str, str | int]]
ChannelT = TypeVar("ChannelT")

_SETTINGS: ChannelOptions = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # gRPC does not retry a request that is larger than this buffer.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A unary call may run for longer than the two pings without data that gRPC allows by default.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.primary_user_agent", "onward-client"),
)
_TARGET = re.compile(r"(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)?(?P<addresses>[^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """PEM files for TLS and mutual TLS.

    Example:
        >>> tls = TLS(ca="ca.pem", cert="client.pem", key="client.key")
    """

    ca: str | PathLike[str] | None = None
    """Certificate authorities to trust. Default: those that gRPC trusts."""
    cert: str | PathLike[str] | None = None
    """The certificate chain of the client, for mutual TLS. Needs `key`."""
    key: str | PathLike[str] | None = None
    """The private key of the client. Needs `cert`."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
            RequestError: A file cannot be read, or only one of `cert` and `key` is set.
        """
        if (self.cert is None) != (self.key is None):
            missing = "cert" if self.cert is None else "key"
            raise RequestError(f"tls.{missing}: is not set; set both cert and key, or neither")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def is_loopback(target: str) -> bool:
    """Returns whether a gRPC target is this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    match = _TARGET.fullmatch(target)
    return match is not None and all(_is_loopback_address(address) for address in match["addresses"].split(","))


@dataclass(frozen=True, slots=True)
class Destination:
    """A server, and the way to connect to it."""

    target: str
    credentials: grpc.ChannelCredentials | None
    """None: plaintext."""
    extra: ChannelOptions

    @classmethod
    def of(cls, target: str, *, tls: TLS | bool | None, extra: ChannelOptions) -> "Destination":
        """Returns a destination.

        With `tls` None, a target on this machine is reached in plaintext and any other with TLS; with False, every
        target is reached in plaintext.

        Raises:
            RequestError: A file of `tls` cannot be read.
        """
        wanted = not is_loopback(target) if tls is None else tls
        if wanted is True:
            wanted = TLS()
        return cls(target, wanted.credentials() if wanted else None, extra)

    def options(self, max_retries: int) -> ChannelOptions:
        """Returns the settings of a channel with this number of retries."""
        return [*_SETTINGS, ("grpc.service_config", json.dumps(service_config(max_retries))), *self.extra]


class Channels(Generic[ChannelT]):
    """The channels to one server. They are opened on first use and closed together. Threads may share it."""

    def __init__(self, opener: Callable[[int], ChannelT]) -> None:
        """Takes the function that opens a channel with a number of retries."""
        self._open = opener
        self._channels: dict[int, ChannelT] = {}
        self._closed = False

    def get(self, max_retries: int) -> ChannelT:
        """Returns the channel with this number of retries.

        Raises:
            RequestError: The channels were drained.
        """
        if self._closed:
            raise RequestError("the client is closed")
        if max_retries not in self._channels:
            # Two threads may get here at once. The second channel is dropped before it connects.
            self._channels.setdefault(max_retries, self._open(max_retries))
        return self._channels[max_retries]

    def drain(self) -> list[ChannelT]:
        """Returns the open channels for the caller to close, and refuses to open further ones."""
        self._closed = True
        return [self._channels.popitem()[1] for _ in range(len(self._channels))]


def service_config(max_retries: int) -> dict[str, object]:
    """Returns the service config that the package ships, with this number of retries."""
    config = json.loads(files("onward_client").joinpath("service_config.json").read_text(encoding="utf-8"))
    for method in config["methodConfig"]:
        if max_retries:
            method["retryPolicy"]["maxAttempts"] = 1 + max_retries
        else:
            del method["retryPolicy"]
    return config


def _is_loopback_address(address: str) -> bool:
    bracketed = re.fullmatch(r"\[(.*)\](:\d+)?", address)
    host = bracketed[1] if bracketed else address if address.count(":") > 1 else address.partition(":")[0]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: str | PathLike[str] | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        raise RequestError(f"tls: {error}") from error
