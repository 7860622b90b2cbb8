"""A `CompleteRequest` from plain Python keywords; it sends nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, cast

from google.protobuf.duration_pb2 import Duration

from onward.v1.completion_pb2 import CompleteRequest
from onward.v1.sampling_pb2 import SamplingParams
from onward.v1.tokenizer_service_pb2 import DetokenizeRequest, TokenizeRequest
from onward_client.calls import CallOptions, check_names
from onward_client.dicts import build, set_fields
from onward_client.errors import RequestError
from onward_client.formats import ResponseFormatLike, to_response_format
from onward_client.messages import MessageLike, to_messages
from onward_client.tools import ToolChoiceLike, ToolLike, to_tool_choice, to_tools

Messages: TypeAlias = str | Iterable[MessageLike]
"""A conversation; a bare string is one message of the user's."""


class SamplingOptions(TypedDict, total=False):
    """The fields of `SamplingParams`; None is the model's own default."""

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
    """The fields of `CompleteRequest` beside its messages; None is unset."""

    request: CompleteRequest | None
    """Where to start from: everything else is merged into a copy of it."""
    model: str | None
    prompt: str | Sequence[int] | None
    """Text or token ids for the model as they are, instead of messages."""
    no_special_tokens: bool | None
    """With a `prompt` of text: leave out the tokenizer's own special tokens."""
    tools: Sequence[ToolLike] | None
    tool_choice: ToolChoiceLike | None
    parallel_tool_calls: bool | None
    response_format: ResponseFormatLike | None
    n: int | None
    logprobs: bool | int | None
    """True: of the tokens drawn. A number: of that many alternatives for each as well."""
    time_limit: float | timedelta | None
    """Seconds after which the answer so far is returned; `timeout` instead throws it away."""
    user: str | None
    metadata: Mapping[str, str] | None
    reasoning_effort: Literal["none", "low", "medium", "high"] | None


class CompleteOptions(RequestOptions, CallOptions, total=False):
    """Every keyword of a completion."""


def split(options: CompleteOptions) -> tuple[RequestOptions, CallOptions]:
    """The keywords of the request, and those of the call that carries it."""
    check_names(options, CompleteOptions.__optional_keys__)
    wanted = {name: value for name, value in options.items() if name not in CallOptions.__optional_keys__}
    how = {name: value for name, value in options.items() if name in CallOptions.__optional_keys__}
    return cast("RequestOptions", wanted), cast("CallOptions", how)


def with_format(kind: type, options: CompleteOptions) -> CompleteOptions:
    """The keywords, with the JSON of a type as the response format where they name none."""
    return {"response_format": kind, **options}


def complete_request(messages: Messages | None = None, **options: Unpack[RequestOptions]) -> CompleteRequest:
    """The request that these keywords ask for.

    Raises:
        RequestError: a value has the wrong type or form; ranges are the server's to check.
    """
    check_names(options, RequestOptions.__optional_keys__)
    request = CompleteRequest()
    request.MergeFrom(options.get("request") or CompleteRequest())
    if messages is not None:
        request.messages.extend(to_messages(messages))
    for name, value in set_fields(options).items():
        if name in SamplingOptions.__optional_keys__:
            sampling = build(SamplingParams, f"sampling.{name}", {name: _sampling(name, value)})
            request.MergeFrom(CompleteRequest(sampling=sampling))
        elif name != "request":
            fields = _FIELDS[name](value) if name in _FIELDS else {name: value}
            request.MergeFrom(build(CompleteRequest, name, fields))
    return request


def tokenize_request(source: str | CompleteRequest, model: str, *, no_special_tokens: bool) -> TokenizeRequest:
    """The request for the tokens of a text, or of a whole completion request."""
    arm = "request" if isinstance(source, CompleteRequest) else "text"
    fields = {"model": model, arm: source, "no_special_tokens": no_special_tokens}
    return build(TokenizeRequest, "tokenize", fields)


def detokenize_request(token_ids: Sequence[int], model: str, *, keep_special_tokens: bool) -> DetokenizeRequest:
    """The request for the text of these tokens."""
    fields = {"model": model, "token_ids": token_ids, "keep_special_tokens": keep_special_tokens}
    return build(DetokenizeRequest, "detokenize", fields)


def _sampling(name: str, value: object) -> object:
    """The value; a stop string alone is a list of one, not of its characters."""
    return [value] if name == "stop" and isinstance(value, str) else value


def _raw_prompt(prompt: str | Sequence[int]) -> Mapping[str, object]:
    return {"raw_prompt": {"text": prompt} if isinstance(prompt, str) else {"token_ids": {"ids": prompt}}}


def _logprobs(wanted: int) -> Mapping[str, object]:
    if wanted is False:
        return {}
    return {"logprobs": {"top_logprobs": 0 if wanted is True else wanted}}


def _time_limit(limit: float | timedelta) -> Mapping[str, object]:
    try:
        delta = limit if isinstance(limit, timedelta) else timedelta(seconds=limit)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"time_limit: must be seconds, not {limit!r}") from error
    duration = Duration()
    duration.FromTimedelta(delta)
    return {"time_limit": duration}


# Keywords that are no fields, or take more than their field does. Any is what `RequestOptions` says of each.
_FIELDS: Mapping[str, Callable[[Any], Mapping[str, object]]] = {
    "prompt": _raw_prompt,
    "no_special_tokens": lambda flag: {"raw_prompt": {"no_special_tokens": flag}},
    "tools": lambda tools: {"tools": to_tools(tools)},
    "tool_choice": lambda choice: {"tool_choice": to_tool_choice(choice)},
    "response_format": lambda wanted: {"response_format": to_response_format(wanted)},
    "logprobs": _logprobs,
    "time_limit": _time_limit,
    "reasoning_effort": lambda effort: {"reasoning_effort": f"REASONING_EFFORT_{effort}".upper()},
}
