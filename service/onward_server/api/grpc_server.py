"""A server of grpc.aio that no request can end.

In one task, grpc.aio accepts all calls, and decodes the path of a call of an unknown method as UTF-8. One bad byte ends
that task and with it the server. Here such calls never reach that task: see decision 0016.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Never, TypeAlias

import grpc
import grpc.aio
from grpc._cython import cygrpc

logger = logging.getLogger(__name__)

_Handlers: TypeAlias = "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
_RefuseUnknown = Callable[["grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[None]]


_context = cygrpc._ServicerContext  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


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
            refuse_unknown: Aborts a call, whose method is not told.
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
    """grpc.aio's server, with three of its private methods changed."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        refuse_unknown: _RefuseUnknown,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Sequence[tuple[str, str | int]],
    ) -> None:
        super().__init__(loop, None, (), tuple(interceptors), tuple(options), None)
        self._event_loop = loop
        self._refuse_unknown = refuse_unknown
        self._refusals: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Future[cygrpc.RPCState]] = set()
        self.has_failed = asyncio.Event()

    async def _request_call(self) -> Never:
        """Refuses calls of unknown methods, and never returns one to the task that would decode its path."""
        while True:
            call = await super()._request_call()
            refusal = self._event_loop.create_task(self._refuse(call))
            self._refusals.add(refusal)
            refusal.add_done_callback(self._refusals.discard)

    async def _refuse(self, call: cygrpc.RPCState) -> None:
        with contextlib.suppress(grpc.aio.BaseError):  # raised by abort, or because the client is gone
            await self._refuse_unknown(_context(call, None, None, self._event_loop))

    def _make_request_call_future(self, method_bytes: bytes | None) -> "asyncio.Future[cygrpc.RPCState]":
        """Keeps a request for a call alive if the accepting task ends, because core writes the call into its memory."""
        request = super()._make_request_call_future(method_bytes)
        self._requests.add(request)
        request.add_done_callback(self._forget)
        return asyncio.shield(request)

    def _forget(self, request: "asyncio.Future[cygrpc.RPCState]") -> None:
        self._requests.remove(request)
        if not request.cancelled():
            request.exception()  # marks it as read: nobody waits for it if the accepting task has ended

    async def _server_main_loop(self, server_started: "asyncio.Future[bool]") -> None:
        """Reports an exception at once. grpc.aio reports it when the last running call has ended."""
        try:
            await super()._server_main_loop(server_started)
        except Exception:
            logger.exception("gRPC stopped accepting calls")
            self.has_failed.set()
