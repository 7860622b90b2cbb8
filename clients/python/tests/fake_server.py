"""A gRPC server on a free local port that answers each RPC with the next step of a test's script."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_status.rpc_status import to_status  # pyright: ignore[reportUnknownVariableType]

from onward.v1.completion_service_pb2_grpc import CompletionServiceServicer, add_CompletionServiceServicer_to_server
from onward.v1.model_service_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from onward.v1.tokenizer_service_pb2_grpc import TokenizerServiceServicer, add_TokenizerServiceServicer_to_server

SOON = (("grpc-retry-pushback-ms", "1"),)
"""Trailers that let the client retry after a millisecond."""
LATER = (("grpc-retry-pushback-ms", "60000"),)
"""Trailers that let the client retry after a minute."""
NEVER = (("grpc-retry-pushback-ms", "-1"),)
"""Trailers that forbid a retry."""
WAIT_S = 60
"""Longest time that a test waits for something that must happen; far more than a busy machine needs."""
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A status other than OK."""

    code: grpc.StatusCode
    details: Sequence[Message] = ()
    trailers: tuple[tuple[str, str], ...] = ()


class Hang:
    """A step that sends nothing until the client ends the call."""


Step = Message | Failure | Hang


class Seen(NamedTuple):
    """A call that the server received."""

    request: Message
    metadata: Mapping[str, str | bytes]
    seconds_left: float
    ended: threading.Event
    """Set when the call is over, for example because the client canceled it."""


def failure(
    code: grpc.StatusCode,
    reason: str,
    *details: Message,
    trailers: tuple[tuple[str, str], ...] = (),
    metadata: Mapping[str, str] | None = None,
) -> Failure:
    """Returns a failure as a real server reports it, with a reason and the request id."""
    info = ErrorInfo(reason=reason, domain="onward", metadata=metadata)
    return Failure(code=code, details=(info, RequestInfo(request_id="server-id"), *details), trailers=trailers)


class FakeServer:
    """Serves one entry of its script per call, in order; a list of steps is a stream."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.script: deque[Step | list[Step]] = deque()
        self.seen: list[Seen] = []
        self.called = threading.Event()
        """Set when the first RPC has arrived."""
        self.health = HealthServicer()
        options = [("grpc.max_receive_message_length", _MAX_BYTES), ("grpc.max_send_message_length", _MAX_BYTES)]
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
        add_CompletionServiceServicer_to_server(_Completions(self), self._server)
        add_ModelServiceServicer_to_server(_Models(self), self._server)
        add_TokenizerServiceServicer_to_server(_Tokenizers(self), self._server)
        add_HealthServicer_to_server(self.health, self._server)
        if credentials:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        """Cancels all calls and stops."""
        self._server.stop(grace=None).wait()

    def handle(self, request: Message, context: grpc.ServicerContext) -> Any:  # noqa: ANN401 - of every kind
        """Handles a unary call: returns the next message of the script, or aborts the call."""
        step = self._next(request, context)
        assert not isinstance(step, list)
        return self._do(step, context)

    def handle_stream(self, request: Message, context: grpc.ServicerContext) -> Iterator[Any]:
        """Handles a streaming call: yields one event for each step of the script."""
        steps = self._next(request, context)
        for step in steps if isinstance(steps, list) else [steps]:
            yield self._do(step, context)

    def _next(self, request: Message, context: grpc.ServicerContext) -> Step | list[Step]:
        ended = threading.Event()
        if not context.add_callback(ended.set):
            ended.set()
        self.seen.append(Seen(request, dict(context.invocation_metadata()), context.time_remaining(), ended))
        self.called.set()
        context.set_trailing_metadata((("x-request-id", "server-id"),))
        return self.script.popleft()

    def _do(self, step: Step, context: grpc.ServicerContext) -> Message:  # noqa: RET503 - abort never returns
        match step:
            case Failure():
                context.set_trailing_metadata(_trailers(step))
                context.abort(step.code, "scripted")
            case Hang():
                self.seen[-1].ended.wait(WAIT_S)
                context.abort(grpc.StatusCode.CANCELLED, "the client ended the call")
            case Message():
                return step


class _Completions(CompletionServiceServicer):
    def __init__(self, server: FakeServer) -> None:
        self.Complete = server.handle
        self.StreamComplete = server.handle_stream


class _Models(ModelServiceServicer):
    def __init__(self, server: FakeServer) -> None:
        self.ListModels = server.handle
        self.GetModel = server.handle


class _Tokenizers(TokenizerServiceServicer):
    def __init__(self, server: FakeServer) -> None:
        self.CountTokens = server.handle
        self.Tokenize = server.handle
        self.Detokenize = server.handle


def _trailers(step: Failure) -> tuple[tuple[str, str | bytes], ...]:
    status = Status(code=step.code.value[0], message="scripted")
    for detail in step.details:
        status.details.add().Pack(detail)
    return (*to_status(status).trailing_metadata, *step.trailers) if step.details else step.trailers
