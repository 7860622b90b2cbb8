"""The gRPC server: its port, limits, health, reflection and shutdown."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Coroutine
from types import TracebackType
from typing import Self

from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from onward_server.api import status
from onward_server.api.access import Access, KeyCheck
from onward_server.api.boundary import Boundary, Context
from onward_server.api.completion_servicer import CompletionServicer
from onward_server.api.grpc_server import GrpcServer
from onward_server.api.model_servicer import ModelServicer
from onward_server.api.ports import Catalogue
from onward_server.api.tokenizer_servicer import TokenizerServicer
from onward_server.errors import StartupError
from onward_server.settings.server import Settings

logger = logging.getLogger(__name__)

_KEEPALIVE_MS = 60_000
_PING_TIMEOUT_MS = 20_000
"""Keepalive: idle time before a ping, and the time allowed for its acknowledgment."""
_FLUSH_S = 1.0
"""Time for the last statuses to reach their clients."""


class Server:
    """Serves a catalogue of models. A context manager: entering it binds the port, leaving it ends running calls.

    To drain, it sets health to NOT_SERVING and rejects new calls at once. Running calls have a grace time to finish;
    those that are still running then end with ServerDraining.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue, access: Access) -> None:
        """Registers the services; enter the server to listen."""
        self._settings = settings
        self._boundary = Boundary(max_deadline_s=settings.max_deadline_s, max_message_bytes=settings.max_message_bytes)
        self._key_check = KeyCheck(access.api_keys, self._boundary) if access.api_keys else None
        self._health = health.aio.HealthServicer()
        servicers = (CompletionServicer(catalogue), ModelServicer(catalogue), TokenizerServicer(catalogue))
        self._services = [servicer.handlers(self._boundary) for servicer in servicers]
        self._credentials = access.credentials
        self._server = self._grpc_server()
        self.address = settings.listen
        """The address to connect to. Port 0 becomes the real port when the server is entered."""

    async def __aenter__(self) -> Self:
        """Binds the port and starts to serve. Raises StartupError if the port cannot be bound."""
        for service in self._services:
            await self._health.set(service.service_name, health_pb2.HealthCheckResponse.SERVING)
        self.address = self._bind()
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    async def run_until_signal(self, failure: asyncio.Event) -> bool:
        """Serves until SIGTERM or SIGINT, then drains. A second signal ends the server at once.

        Args:
            failure: Set when an engine has failed for good. The server then ends without a grace time.

        Returns:
            True if a signal ended the server, False if a failure did: of an engine, or of gRPC's accepting of calls.
        """
        async with _signals() as signals:
            signaled, _, _ = await _first_of(signals.get(), failure.wait(), self._server.wait_for_failure())
            if not signaled:
                await self.drain(_FLUSH_S)
                return False
            drained, _ = await _first_of(self.drain(self._settings.drain_timeout_s), signals.get())
            if not drained:
                logger.warning("second signal: ending without waiting for running calls")
            return True

    async def drain(self, grace_s: float) -> None:
        """Rejects new calls, and ends running ones that have not finished after `grace_s` seconds."""
        logger.info("draining: rejecting new calls, running calls have %g s to finish", grace_s)
        self._boundary.reject_new_calls()
        with contextlib.suppress(TimeoutError):  # a client that watches health but does not read must not delay this
            await asyncio.wait_for(self._health.enter_graceful_shutdown(), _FLUSH_S)
        try:
            async with asyncio.timeout(grace_s):
                await self._boundary.wait_until_idle()
        except TimeoutError:
            logger.warning("ending %d calls that did not finish in time", self._boundary.abort_running_calls())
        await self._server.stop(_FLUSH_S)
        logger.info("drained")

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

    def _bind(self) -> str:
        listen = self._settings.listen
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, self._credentials)
        except RuntimeError:
            raise StartupError(
                f"--listen: cannot bind {listen}: it is in use or not on this machine, or the TLS files do not match"
            ) from None
        return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


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
async def _signals() -> AsyncGenerator[asyncio.Queue[signal.Signals]]:
    """Queues SIGTERM and SIGINT while the block runs."""
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.put_nowait, number)
    try:
        yield received
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


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
