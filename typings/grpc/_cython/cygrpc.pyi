# What onward_server.api.grpc_server uses of grpcio 1.85, whose own stub has no types.

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

class RPCState: ...
class _RequestCallError(Exception): ...

class _MethodResolver:
    def __init__(
        self,
        generic_handlers: Sequence[grpc.GenericRpcHandler],
        registered_method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]],
    ) -> None: ...

class AioServer:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread_pool: None,
        generic_handlers: Sequence[grpc.GenericRpcHandler],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Sequence[tuple[str, str | int]],
        maximum_concurrent_rpcs: int | None,
    ) -> None: ...
    def add_registered_method_handlers(
        self, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None: ...
    def add_insecure_port(self, address: bytes) -> int: ...
    def add_secure_port(self, address: bytes, server_credentials: grpc.ServerCredentials) -> int: ...
    async def start(self) -> None: ...
    async def shutdown(self, grace: float | None) -> None: ...
    async def wait_for_termination(self, timeout: float | None) -> bool: ...  # noqa: ASYNC109
    def _make_request_call_future(self, method_bytes: bytes | None, /) -> asyncio.Future[RPCState]: ...
    async def _request_registered_call(self, method: bytes) -> RPCState: ...
    def is_running(self) -> bool: ...
    async def _request_call(self) -> RPCState: ...
    async def _server_main_loop(self, server_started: asyncio.Future[bool]) -> None: ...

def _ServicerContext(  # noqa: N802
    rpc_state: RPCState, deserializer: None, serializer: None, loop: asyncio.AbstractEventLoop
) -> grpc.aio.ServicerContext[bytes, bytes]: ...
async def _handle_rpc(
    method_name: str,
    method_resolver: _MethodResolver,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    rpc_state: RPCState,
    loop: asyncio.AbstractEventLoop,
    concurrency_exceeded: bool,
) -> None: ...
async def _schedule_rpc_coro(
    rpc_coro: Coroutine[None, None, None], rpc_state: RPCState, loop: asyncio.AbstractEventLoop, method_name: str
) -> None: ...
