"""A grpc.aio server that no request can stop.

grpc.aio accepts all calls in one task, which decodes the path of an unknown method as UTF-8. One bad byte ends the task
and with it the server. This module accepts calls in tasks of its own instead: see decision 0016.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc._cython import cygrpc
from grpc._cython.cygrpc import (
    _handle_rpc,  # pyright: ignore[reportPrivateUsage]
    _MethodResolver,  # pyright: ignore[reportPrivateUsage]
    _RequestCallError,  # pyright: ignore[reportPrivateUsage]
    _schedule_rpc_coro,  # pyright: ignore[reportPrivateUsage]
    _ServicerContext,  # pyright: ignore[reportPrivateUsage]
)

from onward_server.api.fair_queue import FairQueue

logger = logging.getLogger(__name__)

_Handlers: TypeAlias = "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
_RefuseUnknown = Callable[["grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[None]]


_QUIET_S = 0.05
"""Time without a running call after which all connections are closed."""
_END_S = 1.0
"""Time for the tasks of canceled calls to end."""
_NUM_REQUESTED = 16
"""Calls of one method that core may hand over before the first of them is taken."""


class GrpcServer(grpc.aio.Server):
    """Serves methods that are registered by name. Calls of all other methods go to `refuse_unknown`."""

    def __init__(
        self,
        refuse_unknown: _RefuseUnknown,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Sequence[tuple[str, str | int]],
    ) -> None:
        """Must be called on the event loop.

        Args:
            refuse_unknown: Aborts a call of an unknown method, whose name it does not get.
            interceptors: For calls of registered methods.
            options: Channel arguments.
        """
        self._core = _Core(asyncio.get_running_loop(), refuse_unknown, interceptors, options)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Does nothing. Generated code adds its methods here, and again by name."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: _Handlers) -> None:
        """Adds the methods of a service. Call before `start`."""
        self._core.add_registered_method_handlers(
            {f"/{service_name}/{method}": handler for method, handler in method_handlers.items()}
        )

    def add_insecure_port(self, address: str) -> int:
        """Binds an address for plaintext and returns its port. Raises RuntimeError if that fails."""
        return self._bound(address, self._core.add_insecure_port(address.encode()))

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Binds an address for TLS and returns its port. Raises RuntimeError if that fails."""
        return self._bound(address, self._core.add_secure_port(address.encode(), server_credentials))

    async def start(self) -> None:
        """Starts to accept calls."""
        await self._core.start()

    async def stop(self, grace: float | None) -> None:
        """Closes the port, and ends calls that still run after `grace` seconds; None: at once."""
        await self._core.shutdown(grace)
        await self._core.end_tasks()

    async def close(self, grace_s: float) -> None:
        """Closes all connections once no call has run for a moment, or after `grace_s` seconds at the latest.

        `stop` with a grace time asks clients to disconnect, and cancels calls that arrive before they do. Here, such a
        call ends with the status that its handler sets, or with UNAVAILABLE if its connection is closed first.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._core.wait_until_quiet()
        await self._core.disconnect()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109  the interface's
        """Returns False when the server has stopped, True after `timeout` seconds."""
        return await self._core.wait_for_termination(timeout)

    async def wait_for_failure(self) -> None:
        """Returns when no more calls are accepted because of an exception, which is logged."""
        await self._core.has_failed.wait()

    @staticmethod
    def _bound(address: str, port: int) -> int:
        if not port:
            raise RuntimeError(f"cannot bind {address}")
        return port


class _Core(cygrpc.AioServer):
    """grpc.aio's server with its own way to accept calls.

        core ─▶ _accept ─▶ FairQueue of connections ─▶ _start_calls ─▶ grpc.aio's task of the call

    Calls are taken from core as they come, and started from each connection in turn, so that a connection that opens a
    thousand calls hardly delays those of others.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        refuse_unknown: _RefuseUnknown,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Sequence[tuple[str, str | int]],
    ) -> None:
        super().__init__(loop, None, (), (), tuple(options), None)
        self._event_loop = loop
        self._refuse_unknown = refuse_unknown
        self._interceptors = tuple(interceptors)
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._accepted = FairQueue[tuple[str | None, cygrpc.RPCState]]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        """The tasks of running calls, except those of gRPC's own services: clients leave health watches open."""
        self._last_call_s = 0.0
        self._disconnecting: asyncio.Task[None] | None = None
        self.has_failed = asyncio.Event()

    def add_registered_method_handlers(self, method_handlers: _Handlers) -> None:
        super().add_registered_method_handlers(method_handlers)
        self._handlers.update(method_handlers)

    async def start(self) -> None:
        await super().start()
        for method in (*self._handlers, None):
            for _ in range(_NUM_REQUESTED):
                self._spawn(self._accept(method))
        self._starting = self._spawn(self._start_calls())

    async def end_tasks(self) -> None:
        """Starts no more calls, and lets the tasks of those that were canceled end."""
        if self._starting is not None:
            self._starting.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_S)

    async def wait_until_quiet(self) -> None:
        """Returns when no call has run for a moment. By then, the responses are on their way."""
        while self._calls or self._event_loop.time() < self._last_call_s + _QUIET_S:  # noqa: ASYNC110  not an event
            await asyncio.sleep(_QUIET_S)

    async def disconnect(self) -> None:
        """Closes all connections, then stops. In the opposite order, core would cancel waiting calls."""
        if self._disconnecting is None:
            self._disconnecting = self._event_loop.create_task(self._disconnect())
        await asyncio.shield(self._disconnecting)

    async def _disconnect(self) -> None:
        """Calls `shutdown` twice: the first call closes the connections, because core is not yet told to stop."""
        if self.is_running():
            closing = self._event_loop.create_task(self.shutdown(None))
            await asyncio.sleep(0)
            await super()._start_shutting_down()
            await asyncio.gather(closing, self.shutdown(None))

    async def _start_shutting_down(self) -> None:
        if self._disconnecting is None:
            await super()._start_shutting_down()

    async def _server_main_loop(self, server_started: "asyncio.Future[bool]") -> None:
        """Starts core, and ends grpc.aio's loop, which accepts calls one by one and ends at a bad path."""
        accepting = self._event_loop.create_task(super()._server_main_loop(server_started))
        await server_started
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)

    def _make_request_call_future(self, _: bytes | None) -> "asyncio.Future[cygrpc.RPCState]":
        """Gives grpc.aio's loop nothing to accept: once it is canceled, core would write a call into freed memory."""
        return self._event_loop.create_future()

    async def _accept(self, method: str | None) -> None:
        """Takes the calls of a method from core; None: of all unknown methods."""
        while self.is_running():  # a server that has stopped has no core
            try:
                if method is None:
                    call = await self._request_call()
                else:
                    call = await self._request_registered_call(method.encode())
            except _RequestCallError:
                continue  # core fails all requests when it stops
            except Exception:
                logger.exception("gRPC stopped accepting calls")
                self.has_failed.set()
                return
            else:
                self._accepted.put(self._context_of(call).peer(), (method, call))

    async def _start_calls(self) -> None:
        while True:
            method, call = await self._accepted.get()
            if method is None:
                self._spawn(self._refuse(call))
            else:
                task = self._spawn(self._handle(method, call))
                if not method.startswith("/grpc."):
                    self._calls.add(task)
                    task.add_done_callback(self._end_call)
            await asyncio.sleep(0)  # lets running calls proceed, and calls of other connections enter the queue

    async def _handle(self, method: str, call: cygrpc.RPCState) -> None:
        resolver = _MethodResolver([], self._handlers)
        running = _handle_rpc(method, resolver, self._interceptors, call, self._event_loop, False)  # noqa: FBT003
        await _schedule_rpc_coro(running, call, self._event_loop, method)

    def _end_call(self, task: asyncio.Task[None]) -> None:
        self._calls.remove(task)
        self._last_call_s = self._event_loop.time()

    async def _refuse(self, call: cygrpc.RPCState) -> None:
        with contextlib.suppress(grpc.aio.BaseError):  # raised by abort, or because the client is gone
            await self._refuse_unknown(self._context_of(call))

    def _context_of(self, call: cygrpc.RPCState) -> "grpc.aio.ServicerContext[bytes, bytes]":
        return _ServicerContext(call, None, None, self._event_loop)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._event_loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
