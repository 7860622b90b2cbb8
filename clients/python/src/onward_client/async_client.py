"""The client for asyncio."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar, Unpack

from onward.v1.completion_pb2 import StreamCompleteRequest, StreamCompleteResponse
from onward.v1.tokenizer_service_pb2 import CountTokensRequest, CountTokensResponse
from onward_client import rpcs
from onward_client.async_connection import AsyncConnection
from onward_client.async_stream import AsyncCompletionStream, AsyncParsedCompletionStream, AsyncStreamCall
from onward_client.calls import Call
from onward_client.channels import closing_is_reported
from onward_client.requests import CompleteOptions, Messages, complete_request, split, with_format
from onward_client.results import Completion, ParsedCompletion, to_completion, to_parsed

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

_Attempt: TypeAlias = Callable[[Call, float], AsyncStreamCall]
_Wait: TypeAlias = Callable[[float], Awaitable[None]]


class AsyncClient(AsyncConnection):
    """A connection to an onward server, for asyncio. The tasks of one event loop may share it.

    Leaving its `async with` block closes it.

    Example:
        >>> async with AsyncClient("127.0.0.1:50051") as client:
        ...     print((await client.complete("What is 7 plus 5?")).text)
        7 + 5 = 12.
    """

    async def complete(self, messages: Messages | None = None, **options: Unpack[CompleteOptions]) -> Completion:
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
            >>> completion = await client.complete("My name is Anna. What is my name?", max_tokens=20)
            >>> completion.text
            'Anna.'
        """
        wanted, how = split(options)
        return to_completion(await self.call(rpcs.COMPLETE, complete_request(messages, **wanted), **how))

    def stream(self, messages: Messages | None = None, **options: Unpack[CompleteOptions]) -> AsyncCompletionStream:
        """Returns a stream of the completion that `complete` would return.

        The call starts when the `async with` block of the stream is entered, and is canceled when it is left.

        Args:
            messages: The conversation; a string is one user message. Default: no messages, for a request with `prompt`.
            **options: Request and call options; see `CompleteOptions`. Default: the model's and the client's.

        Returns:
            The stream.

        Raises:
            RequestError: A value has the wrong type or form.
            TypeError: There is no such option.

        Example:
            >>> async with client.stream("What is 7 plus 5?") as stream:
            ...     "".join([text async for text in stream.text])
            '7 + 5 = 12.'
        """
        return AsyncCompletionStream(*self._streaming(messages, options))

    async def parse(
        self, kind: "TypeForm[T]", messages: Messages | None = None, **options: Unpack[CompleteOptions]
    ) -> ParsedCompletion[T]:
        """Returns a completion parsed as `kind`, whose JSON schema constrains the output; needs pydantic.

        Args:
            kind: The type, such as a pydantic model, `list[int]` or `int | str`.
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
            >>> (await client.parse(Person, "Extract name and age as JSON: Anna is 30 years old.")).parsed
            Person(name='Anna', age=30)
        """
        return to_parsed(kind, await self.complete(messages, **with_format(kind, options)))

    def parse_stream(
        self, kind: "TypeForm[T]", messages: Messages | None = None, **options: Unpack[CompleteOptions]
    ) -> AsyncParsedCompletionStream[T]:
        """Returns a stream like that of `stream`, whose `final` returns what `parse` would return.

        Args:
            kind: The type, such as a pydantic model, `list[int]` or `int | str`.
            messages: The conversation; a string is one user message. Default: no messages, for a request with `prompt`.
            **options: Request and call options; see `CompleteOptions`. Default: the model's and the client's.

        Returns:
            The stream.

        Raises:
            RequestError: A value has the wrong type or form.
            TypeError: There is no such option.

        Example:
            >>> from pydantic import BaseModel
            >>> class Person(BaseModel):
            ...     name: str
            ...     age: int
            >>> question = "Extract name and age as JSON: Anna is 30 years old."
            >>> async with client.parse_stream(Person, question) as stream:
            ...     (await stream.final()).parsed
            Person(name='Anna', age=30)
        """
        return AsyncParsedCompletionStream(kind, *self._streaming(messages, with_format(kind, options)))

    async def count_tokens(
        self, messages: Messages | None = None, **options: Unpack[CompleteOptions]
    ) -> CountTokensResponse:
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
            >>> count = await client.count_tokens("Hello")
            >>> count.prompt_tokens, count.remaining_tokens
            (9, 1015)
        """
        wanted, how = split(options)
        request = CountTokensRequest(request=complete_request(messages, **wanted))
        return (await self.call(rpcs.COUNT_TOKENS, request, **how)).proto

    def _streaming(
        self, messages: Messages | None, options: CompleteOptions
    ) -> tuple[_Attempt, Callable[[], Call], _Wait]:
        """Returns the functions that make an attempt, prepare a call, and wait between attempts."""
        wanted, how = split(options)
        request = StreamCompleteRequest(request=complete_request(messages, **wanted))

        def begin(call: Call, timeout: float) -> AsyncStreamCall:
            with closing_is_reported():
                method = self._channel.get().unary_stream(
                    rpcs.STREAM_COMPLETE.path,
                    StreamCompleteRequest.SerializeToString,
                    StreamCompleteResponse.FromString,
                )
                return method(request, timeout=timeout, metadata=call.metadata)

        return begin, partial(self._defaults.call, how), self._channel.wait
