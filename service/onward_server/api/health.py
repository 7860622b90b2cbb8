"""The gRPC health service. Its replies tell the server's version in their trailing metadata."""

from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2

from onward_server.api.status import SERVER_VERSION

if TYPE_CHECKING:  # generic in the stubs only
    _CheckContext = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    _ListContext = grpc.aio.ServicerContext[Message, Message]

_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_ListResponse = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName("grpc.health.v1.HealthListResponse"))
"""By name, because the type stubs of grpcio-health-checking lack it."""


class HealthService(health.aio.HealthServicer):
    """Reports the health of each service, and of the server as a whole under the empty name."""

    def __init__(self) -> None:
        """Starts as a server that does not serve."""
        super().__init__()
        self._statuses = {"": _NOT_SERVING}

    async def set(self, service: str, status: int) -> None:
        """Sets the health of a service, and notifies the calls that watch it."""
        self._statuses[service] = status
        await super().set(service, status)

    async def enter_graceful_shutdown(self) -> None:
        """Sets every service to NOT_SERVING permanently."""
        self._statuses = dict.fromkeys(self._statuses, _NOT_SERVING)
        await super().enter_graceful_shutdown()

    async def Check(  # noqa: N802  named by the protocol
        self, request: health_pb2.HealthCheckRequest, context: "_CheckContext"
    ) -> health_pb2.HealthCheckResponse:
        """Returns the health of one service. The error for an unknown service lists the known ones."""
        context.set_trailing_metadata((SERVER_VERSION,))
        if request.service not in self._statuses:
            names = ", ".join(filter(None, self._statuses))
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"service: {request.service!r} is not served here; leave it empty, or name one of {names}",
                (SERVER_VERSION,),
            )
        return health_pb2.HealthCheckResponse(status=self._statuses[request.service])

    async def List(self, request: Message, context: "_ListContext") -> Message:  # noqa: ARG002, N802  it has no fields
        """Returns the health of every service. The method of grpcio raises NotImplementedError."""
        context.set_trailing_metadata((SERVER_VERSION,))
        return ParseDict(
            {"statuses": {name: {"status": status} for name, status in self._statuses.items()}}, _ListResponse()
        )
