"""Python client of the onward completion service; see `Client` and `AsyncClient`."""

from onward_client.async_client import AsyncClient
from onward_client.async_stream import AsyncCompletionStream
from onward_client.channels import TLS
from onward_client.client import Client
from onward_client.conversation import Conversation
from onward_client.errors import (
    APIError,
    AuthenticationError,
    CancelledError,
    ContextLengthExceededError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    LengthFinishError,
    ModelNotFoundError,
    OnwardError,
    OutputError,
    OutputValidationError,
    OverloadedError,
    PermissionDeniedError,
    RequestError,
    UnavailableError,
)
from onward_client.messages import assistant, system, tool_result, user
from onward_client.requests import complete_request
from onward_client.results import Answer, Completion, FinishReason, ParsedCompletion, Reply
from onward_client.stream import CompletionStream

__all__ = [
    "TLS",
    "APIError",
    "Answer",
    "AsyncClient",
    "AsyncCompletionStream",
    "AuthenticationError",
    "CancelledError",
    "Client",
    "Completion",
    "CompletionStream",
    "ContextLengthExceededError",
    "Conversation",
    "DeadlineExceededError",
    "FinishReason",
    "InternalError",
    "InvalidRequestError",
    "LengthFinishError",
    "ModelNotFoundError",
    "OnwardError",
    "OutputError",
    "OutputValidationError",
    "OverloadedError",
    "ParsedCompletion",
    "PermissionDeniedError",
    "Reply",
    "RequestError",
    "UnavailableError",
    "assistant",
    "complete_request",
    "system",
    "tool_result",
    "user",
]
