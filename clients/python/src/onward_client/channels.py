"""Where calls go: the target, whether it is spoken to in the clear, and gRPC's settings; it makes no calls.

A channel's retries are fixed when it is made, so there is one for each number of retries that calls ask for.
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
    # A request that outgrows this buffer is not retried.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A unary call is silent until it is done, which may take longer than the two pings that gRPC allows by default.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.primary_user_agent", "onward-client"),
)
_TARGET = re.compile(r"(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)?(?P<addresses>[^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """PEM files for TLS: who is trusted, and for mutual TLS, who calls."""

    ca: str | PathLike[str] | None = None
    """Certificates to trust instead of gRPC's own."""
    cert: str | PathLike[str] | None = None
    """The caller's certificate chain; needs `key`."""
    key: str | PathLike[str] | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC needs of the files' contents."""
        if (self.cert is None) != (self.key is None):
            raise RequestError("tls: cert and key go together")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def is_loopback(target: str) -> bool:
    """Whether a gRPC target never leaves this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    match = _TARGET.fullmatch(target)
    return match is not None and all(_is_loopback_address(address) for address in match["addresses"].split(","))


@dataclass(frozen=True, slots=True)
class Destination:
    """A server, and how it is spoken to."""

    target: str
    credentials: grpc.ChannelCredentials | None
    """None: in the clear."""
    extra: ChannelOptions

    @classmethod
    def of(cls, target: str, *, tls: TLS | bool | None, extra: ChannelOptions) -> "Destination":
        """With `tls` None, only what never leaves this machine is spoken to in the clear; with False, anything is.

        Raises:
            RequestError: a file of `tls` cannot be read.
        """
        wanted = not is_loopback(target) if tls is None else tls
        if wanted is True:
            wanted = TLS()
        return cls(target, wanted.credentials() if wanted else None, extra)

    def options(self, max_retries: int) -> ChannelOptions:
        """The settings of a channel with that many retries."""
        return [*_SETTINGS, ("grpc.service_config", json.dumps(service_config(max_retries))), *self.extra]


class Channels(Generic[ChannelT]):
    """The channels to one server: opened when first asked for, closed together."""

    def __init__(self, opener: Callable[[int], ChannelT]) -> None:
        """Takes what opens a channel with so many retries."""
        self._open = opener
        self._channels: dict[int, ChannelT] = {}
        self._closed = False

    def get(self, max_retries: int) -> ChannelT:
        """The channel with that many retries."""
        if self._closed:
            raise RequestError("the client is closed")
        if max_retries not in self._channels:
            # Two threads may both come here; the channel that loses has no connection yet and is simply dropped.
            self._channels.setdefault(max_retries, self._open(max_retries))
        return self._channels[max_retries]

    def drain(self) -> list[ChannelT]:
        """Every open channel, for the caller to close; there are no more after this."""
        self._closed = True
        return [self._channels.popitem()[1] for _ in range(len(self._channels))]


def service_config(max_retries: int) -> dict[str, object]:
    """The service config that is shipped with the package, with that many retries."""
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
