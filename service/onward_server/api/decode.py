"""Converts protobuf requests to domain objects: one function for each request message.

Decoding reports what domain objects cannot hold: malformed bytes, fields and enum values that this server does not
know, oneofs with no field set. For a completion request it returns these violations, so that validation reports them
together with its own. Field paths start at the `CompleteRequest`, even if another message contains it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from onward.v1 import chat_pb2, completion_pb2, model_service_pb2, sampling_pb2, tokenizer_service_pb2
from onward_server import domain
from onward_server.errors import MAX_VIOLATIONS, FieldViolation, InvalidReason, InvalidRequest
from onward_server.sampling import SamplingOverrides, SamplingValue

_MAX_ITEMS = 16_384
"""Limit on the items of a whole request, so that decoding takes milliseconds whatever was sent."""
_MAX_UNKNOWN_BYTES = 1 << 16
"""Unknown fields of more bytes than this are reported without their numbers."""
_MAX_DURATION_S = 315_576_000_000
"""The limit of google.protobuf.Duration: 10,000 years."""

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
_ROLE_NAMES = ", ".join(map(chat_pb2.Role.Name, _ROLES))
_TOOL_CHOICE_MODE_NAMES = ", ".join(map(chat_pb2.ToolChoice.Mode.Name, _TOOL_CHOICE_MODES))
_REASONING_EFFORT_NAMES = ", ".join(map(chat_pb2.ReasoningEffort.Name, _REASONING_EFFORTS))
_FORMAT_NAMES = ", ".join(field.name for field in sampling_pb2.ResponseFormat.DESCRIPTOR.fields)


_ItemT = TypeVar("_ItemT")
_MessageT = TypeVar("_MessageT", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A completion request, and the violations that decoding found. A bad field has a placeholder value."""

    request: domain.CompletionRequest
    violations: tuple[FieldViolation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeInput:
    """What to tokenize, and the model to do it with."""

    model: str
    source: domain.RawText | domain.CompletionRequest
    violations: tuple[FieldViolation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeInput:
    """The token ids to turn into text, and the model to do it with."""

    model: str
    token_ids: tuple[int, ...]
    keep_special_tokens: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """The page of models to list. If `size` is 0, the server decides."""

    size: int
    token: str


class _Violations:
    """Collects the violations of one request and limits how many of its items are read."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []
        self._items_left = _MAX_ITEMS

    def add(self, field: str, description: str, reason: InvalidReason = InvalidReason.INVALID_PARAMETER) -> None:
        if len(self.found) < MAX_VIOLATIONS:
            self.found.append(FieldViolation(field=field, description=description, reason=reason))

    def raise_any(self) -> None:
        if self.found:
            raise InvalidRequest(self.found)

    def items(self, repeated: Collection[_ItemT], path: str) -> Iterator[tuple[int, _ItemT]]:
        """Yields the items with their indices; yields nothing if the list exceeds the limit of the request."""
        if len(repeated) > self._items_left:
            self.add(path, f"has {len(repeated)} items; a whole request may have at most {_MAX_ITEMS}")
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
            violations.add("model", f"{message.model!r} is not allowed beside `request`; set `request.model`")
        if message.no_special_tokens:
            violations.add("no_special_tokens", "true is allowed with `text` only")
        decoded = _decoded(message.request, violations)
        return TokenizeInput(model=decoded.request.model, source=decoded.request, violations=decoded.violations)
    if message.WhichOneof("input") is None:
        violations.add("input", "is not set; set `text` or `request`")
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
        violations.add("page_size", f"{message.page_size} is outside [0, 1000]")
    violations.raise_any()
    return PageRequest(size=message.page_size, token=message.page_token)


def get_model_request(data: bytes) -> str:
    """`GetModelRequest`: the id or alias of a model."""
    message, violations = _parse(model_service_pb2.GetModelRequest, data)
    if not message.model:
        violations.add("model", "is empty; set the id or alias of a model")
    violations.raise_any()
    return message.model


def _parse(message_type: type[_MessageT], data: bytes) -> tuple[_MessageT, _Violations]:
    """Parses a message and adds a violation for each field that this server does not know.

    A newer client may rely on such a field, so it must not be ignored.

    Raises:
        InvalidRequest: The bytes are not such a message.
    """
    name = message_type.DESCRIPTOR.full_name
    try:
        message = message_type.FromString(data)
    except DecodeError:
        raise InvalidRequest.of(name, f"the {len(data)} bytes received are not a {name} message") from None
    violations = _Violations()
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if unknown_bytes := size - message.ByteSize():
        if unknown_bytes <= _MAX_UNKNOWN_BYTES:
            _name_unknown_fields(message_type.FromString(data), "", violations, _Violations())
        if not violations.found:
            violations.add(name, f"has {unknown_bytes} bytes of fields that this server does not know; leave them out")
    return message, violations


def _name_unknown_fields(message: Message, prefix: str, violations: _Violations, reading: _Violations) -> None:
    """Adds a violation for each unknown field, such as `sampling.500`; `reading` limits the search."""
    for unknown in UnknownFieldSet(message):
        number = unknown.field_number
        violations.add(
            f"{prefix}{number}", f"{message.DESCRIPTOR.full_name} has no field {number} on this server; leave it out"
        )
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
        violations.add("request", "is not set; it is required")
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
            f"{message.role} is not a role; allowed are {_ROLE_NAMES}",
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
        violations.add(path, "has no part that this server knows; set `text`", InvalidReason.INVALID_MESSAGES)
    return part.text


def _tool_call(call: chat_pb2.ToolCall, path: str, violations: _Violations) -> domain.ToolCall:
    if call.WhichOneof("call") is None:
        violations.add(path, "has no call that this server knows; set `function`", InvalidReason.INVALID_MESSAGES)
    return domain.ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)


def _raw_prompt(prompt: completion_pb2.RawPrompt, violations: _Violations) -> domain.RawText | domain.RawTokens:
    if prompt.WhichOneof("input") == "token_ids":
        if prompt.no_special_tokens:
            violations.add(
                "raw_prompt.no_special_tokens", "true is allowed with `text` only; token ids are used unchanged"
            )
        return domain.RawTokens(ids=tuple(prompt.token_ids.ids))
    if prompt.WhichOneof("input") is None:
        violations.add("raw_prompt", "has no input that this server knows; set `text` or `token_ids`")
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
        violations.add(path, "has no tool that this server knows; set `function`")
    function = tool.function
    return domain.FunctionTool(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=function.strict,
    )


def _tool_choice(choice: chat_pb2.ToolChoice, violations: _Violations) -> domain.ToolChoice:
    if choice.mode not in _TOOL_CHOICE_MODES:
        violations.add(
            "tool_choice.mode",
            f"{choice.mode} is not a mode; allowed are {_TOOL_CHOICE_MODE_NAMES}",
        )
    return domain.ToolChoice(mode=_TOOL_CHOICE_MODES.get(choice.mode), function_names=tuple(choice.function_names))


def _reasoning_effort(value: chat_pb2.ReasoningEffort, violations: _Violations) -> domain.ReasoningEffort | None:
    if value not in _REASONING_EFFORTS:
        violations.add(
            "reasoning_effort",
            f"{value} is not an effort; allowed are {_REASONING_EFFORT_NAMES}",
        )
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
                violations.add(
                    "response_format.grammar.syntax", f"{grammar.syntax} is not a syntax; allowed is SYNTAX_LARK"
                )
            decoded = domain.GrammarFormat(definition=grammar.definition)
        case "choice":
            decoded = domain.ChoiceFormat(choices=tuple(response_format.choice.choices))
        case _:
            violations.add("response_format", f"has no format that this server knows; set one of {_FORMAT_NAMES}")
    return decoded


def _seconds(duration: Duration, path: str, violations: _Violations) -> float:
    """Converts a duration, and adds a violation if google.protobuf.Duration defines it as invalid."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > _MAX_DURATION_S or abs(nanos) >= 10**9 or seconds * nanos < 0:
        violations.add(path, f"{seconds} seconds and {nanos} nanoseconds are not a valid google.protobuf.Duration")
    return seconds + nanos / 1e9
