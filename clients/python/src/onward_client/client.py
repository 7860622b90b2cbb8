"""The client for threads."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar, Unpack

from onward.v1.completion_pb2 import StreamCompleteRequest, StreamCompleteResponse
from onward.v1.tokenizer_service_pb2 import CountTokensRequest, CountTokensResponse
from onward_client import rpcs
from onward_client.calls import Call
from onward_client.channels import closing_is_reported
from onward_client.connection import Connection
from onward_client.requests import CompleteOptions, Messages, complete_request, split, with_format
from onward_client.results import Completion, ParsedCompletion, to_completion, to_parsed
from onward_client.stream import CompletionStream, ParsedCompletionStream, StreamCall

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

_Attempt: TypeAlias = Callable[[Call, float], StreamCall]
_Wait: TypeAlias = Callable[[float], None]


class Client(Connection):
    """A connection to an onward server, for threads. Any number of threads may share it.

    Leaving its `with` block closes it.

    Example:
        >>> with Client("127.0.0.1:50051") as client:
        ...     print(client.complete("What is 7 plus 5?").text)
        7 + 5 = 12.
    """

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
        return CompletionStream(*self._streaming(messages, options))

    def parse(
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
            >>> client.parse(Person, "Extract name and age as JSON: Anna is 30 years old.").parsed
            Person(name='Anna', age=30)
        """
        return to_parsed(kind, self.complete(messages, **with_format(kind, options)))

    def parse_stream(
        self, kind: "TypeForm[T]", messages: Messages | None = None, **options: Unpack[CompleteOptions]
    ) -> ParsedCompletionStream[T]:
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
            >>> with client.parse_stream(Person, question) as stream:
            ...     stream.final().parsed
            Person(name='Anna', age=30)
        """
        return ParsedCompletionStream(kind, *self._streaming(messages, with_format(kind, options)))

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

    def _streaming(
        self, messages: Messages | None, options: CompleteOptions
    ) -> tuple[_Attempt, Callable[[], Call], _Wait]:
        """Returns the functions that make an attempt, prepare a call, and wait between attempts."""
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

        return begin, partial(self._defaults.call, how), self._channel.wait
