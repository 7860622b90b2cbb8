"""The gRPC channel of a client: its target, encryption and settings."""

import asyncio
import json
import os
import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import grpc
import grpc.aio

from onward_client.errors import APIError, RequestError
from onward_client.proxies import proxy_for

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

ChannelOptions: TypeAlias = Sequence[tuple[str, str | int]]
ChannelT = TypeVar("ChannelT")

_SETTINGS: ChannelOptions = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
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

    def options(self) -> ChannelOptions:
        """Returns the settings of the channel."""
        # A proxy is another machine. It must not read calls that are sent in plaintext because they stay on this one.
        settings = [*_SETTINGS, ("grpc.enable_http_proxy", 0)] if is_loopback(self.target) else _SETTINGS
        return [*settings, ("grpc.service_config", json.dumps(service_config(0))), *self.extra]

    def hint(self, failure: APIError) -> str:
        """Returns what the caller can do about a failure to connect; empty if there is nothing to say."""
        is_connection = failure.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        match = _TARGET.fullmatch(self.target)
        if not is_connection or failure.reason or match is None or is_loopback(self.target):
            return ""
        host = _host(match["addresses"].split(",")[0])
        proxy = proxy_for(host)
        if proxy is None:
            return ""
        return (
            f"the connection goes through the proxy {proxy.url}, which {proxy.variable} sets; "
            f"to connect directly, add {host} to no_proxy"
        )


class _Shared(Generic[ChannelT]):
    """The channel of a client and of those made by its `with_options`. It is opened on first use."""

    def __init__(self, opener: Callable[[], ChannelT]) -> None:
        """Takes the function that opens the channel."""
        self._open = opener
        self._channel: ChannelT | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_closed = False

    def get(self) -> ChannelT:
        """Returns the channel. Any thread may call this.

        Raises:
            RequestError: The channel was closed, or it was opened before this process was forked.
        """
        if self._is_closed:
            raise RequestError("the client is closed; create a new one")
        if self._channel is not None and self._process != os.getpid():
            raise RequestError("the client was used before this process was forked; create a client in each process")
        with self._lock:
            if self._channel is None:
                self._channel = self._open()
                self._process = os.getpid()
            return self._channel

    def _close(self) -> ChannelT | None:
        """Refuses further use, and returns the channel if this process has opened it."""
        self._is_closed = True
        channel, self._channel = self._channel, None
        return channel if self._process == os.getpid() else None


class SharedChannel(_Shared[grpc.Channel]):
    """The channel of a client for threads."""

    def __init__(self, opener: Callable[[], grpc.Channel]) -> None:
        """Takes the function that opens the channel."""
        super().__init__(opener)
        self._closed = threading.Event()

    def wait(self, seconds: float) -> None:
        """Waits between two attempts; returns early when the channel is closed."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Cancels all calls and refuses further ones."""
        self._closed.set()
        if channel := self._close():
            channel.close()


class SharedAioChannel(_Shared[grpc.aio.Channel]):
    """The channel of an asyncio client. gRPC ties it to the event loop in which it is opened."""

    def __init__(self, opener: Callable[[], grpc.aio.Channel]) -> None:
        """Takes the function that opens the channel."""
        super().__init__(opener)
        self._closed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> grpc.aio.Channel:
        """Returns the channel.

        Raises:
            RequestError: The channel was closed, or it was opened in another event loop or before a fork.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in {None, loop}:
            raise RequestError("the client was used in another event loop; create an AsyncClient in each event loop")
        self._loop = loop
        return super().get()

    async def wait(self, seconds: float) -> None:
        """Waits between two attempts; returns early when the channel is closed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    async def close(self) -> None:
        """Cancels all calls and refuses further ones."""
        self._closed.set()
        if channel := self._close():
            await channel.close()


@contextmanager
def closing_is_reported() -> Generator[None]:
    """Converts the exceptions that gRPC raises when a channel is closed while it is being used.

    Raises:
        RequestError: The channel is closed.
    """
    try:
        yield
    except (ValueError, grpc.aio.UsageError) as error:
        if "closed" not in str(error) or isinstance(error, RequestError):
            raise
        raise RequestError("the client is closed; create a new one") from error


def service_config(max_retries: int | None = None) -> dict[str, Any]:
    """Returns the service config that the package ships, with this number of retries. Default: its own number."""
    config = json.loads(files("onward_client").joinpath("service_config.json").read_text(encoding="utf-8"))
    for method in config["methodConfig"]:
        if max_retries == 0:
            del method["retryPolicy"]
        elif max_retries is not None:
            method["retryPolicy"]["maxAttempts"] = 1 + max_retries
    return config


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


def _read(path: str | PathLike[str] | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        raise RequestError(f"tls: {error}") from error
