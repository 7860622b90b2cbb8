"""Starts a server with fake completers on a free port, and reads its errors; for tests of the gRPC API."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from onward.v1.chat_pb2 import ROLE_USER, ContentPart
from onward.v1.chat_pb2 import Message as ChatMessage
from onward.v1.completion_pb2 import CompleteRequest, StreamCompleteRequest
from onward.v1.completion_service_pb2_grpc import CompletionServiceStub
from onward.v1.model_service_pb2_grpc import ModelServiceStub
from onward.v1.tokenizer_service_pb2_grpc import TokenizerServiceStub
from onward_server.api.access import load_access
from onward_server.api.server import Server
from onward_server.settings.server import Settings
from testing.fakes_completion import FakeCatalogue, FakeCompleter
from tests.waiting import WAIT_S

if TYPE_CHECKING:  # in the stubs only
    from onward.v1.completion_service_pb2_grpc import CompletionServiceAsyncStub
    from onward.v1.model_service_pb2_grpc import ModelServiceAsyncStub
    from onward.v1.tokenizer_service_pb2_grpc import TokenizerServiceAsyncStub

HELLO = CompleteRequest(messages=[ChatMessage(role=ROLE_USER, content=[ContentPart(text="Hi")])])
STREAM_HELLO = StreamCompleteRequest(request=HELLO)

_DETAILS = (BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo)


@dataclass(frozen=True, slots=True)
class Served:
    """A running server, and a channel to it."""

    server: Server
    channel: grpc.aio.Channel

    @property
    def completions(self) -> "CompletionServiceAsyncStub":
        return CompletionServiceStub(self.channel)

    @property
    def models(self) -> "ModelServiceAsyncStub":
        return ModelServiceStub(self.channel)

    @property
    def tokenizers(self) -> "TokenizerServiceAsyncStub":
        return TokenizerServiceStub(self.channel)

    async def health(self, service: str = "") -> int:
        """The status of a service, such as `HealthCheckResponse.SERVING`."""
        check = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        return (await check(HealthCheckRequest(service=service))).status

    async def wait_until_not_serving(self) -> None:
        """Waits until the health service reports NOT_SERVING."""
        watch = self.channel.unary_stream(
            "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        async for response in watch(HealthCheckRequest()):
            if response.status == HealthCheckResponse.NOT_SERVING:
                return

    def call_with_bytes(self, method: str, data: bytes = b"") -> AsyncIterable[bytes]:
        """Calls any method with bytes, which need not be a valid message."""
        return self.channel.unary_stream(method, bytes, bytes)(data)


@asynccontextmanager
async def serving(
    *completers: FakeCompleter,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, str | int]] = (),
    **settings: object,
) -> AsyncGenerator[Served]:
    """Runs a server with these completers for at most WAIT_S; `credentials` and `options` are for the channel."""
    configured = Settings.model_validate({"listen": "127.0.0.1:0", "drain_timeout_s": 5, **settings})
    async with (
        asyncio.timeout(WAIT_S),
        Server(configured, FakeCatalogue(completers), load_access(configured)) as server,
    ):
        await server.open()
        target = server.address
        made = (
            grpc.aio.insecure_channel(target, options=options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=options)
        )
        async with made as channel:
            yield Served(server, channel)


async def failure(reply: Awaitable[object] | AsyncIterable[object]) -> grpc.aio.AioRpcError:
    """Waits for the end of a call that must fail, and returns its error."""
    try:
        if isinstance(reply, AsyncIterable):
            async for _ in reply:
                pass
        else:
            await reply
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


def details(error: grpc.aio.AioRpcError) -> dict[str, Message]:
    """The details of the error by type; asserts that each type occurs at most once."""
    packed = trailers(error)["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    status = Status.FromString(packed)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found = {detail.TypeName(): detail for detail in status.details}
    assert len(found) == len(status.details)
    return {name.rpartition(".")[2]: unpacked(detail) for name, detail in found.items()}


def trailers(error: grpc.aio.AioRpcError) -> dict[str, str | bytes]:
    """The trailing metadata of the error."""
    return dict(error.trailing_metadata() or ())


def unpacked(detail: Any) -> Message:
    """The message in a detail."""
    (kind,) = (kind for kind in _DETAILS if kind.DESCRIPTOR.full_name == detail.TypeName())
    message = kind()
    detail.Unpack(message)
    return message
