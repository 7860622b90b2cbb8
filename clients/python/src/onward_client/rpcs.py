"""The RPCs of onward.v1 and of gRPC health checking, for `Client.call`."""

from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from onward.v1.completion_pb2 import CompleteRequest, CompleteResponse, StreamCompleteRequest, StreamCompleteResponse
from onward.v1.model_service_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse
from onward.v1.tokenizer_service_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from onward_client.errors import RequestError, shown

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[RequestT, ResponseT]):
    """One RPC: its path, and the types of its request and response."""

    path: str
    request: type[RequestT]
    response: type[ResponseT]


COMPLETE = Rpc("/onward.v1.CompletionService/Complete", CompleteRequest, CompleteResponse)
STREAM_COMPLETE = Rpc("/onward.v1.CompletionService/StreamComplete", StreamCompleteRequest, StreamCompleteResponse)
LIST_MODELS = Rpc("/onward.v1.ModelService/ListModels", ListModelsRequest, ListModelsResponse)
GET_MODEL = Rpc("/onward.v1.ModelService/GetModel", GetModelRequest, GetModelResponse)
COUNT_TOKENS = Rpc("/onward.v1.TokenizerService/CountTokens", CountTokensRequest, CountTokensResponse)
TOKENIZE = Rpc("/onward.v1.TokenizerService/Tokenize", TokenizeRequest, TokenizeResponse)
DETOKENIZE = Rpc("/onward.v1.TokenizerService/Detokenize", DetokenizeRequest, DetokenizeResponse)
# These have the wire format of HealthCheckRequest and HealthCheckResponse, without a dependency on their package.
HEALTH = Rpc("/grpc.health.v1.Health/Check", StringValue, Int32Value)
HEALTH_SERVING = 1


def check(rpc: object, request: object) -> None:
    """Checks an RPC and its request.

    Raises:
        RequestError: The RPC is not of this module, or returns a stream, or the request is of another type.
    """
    if not isinstance(rpc, Rpc):
        raise RequestError(f"rpc: must be an RPC of `onward_client.rpcs`, not {shown(rpc)}")
    if rpc is STREAM_COMPLETE:
        raise RequestError("rpc: STREAM_COMPLETE returns a stream; use `stream`")
    kind = cast("type[Message]", rpc.request)
    if not isinstance(request, kind):
        raise RequestError(f"request: must be a {kind.__name__}, not {shown(request)}")
