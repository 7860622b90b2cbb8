"""The gRPC server: its limits, health, reflection and shutdown."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from enum import Enum, auto
from types import TracebackType
from typing import Self

from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from onward_server.api import status
from onward_server.api.access import Access, KeyCheck
from onward_server.api.boundary import Boundary, Context
from onward_server.api.completion_servicer import CompletionServicer
from onward_server.api.grpc_server import GrpcServer
from onward_server.api.health import HealthService
from onward_server.api.listener import Listener
from onward_server.api.model_servicer import ModelServicer
from onward_server.api.ports import Catalogue
from onward_server.api.tokenizer_servicer import TokenizerServicer
from onward_server.errors import StartupError
from onward_server.settings.server import Settings

logger = logging.getLogger(__name__)

_KEEPALIVE_MS = 60_000
_PING_TIMEOUT_MS = 20_000
"""Keepalive: idle time before a ping, and the time allowed for its acknowledgment."""
_MAX_OPEN_CALLS = 1000
"""Calls that one connection may have open, including those that are not yet cleaned up."""
_FLUSH_S = 1.0
"""Time for the last responses to reach their clients, while further calls are rejected."""


class Ending(Enum):
    """Why the server ended."""

    SIGNAL = auto()
    SIGNAL_WHILE_LOADING = auto()
    """A thread may still be loading: the process has to end without waiting for it."""
    SECOND_SIGNAL = auto()
    """A second signal came while calls were running; they ended with ServerDraining."""
    FAILURE = auto()
    """An engine failed, or gRPC stopped accepting calls."""


class Server:
    """Serves a catalogue of models. A context manager: entering it binds the port, leaving it ends running calls.

    Until `open`, health is NOT_SERVING, and calls end with ModelsLoading.

    To drain, it sets health to NOT_SERVING and rejects new calls at once. Running calls have a grace time to finish;
    those that are still running then end with ServerDraining.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue, access: Access) -> None:
        """Registers the services; enter the server to listen. The catalogue is not used before `open`."""
        self._settings = settings
        self._access = access
        self._boundary = Boundary(
            max_deadline_s=settings.max_deadline_s,
            stall_timeout_s=settings.stall_timeout_s,
            max_message_bytes=settings.max_message_bytes,
        )
        self._key_check = KeyCheck(access.api_keys, self._boundary) if access.api_keys else None
        self._health = HealthService()
        servicers = (CompletionServicer(catalogue), ModelServicer(catalogue), TokenizerServicer(catalogue))
        self._services = [servicer.handlers(self._boundary) for servicer in servicers]
        self._server = self._grpc_server()
        self.address = settings.listen
        """The address to connect to. Port 0 becomes the real port when the server is entered."""
        self._listener: Listener | None = None

    async def __aenter__(self) -> Self:
        """Binds the address and answers calls. Raises StartupError if the address cannot be bound."""
        await self._set_health(is_serving=False)
        self._listener = Listener(self._settings.listen)
        try:
            self._listener.bind(self._server, self._access.credentials)
        except StartupError:
            self._listener.close()
            raise
        self.address = self._listener.address
        await self._server.start()
        return self

    async def open(self) -> None:
        """Accepts calls: the catalogue has its models."""
        self._boundary.accept_calls()
        await self._set_health(is_serving=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)
        if self._listener is not None:
            self._listener.close()

    async def run_until_signal(self, load: Coroutine[object, object, object], failure: asyncio.Event) -> Ending:
        """Loads, serves until SIGTERM or SIGINT, then drains. A second signal ends running calls at once.

        SIGHUP reads the keys and certificates again. If it comes because a terminal was closed, it acts as SIGTERM.

        Args:
            load: Fills the catalogue and opens the server. A signal cancels it.
            failure: Set when an engine has failed for good. The server then ends without a grace time.

        Raises:
            StartupError: `load` raised it.
        """
        async with _signals(self._access.reload) as signals:
            _, signaled = await _first_of(load, signals.get())
            if signaled:
                logger.info("ending while the models are loading")
                return Ending.SIGNAL_WHILE_LOADING
            signaled, _, _ = await _first_of(signals.get(), failure.wait(), self._server.wait_for_failure())
            if not signaled:
                await self.drain(_FLUSH_S)
                return Ending.FAILURE
            drained, _ = await _first_of(self.drain(self._settings.drain_timeout_s), signals.get())
            if drained:
                return Ending.SIGNAL
            await self._end_calls("second signal")
            return Ending.SECOND_SIGNAL

    async def drain(self, grace_s: float) -> None:
        """Rejects new calls, and ends running ones that have not finished after `grace_s` seconds."""
        logger.info("draining: rejecting new calls, running calls have %g s to finish", grace_s)
        self._boundary.reject_new_calls()
        with contextlib.suppress(TimeoutError):  # a client that watches health but does not read must not delay this
            async with asyncio.timeout(_FLUSH_S):  # wait_for of Python 3.11 may lose a cancellation
                await self._health.enter_graceful_shutdown()
        try:
            async with asyncio.timeout(grace_s):
                await self._boundary.wait_until_idle()
        except TimeoutError:
            await self._end_calls("the time to finish is over")
        else:
            await self._server.close(_FLUSH_S)
        logger.info("drained")

    async def _end_calls(self, reason: str) -> None:
        logger.warning("%s: ending %d running calls", reason, self._boundary.abort_running_calls())
        await self._server.close(_FLUSH_S)

    async def _set_health(self, *, is_serving: bool) -> None:
        health_status = (
            health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *(service.service_name for service in self._services)):
            await self._health.set(name, health_status)

    def _grpc_server(self) -> GrpcServer:
        server = GrpcServer(
            self._refuse_unknown,
            interceptors=[self._key_check] if self._key_check else [],
            options=_options(self._settings),
        )
        for service in self._services:
            server.add_registered_method_handlers(service.service_name, service.by_method())
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._settings.reflection:
            names = [service.service_name for service in self._services]
            reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        return server

    async def _refuse_unknown(self, context: Context) -> None:
        async with self._boundary.call("unknown", context):
            if self._key_check is not None:
                self._key_check.require(context.invocation_metadata())
            raise status.UnknownMethod


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Channel arguments. gRPC ignores a misspelled one without a warning, so each has a test of its effect.

    Metadata keeps gRPC's own limits: 8 KiB soft, 16 KiB hard.
    """
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # The engine's queue limits the load and tells the caller. gRPC's default drops calls at random before that.
        ("grpc.server.max_pending_requests", 1 << 20),
        ("grpc.server.max_pending_requests_hard_limit", 1 << 20),
        # Bounds what one connection can hold. The second argument also counts calls that have ended but are not yet
        # cleaned up, otherwise a client that opens and resets streams is not bounded at all: see decision 0017.
        ("grpc.max_concurrent_streams", _MAX_OPEN_CALLS),
        ("grpc.http.overload_protection", 1),
        # A client may ping as often as it likes during a long call without messages.
        ("grpc.http2.max_ping_strikes", 0),
        # Ends the calls of a client that is gone, which frees their slots; keepalive_timeout_ms does not do this.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # A second server on the same port is an error.
        ("grpc.so_reuseport", 0),
    ]


@contextlib.asynccontextmanager
async def _signals(reload: Callable[[], None]) -> AsyncGenerator[asyncio.Queue[signal.Signals]]:
    """Queues the signals that end the server while the block runs, and calls `reload` for SIGHUP.

    After the block, they are ignored: the process is ending, and should do so with its own exit code.
    """
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    had_terminal = os.isatty(0)

    def hang_up() -> None:
        if had_terminal and not os.isatty(0):
            received.put_nowait(signal.SIGHUP)
        else:
            logger.info("SIGHUP: reading keys and certificates again")
            reload()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.put_nowait, number)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield received
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


async def _first_of(*coroutines: Coroutine[object, object, object]) -> list[bool]:
    """Runs coroutines until one finishes, and cancels the others. Returns, for each, whether it finished first.

    An exception of a finished coroutine is raised here.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return [task in done for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
