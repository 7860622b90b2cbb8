"""The client for asyncio; what it sends and reads is in modules that it shares with `Client`."""

import copy
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc.aio
from google.protobuf.wrappers_pb2 import StringValue

from onward.v1.completion_pb2 import CompleteRequest, StreamCompleteRequest
from onward.v1.model_service_pb2 import GetModelRequest, ListModelsRequest, Model
from onward.v1.tokenizer_service_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    DetokenizeResponse,
    TokenizeResponse,
)
from onward_client import rpcs
from onward_client.async_stream import AsyncCompletionStream, errors_of
from onward_client.calls import CallOptions, ClientOptions, Options
from onward_client.channels import TLS, ChannelOptions, Channels, Destination
from onward_client.requests import (
    CompleteOptions,
    Messages,
    complete_request,
    detokenize_request,
    split,
    tokenize_request,
    with_format,
)
from onward_client.results import Completion, ParsedCompletion, Reply, to_completion, to_parsed, to_reply
from onward_client.rpcs import RequestT, ResponseT, Rpc

T = TypeVar("T")


class AsyncClient:
    """Calls an onward server; tasks of one event loop may share it, and leaving its `async with` block closes it."""

    def __init__(
        self,
        target: str,
        *,
        tls: TLS | bool | None = None,
        channel_options: ChannelOptions = (),
        **options: Unpack[Options],
    ) -> None:
        """Connects with the first call.

        Args:
            target: `host:port`, or any other name that gRPC takes.
            tls: on by default, but to a target on this machine; False speaks in the clear to any target.
            channel_options: more gRPC channel arguments.
            options: `timeout`, `max_retries`, `api_key`, `headers`; see `Options`.

        Raises:
            RequestError: a value is out of range, or a file of `tls` cannot be read.
        """
        self._options = ClientOptions().changed(**options)
        where = Destination.of(target, tls=tls, extra=channel_options)
        self._channels = Channels(lambda max_retries: _open(where, max_retries))

    async def __aenter__(self) -> Self:
        """Gives the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the client."""
        await self.close()

    async def close(self) -> None:
        """Ends all calls, those of clients made by `with_options` among them."""
        for channel in self._channels.drain():
            await channel.close()

    def with_options(self, **options: Unpack[Options]) -> Self:
        """The same client with other options; headers are added to those that are there."""
        other = copy.copy(self)
        other._options = self._options.changed(**options)  # noqa: SLF001 - it is a client itself
        return other

    async def complete(self, messages: Messages | None = None, **options: Unpack[CompleteOptions]) -> Completion:
        """The answer to a conversation, or to `prompt`."""
        wanted, how = split(options)
        return to_completion(await self.call(rpcs.COMPLETE, complete_request(messages, **wanted), **how))

    def stream(self, messages: Messages | None = None, **options: Unpack[CompleteOptions]) -> AsyncCompletionStream:
        """The same answer while it is made: `async with client.stream(...) as stream`."""
        wanted, how = split(options)
        request = StreamCompleteRequest(request=complete_request(messages, **wanted))
        call = self._options.call(how)
        rpc = rpcs.STREAM_COMPLETE
        method = self._channels.get(call.max_retries).unary_stream(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        begin = partial(method, request, timeout=call.timeout, metadata=call.metadata)
        return AsyncCompletionStream(begin, call.request_id)

    async def parse(
        self, kind: type[T], messages: Messages | None = None, **options: Unpack[CompleteOptions]
    ) -> ParsedCompletion[T]:
        """The answer as a value of type `kind`, whose JSON schema constrains it; needs pydantic.

        Raises:
            LengthFinishError: the answer was cut off.
            OutputValidationError: it does not match the type.
        """
        return to_parsed(kind, await self.complete(messages, **with_format(kind, options)))

    async def count_tokens(
        self, messages: Messages | None = None, **options: Unpack[CompleteOptions]
    ) -> CountTokensResponse:
        """What the same `complete` would cost, without running the model."""
        wanted, how = split(options)
        request = CountTokensRequest(request=complete_request(messages, **wanted))
        return (await self.call(rpcs.COUNT_TOKENS, request, **how)).proto

    async def tokenize(
        self,
        source: str | CompleteRequest,
        *,
        model: str = "",
        no_special_tokens: bool = False,
        **how: Unpack[CallOptions],
    ) -> TokenizeResponse:
        """The tokens of a text, or of a whole request as `complete_request` makes it."""
        request = tokenize_request(source, model, no_special_tokens=no_special_tokens)
        return (await self.call(rpcs.TOKENIZE, request, **how)).proto

    async def detokenize(
        self,
        token_ids: Sequence[int],
        *,
        model: str = "",
        keep_special_tokens: bool = False,
        **how: Unpack[CallOptions],
    ) -> DetokenizeResponse:
        """The text of these tokens."""
        request = detokenize_request(token_ids, model, keep_special_tokens=keep_special_tokens)
        return (await self.call(rpcs.DETOKENIZE, request, **how)).proto

    async def models(self, **how: Unpack[CallOptions]) -> list[Model]:
        """Every model of the server."""
        page = (await self.call(rpcs.LIST_MODELS, ListModelsRequest(), **how)).proto
        found = list(page.models)
        while page.next_page_token:
            page = (await self.call(rpcs.LIST_MODELS, ListModelsRequest(page_token=page.next_page_token), **how)).proto
            found.extend(page.models)
        return found

    async def model(self, name: str, **how: Unpack[CallOptions]) -> Model:
        """One model, by id or alias."""
        return (await self.call(rpcs.GET_MODEL, GetModelRequest(model=name), **how)).proto.model

    async def health(self, service: str = "", **how: Unpack[CallOptions]) -> bool:
        """Whether the server takes requests; raises `UnavailableError` where there is none."""
        return (await self.call(rpcs.HEALTH, StringValue(value=service), **how)).proto.value == rpcs.HEALTH_SERVING

    async def call(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, **how: Unpack[CallOptions]
    ) -> Reply[ResponseT]:
        """Makes any unary call of `onward_client.rpcs`: the generated response, with its metadata."""
        call = self._options.call(how)
        method = self._channels.get(call.max_retries).unary_unary(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        sent = method(request, timeout=call.timeout, metadata=call.metadata)
        with errors_of(call.request_id):
            response = await sent
        return to_reply(response, call.request_id, await sent.initial_metadata(), await sent.trailing_metadata())


def _open(where: Destination, max_retries: int) -> grpc.aio.Channel:
    options = where.options(max_retries)
    if where.credentials is None:
        return grpc.aio.insecure_channel(where.target, options)
    return grpc.aio.secure_channel(where.target, where.credentials, options)
