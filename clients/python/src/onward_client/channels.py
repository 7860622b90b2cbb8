"""The gRPC channel of a client: its target, encryption and settings."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast

import grpc
import grpc.aio

from onward_client import environment
from onward_client.errors import RequestError, shown
from onward_client.fields import integer, items, text
from onward_client.targets import check_target, is_loopback

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_OPEN_CALLS = 500
"""Maximum number of unary calls of a client that are open at the same time; further ones wait.

A server takes 1,000 from one connection and refuses more, counting those that have ended but are not yet cleaned up.
"""

ChannelOptions: TypeAlias = Sequence[tuple[str, str | int]]
ChannelT = TypeVar("ChannelT")
InterceptorT = TypeVar("InterceptorT")
_OPTION_VALUES = range(-(2**31), 2**31)

_SETTINGS: ChannelOptions = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Reconnects to a restarted server before a call runs out of attempts. gRPC's default is up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A unary call may run for longer than the two pings without data that gRPC allows by default.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.primary_user_agent", "onward-client"),
)


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
        ca, key, cert = _read("ca", self.ca), _read("key", self.key), _read("cert", self.cert)
        return grpc.ssl_channel_credentials(ca, key, cert)


@dataclass(frozen=True, slots=True)
class Destination:
    """A server, and the way to connect to it."""

    target: str
    credentials: grpc.ChannelCredentials | None
    """None: plaintext."""
    extra: ChannelOptions

    @classmethod
    def of(cls, target: str | None, *, tls: TLS | bool | None, extra: ChannelOptions) -> "Destination":
        """Returns a destination; without a target, the one that the environment sets.

        With `tls` None, a target on this machine is reached in plaintext and any other with TLS; with False, every
        target is reached in plaintext.

        Raises:
            RequestError: The target is not one of gRPC's, a file of `tls` cannot be read, or a value has the wrong
                type.
        """
        set_outside = environment.target() if target is None else None
        address = check_target("target", target) if set_outside is None else check_target("ONWARD_TARGET", set_outside)
        if not isinstance(cast("object", tls), bool | TLS | None):
            raise RequestError(f"tls: must be True, False or TLS(...), not {shown(tls)}")
        wanted = not is_loopback(address) if tls is None else tls
        if wanted is True:
            wanted = TLS()
        return cls(address, wanted.credentials() if wanted else None, _checked_options(extra))

    def options(self) -> ChannelOptions:
        """Returns the settings of the channel."""
        # A proxy is another machine. It must not read calls that are sent in plaintext because they stay on this one.
        settings = [*_SETTINGS, ("grpc.enable_http_proxy", 0)] if is_loopback(self.target) else _SETTINGS
        return [*settings, ("grpc.service_config", json.dumps(service_config(0))), *self.extra]


def check_own_channel(kind: type, channel: object, **others: object) -> None:
    """Checks a channel of the caller, and that no arguments for a new channel come with it.

    Raises:
        RequestError: The channel is of another kind, or one of the other arguments is set.
    """
    if not isinstance(channel, kind):
        raise RequestError(f"channel: must be a {kind.__module__}.{kind.__name__}, not {shown(channel)}")
    for name, value in others.items():
        if value:
            raise RequestError(f"{name}: cannot be combined with `channel`, which is connected already")


def checked_interceptors(kinds: tuple[type[InterceptorT], ...], given: object) -> list[InterceptorT]:
    """Returns interceptors, each of one of these kinds.

    Raises:
        RequestError: One is of another kind.
    """
    found: list[InterceptorT] = []
    for at, interceptor in enumerate(items("interceptors", given)):
        if not isinstance(interceptor, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise RequestError(f"interceptors[{at}]: must be one of {names}, not {shown(interceptor)}")
        found.append(interceptor)
    return found


class _Shared(Generic[ChannelT]):
    """The channel of a client and of those made by its `with_options`. It is opened on first use."""

    def __init__(self, opener: Callable[[], ChannelT], *, is_owned: bool) -> None:
        """Takes the function that opens the channel, and whether closing the client closes it."""
        self._open = opener
        self._is_owned = is_owned
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
        if self._process != os.getpid() and (self._channel is not None or not self._is_owned):
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
        return channel if self._is_owned and self._process == os.getpid() else None


class SharedChannel(_Shared[grpc.Channel]):
    """The channel of a synchronous client."""

    def __init__(self, opener: Callable[[], grpc.Channel], *, is_owned: bool) -> None:
        """Takes the function that opens the channel, and whether closing the client closes it."""
        super().__init__(opener, is_owned=is_owned)
        self._closed = threading.Event()
        self._open_calls = threading.Semaphore(MAX_OPEN_CALLS)

    @contextmanager
    def place(self, seconds: float) -> Generator[None]:
        """Waits at most this many seconds until one more call may be open; counts it as open during the block."""
        has_place = self._open_calls.acquire(timeout=seconds)
        try:
            yield
        finally:
            if has_place:
                self._open_calls.release()

    def wait(self, seconds: float) -> None:
        """Waits between two attempts; returns early when the channel is closed."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Closes the channel if it is owned, which cancels all calls, and refuses further ones."""
        self._closed.set()
        if channel := self._close():
            channel.close()


class SharedAioChannel(_Shared[grpc.aio.Channel]):
    """The channel of an asyncio client. gRPC ties it to the event loop in which it is opened."""

    def __init__(self, opener: Callable[[], grpc.aio.Channel], *, is_owned: bool) -> None:
        """Takes the function that opens the channel, and whether closing the client closes it."""
        super().__init__(opener, is_owned=is_owned)
        self._closed = asyncio.Event()
        self._open_calls = asyncio.Semaphore(MAX_OPEN_CALLS)
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

    @asynccontextmanager
    async def place(self, seconds: float) -> AsyncGenerator[None]:
        """Waits at most this many seconds until one more call may be open; counts it as open during the block."""
        has_place = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                has_place = await self._open_calls.acquire()
        try:
            yield
        finally:
            if has_place:
                self._open_calls.release()

    async def wait(self, seconds: float) -> None:
        """Waits between two attempts; returns early when the channel is closed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    async def close(self) -> None:
        """Closes the channel if it is owned, which cancels all calls, and refuses further ones."""
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


def _checked_options(extra: object) -> ChannelOptions:
    options: list[tuple[str, str | int]] = []
    for at, option in enumerate(items("channel_options", extra)):
        match option:
            case (str(name), str(value)):
                options.append((text(f"channel_options[{at}]", name), text(name, value)))
            case (str(name), int(value)):
                options.append((text(f"channel_options[{at}]", name), integer(name, int(value), _OPTION_VALUES)))
            case _:
                raise RequestError(
                    f"channel_options[{at}]: must be a name and a string or number, such as "
                    f"('grpc.keepalive_time_ms', 10000), not {shown(option)}"
                )
    return options


def _read(name: str, path: str | PathLike[str] | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RequestError(f"tls.{name}: {error}") from error
    except (TypeError, ValueError) as error:  # no path, or one with NUL or a lone surrogate
        raise RequestError(f"tls.{name}: must be the path of a PEM file, not {shown(path)}") from error
    if b"-----BEGIN " not in content:
        raise RequestError(f"tls.{name}: {shown(str(path))} is not a PEM file, which has a line that begins -----BEGIN")
    return content
