"""Builds a `CompleteRequest` from plain Python keywords."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, cast

from google.protobuf.duration_pb2 import Duration

from onward.v1.completion_pb2 import CompleteRequest
from onward.v1.sampling_pb2 import SamplingParams
from onward.v1.tokenizer_service_pb2 import DetokenizeRequest, TokenizeRequest
from onward_client.calls import CallOptions
from onward_client.dicts import set_fields
from onward_client.errors import RequestError, shown
from onward_client.fields import build, integer, items, number, text
from onward_client.formats import ResponseFormatLike, to_response_format
from onward_client.keywords import check_names
from onward_client.messages import MessageLike, to_messages
from onward_client.schemas import check_type
from onward_client.tools import ToolChoiceLike, ToolLike, to_tool_choice, to_tools

_TOKEN_IDS = range(-(2**31), 2**31)

Messages: TypeAlias = MessageLike | Iterable[MessageLike]
"""A conversation; a string is one user message, and any other single message is a conversation of one."""


class SamplingOptions(TypedDict, total=False):
    """The sampling parameters, with the names and types of the fields of `SamplingParams`.

    The protocol file `onward/v1/sampling.proto` describes each, with its range. Those that are left out or None take
    the model's default. To make a new parameter of the protocol a keyword, add a line here.
    """

    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    max_tokens: int | None
    min_tokens: int | None
    stop: str | Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    include_stop: bool | None
    ignore_eos: bool | None
    logit_bias: Mapping[int, float] | None
    seed: int | None


class RequestOptions(SamplingOptions, total=False):
    """The options of a request: all fields of `CompleteRequest` except its messages.

    The protocol file `onward/v1/completion.proto` describes each. Those that are left out or None are unset.
    """

    request: CompleteRequest | None
    """A request to start from. The other options are merged into a copy of it."""
    model: str | None
    """Id or alias. Default: the server's default model."""
    prompt: str | Sequence[int] | None
    """Raw text or token ids to use instead of messages, without the chat template."""
    no_special_tokens: bool | None
    """With a `prompt` of text: omit the special tokens that the tokenizer adds. Default: False."""
    tools: "Sequence[ToolLike] | None"
    """Tools that the model may call. Default: no tools."""
    tool_choice: ToolChoiceLike | None
    """Whether the model calls tools, and which. Default: `auto` with `tools`, else `none`."""
    parallel_tool_calls: bool | None
    """False: at most one tool call. Default: True."""
    response_format: "ResponseFormatLike | None"
    """What the output must match. Default: free text."""
    n: int | None
    """Number of choices. Default: 1."""
    logprobs: bool | int | None
    """True: log probabilities of the sampled tokens. A number: also the log probabilities of that
    many alternatives per token."""
    max_completion_tokens: int | None
    """OpenAI's name for `max_tokens`."""
    top_logprobs: int | None
    """OpenAI's name for a number as `logprobs`."""
    time_limit: float | timedelta | None
    """Seconds after which the server returns the output so far. A call that reaches `timeout` returns nothing."""
    user: str | None
    """An id of the end user, for the server's log."""
    metadata: Mapping[str, str] | None
    """Keys and values for the server's log."""
    reasoning_effort: Literal["none", "low", "medium", "high"] | None
    """Sets the chat template's switch for reasoning."""


class CompleteOptions(RequestOptions, CallOptions, total=False):
    """All keywords of `complete`, `stream`, `parse` and `count_tokens`: the options of the request and of the call."""


def split(options: CompleteOptions) -> tuple[RequestOptions, CallOptions]:
    """Returns the options of the request, and those of the call that carries it.

    Raises:
        TypeError: There is no such option.
    """
    check_names(options, CompleteOptions.__optional_keys__)
    wanted = {name: value for name, value in options.items() if name not in CallOptions.__optional_keys__}
    how = {name: value for name, value in options.items() if name in CallOptions.__optional_keys__}
    return cast("RequestOptions", wanted), cast("CallOptions", how)


def with_format(kind: object, options: CompleteOptions) -> CompleteOptions:
    """Returns the options with a type as the response format, unless they have a response format already.

    Raises:
        RequestError: `kind` is not a type.
    """
    check_type(kind)
    wanted: dict[str, object] = {"response_format": kind, **set_fields(options)}
    return cast("CompleteOptions", wanted)


def complete_request(messages: Messages | None = None, **options: Unpack[RequestOptions]) -> CompleteRequest:
    """Returns the generated request for these options, as `complete` sends it.

    Args:
        messages: The conversation; a string is one user message. Default: no messages, for a request with `prompt`.
        **options: See `RequestOptions`. Default: unset.

    Returns:
        The generated request.

    Raises:
        RequestError: A value has the wrong type or form. Ranges are checked by the server.
        TypeError: There is no such option.

    Example:
        >>> complete_request("Hello", temperature=0.5).sampling.temperature
        0.5
    """
    check_names(options, RequestOptions.__optional_keys__)
    given = _with_own_names(set_fields(options))
    base = given.pop("request", None)
    request = CompleteRequest()
    if isinstance(base, CompleteRequest):
        request.CopyFrom(base)
    elif base is not None:
        raise RequestError(f"request: must be a CompleteRequest, not {shown(base)}")
    if messages is not None:
        request.messages.extend(to_messages(messages))
    for name, value in given.items():
        if name in SamplingOptions.__optional_keys__:
            sampling = build(SamplingParams, "sampling", {name: _sampling(name, value)})
            request.MergeFrom(CompleteRequest(sampling=sampling))
        else:
            fields = _FIELDS[name](value) if name in _FIELDS else {name: value}
            request.MergeFrom(build(CompleteRequest, "", fields))
    return request


def tokenize_request(source: str | CompleteRequest, model: str, *, no_special_tokens: bool) -> TokenizeRequest:
    """Returns the request for the tokens of a text, or of a whole completion request.

    Raises:
        RequestError: A value has the wrong type.
    """
    fields: dict[str, object] = {"model": model, "no_special_tokens": no_special_tokens}
    if isinstance(source, CompleteRequest):
        fields["request"] = source
    elif isinstance(cast("object", source), str):
        fields["text"] = text("source", source)
    else:
        raise RequestError(f"source: must be a string, or a request of `complete_request`, not {shown(source)}")
    return build(TokenizeRequest, "", fields)


def detokenize_request(token_ids: Sequence[int], model: str, *, keep_special_tokens: bool) -> DetokenizeRequest:
    """Returns the request for the text of token ids.

    Raises:
        RequestError: A value has the wrong type.
    """
    fields = {"model": model, "token_ids": token_ids, "keep_special_tokens": keep_special_tokens}
    return build(DetokenizeRequest, "", fields)


def _with_own_names(given: dict[str, object]) -> dict[str, object]:
    """Returns the options with OpenAI's names replaced by the names of this package."""
    if "max_completion_tokens" in given:
        if "max_tokens" in given:
            raise RequestError("max_completion_tokens: is another name of max_tokens; set one of them")
        given["max_tokens"] = given.pop("max_completion_tokens")
    if "top_logprobs" in given:
        most = integer("top_logprobs", given.pop("top_logprobs"))
        if given.get("logprobs") is False:
            raise RequestError("top_logprobs: needs logprobs=True")
        given["logprobs"] = most
    return given


def _sampling(name: str, value: object) -> object:
    """Returns the value for the field; one stop string becomes a list of one, not a list of its characters."""
    return [value] if name == "stop" and isinstance(value, str) else value


def _raw_prompt(prompt: object) -> Mapping[str, object]:
    if isinstance(prompt, str):
        return {"raw_prompt": {"text": text("prompt", prompt)}}
    if isinstance(prompt, bytes | bytearray | Mapping):
        raise RequestError(f"prompt: must be a string or a list of token ids, not {shown(cast('object', prompt))}")
    ids = [integer(f"prompt[{at}]", token_id, _TOKEN_IDS) for at, token_id in enumerate(items("prompt", prompt))]
    return {"raw_prompt": {"token_ids": {"ids": ids}}}


def _logprobs(wanted: object) -> Mapping[str, object]:
    if wanted is False:
        return {}
    return {"logprobs": {"top_logprobs": 0 if wanted is True else integer("logprobs", wanted)}}


def _time_limit(limit: object) -> Mapping[str, object]:
    duration = Duration()
    try:
        duration.FromTimedelta(
            limit if isinstance(limit, timedelta) else timedelta(seconds=number("time_limit", limit))
        )
    except (ValueError, OverflowError) as error:
        raise RequestError(f"time_limit: must be a finite number of seconds, not {shown(limit)}") from error
    return {"time_limit": duration}


# Options that are not fields, or accept more than their field does. Their types are in `RequestOptions`.
_FIELDS: Mapping[str, Callable[[Any], Mapping[str, object]]] = {
    "prompt": _raw_prompt,
    "no_special_tokens": lambda flag: {"raw_prompt": {"no_special_tokens": flag}},
    "tools": lambda tools: {"tools": to_tools(tools)},
    "tool_choice": lambda choice: {"tool_choice": to_tool_choice(choice)},
    "response_format": lambda wanted: {"response_format": to_response_format(wanted)},
    "logprobs": _logprobs,
    "time_limit": _time_limit,
}
