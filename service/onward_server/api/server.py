"""The gRPC server: port, limits, health, reflection and the way it ends; it does not know models or messages."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator, Coroutine
from types import TracebackType
from typing import Self

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from onward_server.api.access import Access, KeyCheck
from onward_server.api.boundary import Boundary
from onward_server.api.completion_servicer import CompletionServicer
from onward_server.api.model_servicer import ModelServicer
from onward_server.api.ports import Catalogue
from onward_server.api.tokenizer_servicer import TokenizerServicer
from onward_server.errors import StartupError
from onward_server.settings.server import Settings

logger = logging.getLogger(__name__)

_KEEPALIVE_MS = 60_000
_PING_TIMEOUT_MS = 20_000
"""How soon a client that says nothing is asked for a sign of life, and how long it may take."""
_FLUSH_S = 1.0
"""Time for statuses that are already decided to reach their clients."""


class Server:
    """Serves a catalogue of models; entering it binds the port, leaving it ends what still runs.

    Draining is: health NOT_SERVING and new calls refused at once, running calls finish within the grace time, the rest
    end with ServerDraining.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue, access: Access) -> None:
        self._settings = settings
        self._credentials = access.credentials
        self._boundary = Boundary(max_deadline_s=settings.max_deadline_s, max_message_bytes=settings.max_message_bytes)
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[KeyCheck(access.api_keys, self._boundary)] if access.api_keys else [],
            options=_options(settings),
        )
        self._service_names = self._add_services(catalogue)
        self.address = settings.listen
        """What clients connect to; with the real port once entered."""

    async def __aenter__(self) -> Self:
        """Binds the port and starts to answer. Raises StartupError when the port cannot be had."""
        for service_name in self._service_names:
            await self._health.set(service_name, health_pb2.HealthCheckResponse.SERVING)
        self.address = self._bind()
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    async def run_until_signal(self, failure: asyncio.Event) -> bool:
        """Serves until SIGTERM or SIGINT, then drains; a second signal ends at once.

        Args:
            failure: set by the owner of the engines when one is dead; ends the server without a grace time.

        Returns:
            Whether it ended as asked, not by `failure`.
        """
        async with _signals() as signals:
            asked, _ = await _first_of(signals.get(), failure.wait())
            if not asked:
                await self.drain(_FLUSH_S)
                return False
            drained, _ = await _first_of(self.drain(self._settings.drain_timeout_s), signals.get())
            if not drained:
                logger.warning("second signal: ending at once")
            return True

    async def drain(self, grace_s: float) -> None:
        """Stops serving: refuses new calls at once, gives running ones `grace_s` seconds to finish."""
        logger.info("draining: running calls have %g s to finish", grace_s)
        self._boundary.refuse_new_calls()
        with contextlib.suppress(TimeoutError):  # a watcher of health that has stopped reading must not hold this up
            await asyncio.wait_for(self._health.enter_graceful_shutdown(), _FLUSH_S)
        try:
            async with asyncio.timeout(grace_s):
                await self._boundary.wait_until_idle()
        except TimeoutError:
            logger.warning("%d calls outlived the grace time and are ended", self._boundary.cut_short())
        await self._server.stop(_FLUSH_S)
        logger.info("drained")

    def _add_services(self, catalogue: Catalogue) -> list[str]:
        """Registers every service; returns the names that health knows beside the empty one."""
        servicers = (CompletionServicer(catalogue), ModelServicer(catalogue), TokenizerServicer(catalogue))
        services = [servicer.handlers(self._boundary) for servicer in servicers]
        self._server.add_generic_rpc_handlers([service.generic_handler() for service in services])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.service_name for service in services]
        if self._settings.reflection:
            reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        return names

    def _bind(self) -> str:
        listen = self._settings.listen
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, self._credentials)
        except RuntimeError:
            raise StartupError(
                f"cannot listen on {listen}: the address is taken or not of this machine, or the TLS files do not match"
            ) from None
        return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Channel arguments. gRPC ignores a misspelt one in silence, so each has a test of its effect.

    Metadata is held to gRPC's own 8 KiB, 16 KiB at most.
    """
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # The bound on work is the engine's queue, which answers; by default gRPC drops calls at random before it.
        ("grpc.server.max_pending_requests", 1 << 20),
        ("grpc.server.max_pending_requests_hard_limit", 1 << 20),
        # A client may ping through a long silent call as often as it likes.
        ("grpc.http2.max_ping_strikes", 0),
        # A client that vanished frees its slot; keepalive_timeout_ms, which says it does this, does not.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # A second server on the same port is a mistake, not a share.
        ("grpc.so_reuseport", 0),
    ]


@contextlib.asynccontextmanager
async def _signals() -> AsyncGenerator[asyncio.Queue[signal.Signals]]:
    """Collects SIGTERM and SIGINT while the block runs."""
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
    """Runs them until one is done, and ends the others; says which were done, and raises what those raised."""
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
