"""Wraps each RPC method in the steps that all calls share.

    request id → reject while loading or draining → server's deadline → decode → the method → status and trailers →
    one log line

Nothing is sent before the method's first message: after a client has received headers, gRPC no longer retries the call.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from onward_server.api import status
from onward_server.errors import InvalidRequest, ModelsLoading, OnwardError, ServerDraining
from onward_server.telemetry import fields

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[bytes, bytes]

_RequestT = TypeVar("_RequestT")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_STATUS_S = 1.0
"""Time allowed for sending a status, which is queued behind messages that the client has not read."""
_LARGE_REQUEST_BYTES = 8 << 10
"""Larger requests are decoded in a thread: thousands of empty messages can take more than 5 ms."""
_MIN_LOADING_RETRY_S, _MAX_LOADING_RETRY_S = 1.0, 15.0


@dataclass(slots=True, kw_only=True)
class Call:
    """A running call."""

    method: str
    request_id: str
    started_s: float = field(default_factory=time.monotonic)
    labels: dict[str, object] = field(default_factory=dict[str, object])
    """Fields of the log line in addition to method, id, code and duration."""

    def note(self, **labels: object) -> None:
        """Adds fields to the call's log line: counts, times and names; never prompts, completions or keys."""
        self.labels.update(labels)


class Boundary:
    """Runs calls and tracks which are running. Until `accept_calls`, every call ends with ModelsLoading."""

    def __init__(self, *, max_deadline_s: float, stall_timeout_s: float, max_message_bytes: int) -> None:
        """Takes the limits on the duration of a call, the time a message stays unread, and the size of a response."""
        self._max_deadline_s = max_deadline_s
        self._stall_timeout_s = stall_timeout_s
        self._max_message_bytes = max_message_bytes
        self._running: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loading_since_s: float | None = time.monotonic()
        self._is_draining = False
        self._is_aborting = False

    def accept_calls(self) -> None:
        """Starts to run calls instead of rejecting them with ModelsLoading."""
        self._loading_since_s = None

    def reject_new_calls(self) -> None:
        """Ends every new call with ServerDraining."""
        self._is_draining = True

    async def wait_until_idle(self) -> None:
        """Returns once no call is running."""
        await self._idle.wait()

    def abort_running_calls(self) -> int:
        """Ends the running calls with ServerDraining and returns their number."""
        self._is_aborting = True
        for task in self._running:
            task.cancel()
        return len(self._running)

    @asynccontextmanager
    async def call(self, method: str, context: Context) -> AsyncGenerator[Call]:
        """Runs the block as one call: an exception that leaves it becomes the call's status, and one line is logged."""
        call = Call(method=method, request_id=request_id_of(context.invocation_metadata()))
        context.set_trailing_metadata(((status.REQUEST_ID, call.request_id), status.SERVER_VERSION))
        code = grpc.StatusCode.CANCELLED
        with self._counted():
            try:
                async with self._deadline():
                    self._admit()
                    yield call
                code = grpc.StatusCode.OK
            except asyncio.CancelledError:
                if self._is_aborting:
                    code = grpc.StatusCode.UNAVAILABLE
                    await abort(context, call, ServerDraining())
                if context.time_remaining() == 0:
                    code = grpc.StatusCode.DEADLINE_EXCEEDED
                raise
            except (grpc.aio.BaseError, GeneratorExit, KeyboardInterrupt, SystemExit):  # BaseError: the client is gone
                raise
            except BaseException as error:  # noqa: BLE001  the outermost layer: a panic, too, ends with a status
                code = status.failure(error).code
                await abort(context, call, error)
            finally:
                _log(call, code)

    async def write(self, context: Context, data: bytes) -> None:
        """Sends a message of a stream.

        Raises:
            StreamStalled: The client has left the stream unread for too long.
        """
        try:
            async with asyncio.timeout(self._stall_timeout_s):
                await context.write(data)
        except TimeoutError:
            raise status.StreamStalled(self._stall_timeout_s) from None

    def serialized(self, message: Message) -> bytes:
        """Returns the bytes of a message.

        Raises:
            ResponseTooLarge: There are too many. gRPC would reject them too, but without telling the caller why.
        """
        data = message.SerializeToString()
        if len(data) > self._max_message_bytes:
            raise status.ResponseTooLarge(message_bytes=len(data), max_message_bytes=self._max_message_bytes)
        return data

    def _admit(self) -> None:
        if self._is_draining:
            raise ServerDraining
        if self._loading_since_s is not None:
            # The longer loading has taken, the longer it may still take. Waiting as long again wastes few attempts.
            elapsed_s = time.monotonic() - self._loading_since_s
            raise ModelsLoading(min(max(elapsed_s, _MIN_LOADING_RETRY_S), _MAX_LOADING_RETRY_S))

    @contextmanager
    def _counted(self) -> Generator[None]:
        task = asyncio.current_task()
        assert task is not None, "a call runs in a task"
        self._running.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._running.remove(task)
            if not self._running:
                self._idle.set()

    @asynccontextmanager
    async def _deadline(self) -> AsyncGenerator[None]:
        """Limits the block to the server's deadline. An earlier deadline of the client arrives as a cancellation."""
        limit = asyncio.timeout(self._max_deadline_s)
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise status.DeadlineExceeded(self._max_deadline_s) from None
            raise


class ServiceHandlers:
    """The gRPC handlers of one service's methods."""

    def __init__(self, service: ServiceDescriptor, boundary: Boundary) -> None:
        """Starts without handlers; every method of the service must get one."""
        self.service_name = service.full_name
        self._unbound = set(service.methods_by_name)
        self._boundary = boundary
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}

    def unary(
        self,
        method: str,
        decode: Callable[[bytes], _RequestT],
        respond: Callable[[_RequestT, Call], Awaitable[Message]],
    ) -> None:
        """Adds a method that sends one response.

        Args:
            method: Name in the protocol.
            decode: Converts the request's bytes. Runs in a thread if they are many.
            respond: Returns the response to a decoded request.
        """
        path = self._bind(method)

        async def handle(data: bytes, context: Context) -> bytes:
            async with self._boundary.call(path, context) as call:
                return self._boundary.serialized(await respond(await _decoded(decode, data), call))

        self._handlers[method] = grpc.unary_unary_rpc_method_handler(handle)

    def streaming(
        self,
        method: str,
        decode: Callable[[bytes], _RequestT],
        respond: Callable[[_RequestT, Call], AsyncGenerator[Message]],
    ) -> None:
        """Adds a method that sends a stream of responses. Takes the same arguments as `unary`.

        The handler writes each message itself, so that a cancellation during a blocked write is raised here, and the
        generator of responses is always closed.
        """
        path = self._bind(method)

        async def handle(data: bytes, context: Context) -> None:
            async with (
                self._boundary.call(path, context) as call,
                aclosing(respond(await _decoded(decode, data), call)) as messages,
            ):
                has_headers = False
                async for message in messages:
                    data = self._boundary.serialized(message)
                    if not has_headers:
                        # In one batch with a message that is never read, they would block the status, too.
                        await context.send_initial_metadata(())
                        has_headers = True
                    await self._boundary.write(context, data)

        self._handlers[method] = grpc.unary_stream_rpc_method_handler(handle)

    def by_method(self) -> "Mapping[str, grpc.RpcMethodHandler[bytes, bytes]]":
        """Returns the handler of each method; they read and write bytes."""
        assert not self._unbound, f"{self.service_name} has methods without a handler: {self._unbound}"
        return self._handlers

    def _bind(self, method: str) -> str:
        self._unbound.remove(method)
        return f"{self.service_name}/{method}"


def request_id_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Returns the caller's request id if it is printable and has at most 128 characters, else a new one."""
    for key, value in metadata or ():
        if key == status.REQUEST_ID and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


async def abort(context: Context, call: Call, error: BaseException) -> None:
    """Ends the call with the status of an error. Always raises."""
    failed = status.failure(error)
    if not isinstance(error, OnwardError):
        logger.error("a bug ended a request", exc_info=error, extra=fields(request_id=call.request_id))
    if failed.reason:
        call.note(reason=failed.reason)
    if isinstance(error, InvalidRequest):
        call.note(fields=",".join(violation.field for violation in error.violations))
    message, trailers = status.status_and_trailers(failed, call.request_id)
    try:
        async with asyncio.timeout(_STATUS_S):
            await context.abort(failed.code, message, trailers)
    except TimeoutError:  # core sends it only after the client has read the messages before it
        raise asyncio.CancelledError from None


async def _decoded(decode: Callable[[bytes], _RequestT], data: bytes) -> _RequestT:
    if len(data) > _LARGE_REQUEST_BYTES:
        return await asyncio.to_thread(decode, data)
    return decode(data)


def _log(call: Call, code: grpc.StatusCode) -> None:
    total_s = time.monotonic() - call.started_s
    logger.info(
        "request",
        extra=fields(request_id=call.request_id, method=call.method, code=code.name, duration_s=total_s, **call.labels),
    )
