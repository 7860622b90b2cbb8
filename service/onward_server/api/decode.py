"""Protobuf to domain: one function a request message; it does not know ranges, message rules or the model.

It finds what the domain types cannot express (bytes that are no message, fields and enum values this server does not
know, oneofs with no arm set) and hands it on, so that the one validator behind it reports every bad field at once.
Paths are relative to `CompleteRequest`, whichever message carries it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from onward.v1 import chat_pb2, completion_pb2, model_service_pb2, sampling_pb2, tokenizer_service_pb2
from onward_server import domain
from onward_server.errors import FieldViolation, InvalidReason, InvalidRequest
from onward_server.sampling import SamplingOverrides, SamplingValue

_MAX_VIOLATIONS = 64
"""A request with more is told of these; a hostile one must not cost more."""
_MAX_ITEMS = 16_384
"""Bound on the messages and pairs in a request, so that reading one takes milliseconds whatever was sent."""
_MAX_UNKNOWN_BYTES = 1 << 16
"""Bound on the unknown fields that are looked at for their numbers."""
_MAX_DURATION_S = 315_576_000_000
"""The range of google.protobuf.Duration: 10,000 years."""

_ROLES = {
    chat_pb2.ROLE_SYSTEM: domain.Role.SYSTEM,
    chat_pb2.ROLE_USER: domain.Role.USER,
    chat_pb2.ROLE_ASSISTANT: domain.Role.ASSISTANT,
    chat_pb2.ROLE_TOOL: domain.Role.TOOL,
}
_TOOL_CHOICE_MODES = {
    chat_pb2.ToolChoice.MODE_UNSPECIFIED: None,
    chat_pb2.ToolChoice.MODE_AUTO: domain.ToolChoiceMode.AUTO,
    chat_pb2.ToolChoice.MODE_NONE: domain.ToolChoiceMode.NONE,
    chat_pb2.ToolChoice.MODE_REQUIRED: domain.ToolChoiceMode.REQUIRED,
}
_REASONING_EFFORTS = {
    chat_pb2.REASONING_EFFORT_UNSPECIFIED: None,
    chat_pb2.REASONING_EFFORT_NONE: domain.ReasoningEffort.NONE,
    chat_pb2.REASONING_EFFORT_LOW: domain.ReasoningEffort.LOW,
    chat_pb2.REASONING_EFFORT_MEDIUM: domain.ReasoningEffort.MEDIUM,
    chat_pb2.REASONING_EFFORT_HIGH: domain.ReasoningEffort.HIGH,
}


_ItemT = TypeVar("_ItemT")
_MessageT = TypeVar("_MessageT", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A completion request with what decoding found wrong; fields that are wrong hold a stand-in."""

    request: domain.CompletionRequest
    violations: tuple[FieldViolation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeInput:
    """What to tokenise, and with which model."""

    model: str
    source: domain.RawText | domain.CompletionRequest
    violations: tuple[FieldViolation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeInput:
    """What to turn into text, and with which model."""

    model: str
    token_ids: tuple[int, ...]
    keep_special_tokens: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which page of models to list; a size of 0 leaves it to the server."""

    size: int
    token: str


class _Violations:
    """Collects what is wrong with one request, and bounds how much of it is read."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []
        self._items_left = _MAX_ITEMS

    def add(self, field: str, description: str, reason: InvalidReason = InvalidReason.INVALID_PARAMETER) -> None:
        if len(self.found) < _MAX_VIOLATIONS:
            self.found.append(FieldViolation(field=field, description=description, reason=reason))

    def raise_any(self) -> None:
        if self.found:
            raise InvalidRequest(self.found)

    def items(self, repeated: Collection[_ItemT], path: str) -> Iterator[tuple[int, _ItemT]]:
        """The items with their indices; none of a list that goes over the bound."""
        if len(repeated) > self._items_left:
            self.add(path, f"holds {len(repeated)} items; at most {_MAX_ITEMS} are read of a whole request")
            return
        self._items_left -= len(repeated)
        yield from enumerate(repeated)


def complete_request(data: bytes) -> Decoded:
    """`CompleteRequest`."""
    return _decoded(*_parse(completion_pb2.CompleteRequest, data))


def stream_complete_request(data: bytes) -> Decoded:
    """`StreamCompleteRequest`."""
    return _carried_request(*_parse(completion_pb2.StreamCompleteRequest, data))


def count_tokens_request(data: bytes) -> Decoded:
    """`CountTokensRequest`."""
    return _carried_request(*_parse(tokenizer_service_pb2.CountTokensRequest, data))


def tokenize_request(data: bytes) -> TokenizeInput:
    """`TokenizeRequest`."""
    message, violations = _parse(tokenizer_service_pb2.TokenizeRequest, data)
    if message.WhichOneof("input") == "request":
        if message.model:
            violations.add("model", "must be empty when `request` is set; name the model there")
        if message.no_special_tokens:
            violations.add("no_special_tokens", "goes with `text` only")
        decoded = _decoded(message.request, violations)
        return TokenizeInput(model=decoded.request.model, source=decoded.request, violations=decoded.violations)
    if message.WhichOneof("input") is None:
        violations.add("input", "must be `text` or `request`; neither is set")
    return TokenizeInput(
        model=message.model,
        source=domain.RawText(text=message.text, no_special_tokens=message.no_special_tokens),
        violations=tuple(violations.found),
    )


def detokenize_request(data: bytes) -> DetokenizeInput:
    """`DetokenizeRequest`."""
    message, violations = _parse(tokenizer_service_pb2.DetokenizeRequest, data)
    violations.raise_any()
    return DetokenizeInput(
        model=message.model,
        token_ids=tuple(message.token_ids),
        keep_special_tokens=message.keep_special_tokens,
    )


def list_models_request(data: bytes) -> PageRequest:
    """`ListModelsRequest`."""
    message, violations = _parse(model_service_pb2.ListModelsRequest, data)
    if not 0 <= message.page_size <= 1000:
        violations.add("page_size", f"must be in [0, 1000]; got {message.page_size}")
    violations.raise_any()
    return PageRequest(size=message.page_size, token=message.page_token)


def get_model_request(data: bytes) -> str:
    """`GetModelRequest`: the model's name."""
    message, violations = _parse(model_service_pb2.GetModelRequest, data)
    if not message.model:
        violations.add("model", "is required")
    violations.raise_any()
    return message.model


def _parse(message_type: type[_MessageT], data: bytes) -> tuple[_MessageT, _Violations]:
    """The message, with a violation for each field in it that this server does not know.

    What a newer client asks for is done, or refused: never dropped.
    """
    name = message_type.DESCRIPTOR.full_name
    try:
        message = message_type.FromString(data)
    except DecodeError:
        raise InvalidRequest.of(name, f"the {len(data)} bytes sent are not a {name} message") from None
    violations = _Violations()
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if unknown_bytes := size - message.ByteSize():
        if unknown_bytes <= _MAX_UNKNOWN_BYTES:
            _name_unknown_fields(message_type.FromString(data), "", violations, _Violations())
        if not violations.found:
            violations.add(name, f"holds {unknown_bytes} bytes of fields that this server does not know")
    return message, violations


def _name_unknown_fields(message: Message, prefix: str, violations: _Violations, reading: _Violations) -> None:
    """One violation an unknown field, such as `sampling.500`; `reading` bounds the search."""
    for unknown in UnknownFieldSet(message):
        number = unknown.field_number
        violations.add(f"{prefix}{number}", f"{message.DESCRIPTOR.full_name} has no field {number} on this server")
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for index, item in reading.items(value, ""):
                _name_unknown_fields(item, f"{prefix}{field.name}[{index}].", violations, reading)
        else:
            is_carried = field.message_type is completion_pb2.CompleteRequest.DESCRIPTOR
            _name_unknown_fields(value, prefix if is_carried else f"{prefix}{field.name}.", violations, reading)


def _carried_request(
    message: completion_pb2.StreamCompleteRequest | tokenizer_service_pb2.CountTokensRequest, violations: _Violations
) -> Decoded:
    if not message.HasField("request"):
        violations.add("request", "is required")
        violations.raise_any()
    return _decoded(message.request, violations)


def _decoded(message: completion_pb2.CompleteRequest, violations: _Violations) -> Decoded:
    request = domain.CompletionRequest(
        model=message.model,
        messages=tuple(
            _message(item, f"messages[{index}]", violations)
            for index, item in violations.items(message.messages, "messages")
        ),
        raw_prompt=_raw_prompt(message.raw_prompt, violations) if message.HasField("raw_prompt") else None,
        sampling=_sampling(message.sampling, violations),
        tools=tuple(
            _tool(item, f"tools[{index}]", violations) for index, item in violations.items(message.tools, "tools")
        ),
        tool_choice=_tool_choice(message.tool_choice, violations),
        parallel_tool_calls=message.parallel_tool_calls if message.HasField("parallel_tool_calls") else True,
        response_format=_response_format(message.response_format, violations)
        if message.HasField("response_format")
        else None,
        n=message.n if message.HasField("n") else 1,
        top_logprobs=message.logprobs.top_logprobs if message.HasField("logprobs") else None,
        time_limit_s=_seconds(message.time_limit, "time_limit", violations) if message.HasField("time_limit") else None,
        user=message.user,
        metadata=tuple(pair for _, pair in violations.items(message.metadata.items(), "metadata")),
        reasoning_effort=_reasoning_effort(message.reasoning_effort, violations),
    )
    return Decoded(request=request, violations=tuple(violations.found))


def _message(message: chat_pb2.Message, path: str, violations: _Violations) -> domain.Message:
    role = _ROLES.get(message.role)
    if role is None:
        violations.add(
            f"{path}.role",
            f"must be one of {', '.join(map(chat_pb2.Role.Name, _ROLES))}; got {message.role}",
            InvalidReason.INVALID_MESSAGES,
        )
    return domain.Message(
        role=role or domain.Role.USER,
        content=tuple(
            _content_part(item, f"{path}.content[{index}]", violations)
            for index, item in violations.items(message.content, f"{path}.content")
        ),
        name=message.name,
        tool_calls=tuple(
            _tool_call(item, f"{path}.tool_calls[{index}]", violations)
            for index, item in violations.items(message.tool_calls, f"{path}.tool_calls")
        ),
        tool_call_id=message.tool_call_id,
        reasoning=message.reasoning,
        prefix=message.prefix,
    )


def _content_part(part: chat_pb2.ContentPart, path: str, violations: _Violations) -> str:
    if part.WhichOneof("part") is None:
        violations.add(path, "holds no part that this server knows; set `text`", InvalidReason.INVALID_MESSAGES)
    return part.text


def _tool_call(call: chat_pb2.ToolCall, path: str, violations: _Violations) -> domain.ToolCall:
    if call.WhichOneof("call") is None:
        violations.add(path, "holds no call that this server knows; set `function`", InvalidReason.INVALID_MESSAGES)
    return domain.ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)


def _raw_prompt(prompt: completion_pb2.RawPrompt, violations: _Violations) -> domain.RawText | domain.RawTokens:
    if prompt.WhichOneof("input") == "token_ids":
        if prompt.no_special_tokens:
            violations.add("raw_prompt.no_special_tokens", "goes with `text` only; token ids are used as they are")
        return domain.RawTokens(ids=tuple(prompt.token_ids.ids))
    if prompt.WhichOneof("input") is None:
        violations.add("raw_prompt", "holds no input that this server knows; set `text` or `token_ids`")
    return domain.RawText(text=prompt.text, no_special_tokens=prompt.no_special_tokens)


def _sampling(params: sampling_pb2.SamplingParams, violations: _Violations) -> SamplingOverrides:
    """The parameters that are set; a list or map counts as unset when it is empty."""
    values: dict[str, SamplingValue] = {
        field.name: tuple(value) if field.is_repeated else value
        for field, value in params.ListFields()
        if field.message_type is None
    }
    if params.logit_bias:
        pairs = violations.items(params.logit_bias.items(), "sampling.logit_bias")
        values["logit_bias"] = tuple(sorted(pair for _, pair in pairs))
    return values


def _tool(tool: chat_pb2.Tool, path: str, violations: _Violations) -> domain.FunctionTool:
    if tool.WhichOneof("tool") is None:
        violations.add(path, "holds no tool that this server knows; set `function`")
    function = tool.function
    return domain.FunctionTool(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=function.strict,
    )


def _tool_choice(choice: chat_pb2.ToolChoice, violations: _Violations) -> domain.ToolChoice:
    if choice.mode not in _TOOL_CHOICE_MODES:
        violations.add("tool_choice.mode", f"{choice.mode} is not a mode that this server knows")
    return domain.ToolChoice(mode=_TOOL_CHOICE_MODES.get(choice.mode), function_names=tuple(choice.function_names))


def _reasoning_effort(value: chat_pb2.ReasoningEffort, violations: _Violations) -> domain.ReasoningEffort | None:
    if value not in _REASONING_EFFORTS:
        violations.add("reasoning_effort", f"{value} is not an effort that this server knows")
    return _REASONING_EFFORTS.get(value)


def _response_format(
    response_format: sampling_pb2.ResponseFormat, violations: _Violations
) -> domain.ResponseFormat | None:
    decoded: domain.ResponseFormat | None = None
    match response_format.WhichOneof("format"):
        case "text":
            pass
        case "json_object":
            decoded = domain.JsonObjectFormat()
        case "json_schema":
            schema = response_format.json_schema
            decoded = domain.JsonSchemaFormat(schema=schema.schema, name=schema.name, description=schema.description)
        case "regex":
            decoded = domain.RegexFormat(pattern=response_format.regex.pattern)
        case "grammar":
            grammar = response_format.grammar
            if grammar.syntax != sampling_pb2.GrammarFormat.SYNTAX_LARK:
                violations.add("response_format.grammar.syntax", f"must be SYNTAX_LARK; got {grammar.syntax}")
            decoded = domain.GrammarFormat(definition=grammar.definition)
        case "choice":
            decoded = domain.ChoiceFormat(choices=tuple(response_format.choice.choices))
        case _:
            violations.add("response_format", "holds no format that this server knows")
    return decoded


def _seconds(duration: Duration, path: str, violations: _Violations) -> float:
    """Refuses what google.protobuf.Duration calls invalid."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > _MAX_DURATION_S or abs(nanos) >= 10**9 or seconds * nanos < 0:
        violations.add(path, f"is not a valid duration: {seconds} seconds and {nanos} nanoseconds")
    return seconds + nanos / 1e9
