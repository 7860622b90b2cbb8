"""Python client of the onward completion service: `Client` for threads, `AsyncClient` for asyncio."""

from importlib.metadata import PackageNotFoundError, version

from onward_client import rpcs
from onward_client.async_client import AsyncClient
from onward_client.async_connection import AsyncInterceptor
from onward_client.async_stream import AsyncCompletionStream, AsyncParsedCompletionStream
from onward_client.calls import ApiKey, CallOptions, ClientOptions
from onward_client.channels import TLS, ChannelOptions
from onward_client.client import Client
from onward_client.connection import Interceptor
from onward_client.conversation import Conversation
from onward_client.errors import (
    APIError,
    AuthenticationError,
    CancelledError,
    ContextLengthExceededError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    ModelNotFoundError,
    OnwardError,
    OverloadedError,
    PermissionDeniedError,
    RequestError,
    UnavailableError,
)
from onward_client.formats import (
    ChoiceDict,
    GrammarDict,
    JsonSchemaDict,
    RegexDict,
    ResponseFormatDict,
    ResponseFormatLike,
)
from onward_client.messages import (
    AssistantMessage,
    FunctionCallDict,
    HasMessage,
    MessageDict,
    MessageLike,
    TextPartDict,
    ToolCallDict,
    assistant,
    system,
    tool_result,
    user,
)
from onward_client.replies import Metadata, Reply
from onward_client.requests import CompleteOptions, Messages, RequestOptions, SamplingOptions, complete_request
from onward_client.results import (
    Choice,
    Completion,
    FinishReason,
    LengthFinishError,
    OutputError,
    OutputValidationError,
    ParsedCompletion,
)
from onward_client.rpcs import Rpc
from onward_client.stream import CompletionStream, ParsedCompletionStream
from onward_client.tools import FunctionDict, NamedToolDict, ToolChoiceDict, ToolChoiceLike, ToolDict, ToolLike

try:
    __version__ = version("onward-client")
except PackageNotFoundError:  # run from its source, without an installation
    __version__ = "0+unknown"

__all__ = [
    "TLS",
    "APIError",
    "ApiKey",
    "AssistantMessage",
    "AsyncClient",
    "AsyncCompletionStream",
    "AsyncInterceptor",
    "AsyncParsedCompletionStream",
    "AuthenticationError",
    "CallOptions",
    "CancelledError",
    "ChannelOptions",
    "Choice",
    "ChoiceDict",
    "Client",
    "ClientOptions",
    "CompleteOptions",
    "Completion",
    "CompletionStream",
    "ContextLengthExceededError",
    "Conversation",
    "DeadlineExceededError",
    "FinishReason",
    "FunctionCallDict",
    "FunctionDict",
    "GrammarDict",
    "HasMessage",
    "Interceptor",
    "InternalError",
    "InvalidRequestError",
    "JsonSchemaDict",
    "LengthFinishError",
    "MessageDict",
    "MessageLike",
    "Messages",
    "Metadata",
    "ModelNotFoundError",
    "NamedToolDict",
    "OnwardError",
    "OutputError",
    "OutputValidationError",
    "OverloadedError",
    "ParsedCompletion",
    "ParsedCompletionStream",
    "PermissionDeniedError",
    "RegexDict",
    "Reply",
    "RequestError",
    "RequestOptions",
    "ResponseFormatDict",
    "ResponseFormatLike",
    "Rpc",
    "SamplingOptions",
    "TextPartDict",
    "ToolCallDict",
    "ToolChoiceDict",
    "ToolChoiceLike",
    "ToolDict",
    "ToolLike",
    "UnavailableError",
    "__version__",
    "assistant",
    "complete_request",
    "rpcs",
    "system",
    "tool_result",
    "user",
]
