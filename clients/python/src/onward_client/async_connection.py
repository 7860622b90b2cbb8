"""The connection of the asyncio client, and its calls for models, tokens and health."""

import copy
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeAlias, Unpack

import grpc.aio
from google.protobuf.wrappers_pb2 import StringValue

from onward.v1.completion_pb2 import CompleteRequest
from onward.v1.model_service_pb2 import GetModelRequest, ListModelsRequest, Model
from onward.v1.tokenizer_service_pb2 import DetokenizeResponse, TokenizeResponse
from onward_client import rpcs
from onward_client.async_stream import canceling_is_reported
from onward_client.calls import CallDefaults, CallOptions, ClientOptions
from onward_client.channels import (
    TLS,
    ChannelOptions,
    Destination,
    SharedAioChannel,
    check_own_channel,
    checked_interceptors,
    closing_is_reported,
)
from onward_client.fields import build, text
from onward_client.hints import hint_for
from onward_client.replies import Reply, to_reply
from onward_client.requests import detokenize_request, tokenize_request
from onward_client.retries import Attempts
from onward_client.rpcs import RequestT, ResponseT, Rpc

AsyncInterceptor: TypeAlias = grpc.aio.ClientInterceptor
"""A gRPC interceptor for the calls of the client."""

_INTERCEPTORS = (
    grpc.aio.UnaryUnaryClientInterceptor,
    grpc.aio.UnaryStreamClientInterceptor,
)


class AsyncConnection:
    """A connection to an onward server, for asyncio. The tasks of one event loop may share it."""

    def __init__(
        self,
        target: str | None = None,
        *,
        tls: TLS | bool | None = None,
        channel_options: ChannelOptions = (),
        interceptors: Sequence[AsyncInterceptor] = (),
        channel: grpc.aio.Channel | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """Creates a client. It connects on the first call.

        Args:
            target: `host:port`, or another name that gRPC resolves. Default: the value of ONWARD_TARGET.
            tls: True or `TLS` for an encrypted connection, False for plaintext. Default: plaintext to this machine, TLS
                to any other.
            channel_options: Further gRPC channel arguments. Default: none beyond the client's own.
            interceptors: gRPC interceptors for all calls. Default: no interceptors.
            channel: A gRPC channel to use instead of a target, with its own settings. Closing the client does not close
                it. Default: a new channel.
            **options: `api_key`, `timeout`, `max_retries` and `headers`; see `ClientOptions`.

        Raises:
            RequestError: A value has the wrong type or is out of range, no target is set, or a file of `tls` cannot be
                read.
            TypeError: There is no such option.
        """
        if channel is None:
            where = Destination.of(target, tls=tls, extra=channel_options)
            self._defaults = CallDefaults.of(options, partial(hint_for, where))
        else:
            check_own_channel(
                grpc.aio.Channel,
                channel,
                target=target,
                tls=tls,
                channel_options=channel_options,
                interceptors=interceptors,
            )
            where = channel
            self._defaults = CallDefaults.of(options, partial(hint_for, None))
        opener = partial(_open, where, checked_interceptors(_INTERCEPTORS, interceptors))
        self._channel = SharedAioChannel(opener, is_owned=channel is None)

    async def __aenter__(self) -> Self:
        """Returns the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the client."""
        await self.close()

    async def close(self) -> None:
        """Cancels all calls and closes the connections, also for clients made by `with_options`, which share them."""
        await self._channel.close()

    def __copy__(self) -> Self:
        """Returns a client with the same options, which shares the connections of this one."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __getstate__(self) -> object:
        """Refuses to be pickled.

        Raises:
            TypeError: Always, as for other objects that cannot be pickled.
        """
        raise TypeError("a client cannot be pickled or deeply copied; create one in each process")

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """Returns a client that has other options and shares the connections of this one.

        Args:
            **options: See `ClientOptions`. Default: as in this client. Headers are added to the existing ones.

        Returns:
            The new client.

        Raises:
            RequestError: A value is out of range.
            TypeError: There is no such option.

        Example:
            >>> (await client.with_options(timeout=5, headers={"x-tenant": "a"}).complete("Thank you!")).text
            "You're welcome!"
        """
        other = copy.copy(self)
        other._defaults = self._defaults.changed(**options)  # noqa: SLF001 - of its own class
        return other

    async def tokenize(
        self,
        source: str | CompleteRequest,
        *,
        model: str = "",
        no_special_tokens: bool = False,
        **how: Unpack[CallOptions],
    ) -> TokenizeResponse:
        """Returns the tokens of a text, or of the prompt of a request.

        Args:
            source: The text, or a request as `complete_request` builds it.
            model: Id or alias, for a text. Default: the server's default model.
            no_special_tokens: Omit the special tokens that the tokenizer adds, for a text.
            **how: Options of the call; see `CallOptions`. Default: those of the client.

        Returns:
            The generated response, with the `tokens` and, for a request, its `prompt`.

        Raises:
            APIError: The call failed. The subclass tells why.
            RequestError: A value has the wrong type or form; nothing was sent.
            TypeError: There is no such option.

        Example:
            >>> [token.token for token in (await client.tokenize("Hello, world")).tokens]
            [b'Hello', b',', b' ', b'w', b'or', b'ld']
        """
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
        """Returns the text of token ids.

        Args:
            token_ids: The token ids.
            model: Id or alias. Default: the server's default model.
            keep_special_tokens: Show special tokens in the text.
            **how: Options of the call; see `CallOptions`. Default: those of the client.

        Returns:
            The generated response, with the `text`.

        Raises:
            APIError: The call failed. The subclass tells why.
            RequestError: A value has the wrong type or form; nothing was sent.
            TypeError: There is no such option.

        Example:
            >>> (await client.detokenize([1230, 14])).text
            'Hello,'
        """
        request = detokenize_request(token_ids, model, keep_special_tokens=keep_special_tokens)
        return (await self.call(rpcs.DETOKENIZE, request, **how)).proto

    async def models(self, **how: Unpack[CallOptions]) -> list[Model]:
        """Returns all models that the server serves.

        Args:
            **how: Options of the call; see `CallOptions`. Default: those of the client.

        Returns:
            The models, with their limits, defaults and capabilities.

        Raises:
            APIError: The call failed. The subclass tells why.
            TypeError: There is no such option.

        Example:
            >>> [(model.id, model.context_length) for model in await client.models()]
            [('pocket', 1024)]
        """
        page = (await self.call(rpcs.LIST_MODELS, ListModelsRequest(), **how)).proto
        found = list(page.models)
        while page.next_page_token:
            page = (await self.call(rpcs.LIST_MODELS, ListModelsRequest(page_token=page.next_page_token), **how)).proto
            found.extend(page.models)
        return found

    async def model(self, name: str, **how: Unpack[CallOptions]) -> Model:
        """Returns one model.

        Args:
            name: Its id or an alias.
            **how: Options of the call; see `CallOptions`. Default: those of the client.

        Returns:
            The model, with its limits, defaults and capabilities.

        Raises:
            ModelNotFoundError: The server does not serve it.
            APIError: The call failed. The subclass tells why.
            TypeError: There is no such option.

        Example:
            >>> (await client.model("pocket")).default_sampling.max_tokens
            256
        """
        return (await self.call(rpcs.GET_MODEL, build(GetModelRequest, "", {"model": name}), **how)).proto.model

    async def health(self, service: str = "", **how: Unpack[CallOptions]) -> bool:
        """Returns whether the server accepts requests.

        Args:
            service: Full name of a gRPC service, such as `onward.v1.CompletionService`. Default: the whole server.
            **how: Options of the call; see `CallOptions`. Default: those of the client.

        Returns:
            True if it accepts requests, False if it is loading or shutting down.

        Raises:
            UnavailableError: The server cannot be reached.
            APIError: The call failed. The subclass tells why.
            TypeError: There is no such option.

        Example:
            >>> await client.health()
            True
        """
        return (
            await self.call(rpcs.HEALTH, StringValue(value=text("service", service)), **how)
        ).proto.value == rpcs.HEALTH_SERVING

    async def call(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, **how: Unpack[CallOptions]
    ) -> Reply[ResponseT]:
        """Calls any unary RPC of `onward_client.rpcs`.

        Args:
            rpc: The RPC.
            request: Its generated request.
            **how: Options of the call; see `CallOptions`. Default: those of the client.

        Returns:
            The generated response, with its metadata.

        Raises:
            APIError: The call failed. The subclass tells why.
            RequestError: A value has the wrong type or form; nothing was sent.
            TypeError: There is no such option.

        Example:
            >>> (await client.call(rpcs.GET_MODEL, GetModelRequest(model="pocket"))).proto.model.context_length
            1024
        """
        rpcs.check(rpc, request)
        call = self._defaults.call(how)
        attempts = Attempts(call, rpc.path)
        while True:
            try:
                async with self._channel.place(attempts.left_s):
                    with closing_is_reported(), canceling_is_reported():
                        method = self._channel.get().unary_unary(
                            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
                        )
                        sent = method(request, timeout=attempts.begin(), metadata=call.metadata)
                        response = await sent
                        metadata = (await sent.initial_metadata(), await sent.trailing_metadata())
            except grpc.RpcError as error:
                await self._channel.wait(attempts.wait_after(error))
            else:
                return to_reply(response, call.request_id, *metadata)


def _open(where: Destination | grpc.aio.Channel, interceptors: Sequence[AsyncInterceptor]) -> grpc.aio.Channel:
    if isinstance(where, grpc.aio.Channel):
        return where
    if where.credentials is None:
        return grpc.aio.insecure_channel(where.target, where.options(), interceptors=interceptors)
    return grpc.aio.secure_channel(where.target, where.credentials, where.options(), interceptors=interceptors)
