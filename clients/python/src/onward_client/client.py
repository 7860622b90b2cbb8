"""The client for threads."""

import copy
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from onward.v1.completion_pb2 import CompleteRequest, StreamCompleteRequest, StreamCompleteResponse
from onward.v1.model_service_pb2 import GetModelRequest, ListModelsRequest, Model
from onward.v1.tokenizer_service_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    DetokenizeResponse,
    TokenizeResponse,
)
from onward_client import rpcs
from onward_client.calls import Call, CallDefaults, CallOptions, ClientOptions
from onward_client.channels import TLS, ChannelOptions, Destination, SharedChannel, closing_is_reported
from onward_client.replies import Reply, to_reply
from onward_client.requests import (
    CompleteOptions,
    Messages,
    complete_request,
    detokenize_request,
    split,
    tokenize_request,
    with_format,
)
from onward_client.results import Completion, ParsedCompletion, to_completion, to_parsed
from onward_client.retries import Attempts
from onward_client.rpcs import RequestT, ResponseT, Rpc
from onward_client.stream import CompletionStream, StreamCall

T = TypeVar("T")


class Client:
    """A connection to an onward server, for threads. Any number of threads may share it.

    Leaving its `with` block closes it.

    Example:
        >>> with Client("127.0.0.1:50051") as client:
        ...     print(client.complete("What is 7 plus 5?").text)
        7 + 5 = 12.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: TLS | bool | None = None,
        channel_options: ChannelOptions = (),
        **options: Unpack[ClientOptions],
    ) -> None:
        """Creates a client. It connects on the first call.

        Args:
            target: `host:port`, or another name that gRPC resolves.
            tls: True or `TLS` for an encrypted connection, False for plaintext. Default: plaintext to this machine, TLS
                to any other.
            channel_options: Further gRPC channel arguments. Default: none beyond the client's own.
            **options: `api_key`, `timeout`, `max_retries` and `headers`; see `ClientOptions`.

        Raises:
            RequestError: A value is out of range, or a file of `tls` cannot be read.
            TypeError: There is no such option.
        """
        where = Destination.of(target, tls=tls, extra=channel_options)
        self._defaults = CallDefaults(hint=where.hint).changed(**options)
        self._channel = SharedChannel(partial(_open, where))

    def __enter__(self) -> Self:
        """Returns the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the client."""
        self.close()

    def close(self) -> None:
        """Cancels all calls and closes the connections, also for clients made by `with_options`, which share them."""
        self._channel.close()

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
            >>> client.with_options(timeout=5, headers={"x-tenant": "a"}).complete("Thank you!").text
            "You're welcome!"
        """
        other = copy.copy(self)
        other._defaults = self._defaults.changed(**options)  # noqa: SLF001 - of its own class
        return other

    def complete(self, messages: Messages | None = None, **options: Unpack[CompleteOptions]) -> Completion:
        """Returns the completion of a conversation, or of `prompt`.

        Args:
            messages: The conversation; a string is one user message. Default: no messages, for a request with `prompt`.
            **options: Request and call options; see `CompleteOptions`. Default: the model's and the client's.

        Returns:
            The completion, with all of its choices.

        Raises:
            APIError: The call failed. The subclass tells why.
            RequestError: A value has the wrong type or form; nothing was sent.
            TypeError: There is no such option.

        Example:
            >>> completion = client.complete("My name is Anna. What is my name?", max_tokens=20)
            >>> completion.text
            'Anna.'
        """
        wanted, how = split(options)
        return to_completion(self.call(rpcs.COMPLETE, complete_request(messages, **wanted), **how))

    def stream(self, messages: Messages | None = None, **options: Unpack[CompleteOptions]) -> CompletionStream:
        """Returns a stream of the completion that `complete` would return.

        The call starts when the `with` block of the stream is entered, and is canceled when it is left.

        Args:
            messages: The conversation; a string is one user message. Default: no messages, for a request with `prompt`.
            **options: Request and call options; see `CompleteOptions`. Default: the model's and the client's.

        Returns:
            The stream.

        Raises:
            RequestError: A value has the wrong type or form.
            TypeError: There is no such option.

        Example:
            >>> with client.stream("What is 7 plus 5?") as stream:
            ...     "".join(stream.text)
            '7 + 5 = 12.'
        """
        wanted, how = split(options)
        request = StreamCompleteRequest(request=complete_request(messages, **wanted))

        def begin(call: Call, timeout: float) -> StreamCall:
            with closing_is_reported():
                method = self._channel.get().unary_stream(
                    rpcs.STREAM_COMPLETE.path,
                    StreamCompleteRequest.SerializeToString,
                    StreamCompleteResponse.FromString,
                )
                return method(request, timeout=timeout, metadata=call.metadata)

        return CompletionStream(begin, partial(self._defaults.call, how), self._channel.wait)

    def parse(
        self, kind: type[T], messages: Messages | None = None, **options: Unpack[CompleteOptions]
    ) -> ParsedCompletion[T]:
        """Returns a completion parsed as `kind`, whose JSON schema constrains the output; needs pydantic.

        Args:
            kind: The type, such as a pydantic model or `list[int]`.
            messages: The conversation; a string is one user message. Default: no messages, for a request with `prompt`.
            **options: Request and call options; see `CompleteOptions`. Default: the model's and the client's.

        Returns:
            The completion, with the value as `parsed`.

        Raises:
            LengthFinishError: The output ended early.
            OutputValidationError: The output does not match the type.
            APIError: The call failed. The subclass tells why.
            RequestError: A value has the wrong type or form; nothing was sent.
            TypeError: There is no such option.

        Example:
            >>> from pydantic import BaseModel
            >>> class Person(BaseModel):
            ...     name: str
            ...     age: int
            >>> client.parse(Person, "Extract name and age as JSON: Anna is 30 years old.").parsed
            Person(name='Anna', age=30)
        """
        return to_parsed(kind, self.complete(messages, **with_format(kind, options)))

    def count_tokens(self, messages: Messages | None = None, **options: Unpack[CompleteOptions]) -> CountTokensResponse:
        """Returns how many tokens the prompt of a request has, without running the model.

        Args:
            messages: The conversation; a string is one user message. Default: no messages, for a request with `prompt`.
            **options: Request and call options; see `CompleteOptions`. Default: the model's and the client's.

        Returns:
            The generated response, with `prompt_tokens` and `remaining_tokens` of the context window.

        Raises:
            APIError: The call failed. The subclass tells why.
            RequestError: A value has the wrong type or form; nothing was sent.
            TypeError: There is no such option.

        Example:
            >>> count = client.count_tokens("Hello")
            >>> count.prompt_tokens, count.remaining_tokens
            (9, 1015)
        """
        wanted, how = split(options)
        request = CountTokensRequest(request=complete_request(messages, **wanted))
        return self.call(rpcs.COUNT_TOKENS, request, **how).proto

    def tokenize(
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
            >>> [token.token for token in client.tokenize("Hello, world").tokens]
            [b'Hello', b',', b' ', b'w', b'or', b'ld']
        """
        request = tokenize_request(source, model, no_special_tokens=no_special_tokens)
        return self.call(rpcs.TOKENIZE, request, **how).proto

    def detokenize(
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
            >>> client.detokenize([1230, 14]).text
            'Hello,'
        """
        request = detokenize_request(token_ids, model, keep_special_tokens=keep_special_tokens)
        return self.call(rpcs.DETOKENIZE, request, **how).proto

    def models(self, **how: Unpack[CallOptions]) -> list[Model]:
        """Returns all models that the server serves.

        Args:
            **how: Options of the call; see `CallOptions`. Default: those of the client.

        Returns:
            The models, with their limits, defaults and capabilities.

        Raises:
            APIError: The call failed. The subclass tells why.
            TypeError: There is no such option.

        Example:
            >>> [(model.id, model.context_length) for model in client.models()]
            [('pocket', 1024)]
        """
        page = self.call(rpcs.LIST_MODELS, ListModelsRequest(), **how).proto
        found = list(page.models)
        while page.next_page_token:
            page = self.call(rpcs.LIST_MODELS, ListModelsRequest(page_token=page.next_page_token), **how).proto
            found.extend(page.models)
        return found

    def model(self, name: str, **how: Unpack[CallOptions]) -> Model:
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
            >>> client.model("pocket").default_sampling.max_tokens
            256
        """
        return self.call(rpcs.GET_MODEL, GetModelRequest(model=name), **how).proto.model

    def health(self, service: str = "", **how: Unpack[CallOptions]) -> bool:
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
            >>> client.health()
            True
        """
        return self.call(rpcs.HEALTH, StringValue(value=service), **how).proto.value == rpcs.HEALTH_SERVING

    def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT, **how: Unpack[CallOptions]) -> Reply[ResponseT]:
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
            >>> client.call(rpcs.GET_MODEL, GetModelRequest(model="pocket")).proto.model.context_length
            1024
        """
        call = self._defaults.call(how)
        attempts = Attempts(call, rpc.path)
        while True:
            try:
                with closing_is_reported():
                    method = self._channel.get().unary_unary(
                        rpc.path, rpc.request.SerializeToString, rpc.response.FromString
                    )
                    response, done = method.with_call(request, timeout=attempts.begin(), metadata=call.metadata)
            except grpc.RpcError as error:
                self._channel.wait(attempts.wait_after(error))
            else:
                return to_reply(response, call.request_id, done.initial_metadata(), done.trailing_metadata())


def _open(where: Destination) -> grpc.Channel:
    if where.credentials is None:
        return grpc.insecure_channel(where.target, where.options())
    return grpc.secure_channel(where.target, where.credentials, where.options())
