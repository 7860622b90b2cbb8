"""Validates a decoded request against the limits of the protocol and of the model.

Each bad field gives a violation, so that a caller can correct all of them at once. Field paths are those of the
protobuf messages. Limits are those that the comments in proto/ give; a test compares them with this module.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from onward_server.completion.pending_calls import PendingCalls
from onward_server.domain import (
    MAX_ARGUMENTS_BYTES,
    MAX_ID_BYTES,
    CompletionRequest,
    FunctionTool,
    Message,
    ModelCard,
    RawText,
    RawTokens,
    Role,
    ToolCall,
    ToolChoiceMode,
)
from onward_server.errors import MAX_VIOLATIONS, FieldViolation, InvalidReason, InvalidRequest
from onward_server.json_value import Json, NotJson, has_lone_surrogates
from onward_server.sampling import PARAMETERS, Range, SamplingOverrides, SamplingParams, override

MAX_CHOICES = 16
MAX_TOP_LOGPROBS = 20
_MAX_STOP_BYTES = 256
_BIAS_RANGE = Range(-100, 100)
_MAX_TOOLS = 128
_MAX_NAME_BYTES, _MAX_FUNCTION_NAME_BYTES = 256, 64
_MAX_PARAMETERS_BYTES = 128 * 1024
_MAX_METADATA, _MAX_METADATA_KEY_BYTES, _MAX_METADATA_VALUE_BYTES = 16, 64, 512
_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What the model allows in a request."""

    card: ModelCard
    num_sampleable: int
    """Token ids are below this."""
    eos_token_ids: frozenset[int]
    tools_fault: str = ""
    """Why requests cannot offer tools, and what the operator can do; empty if they can."""
    takes_tool_calls: bool = True
    """Whether the chat template renders earlier tool calls and their results."""


def validate(request: CompletionRequest, limits: ModelLimits, already: Sequence[FieldViolation] = ()) -> None:
    """Checks all that can be checked before the prompt is built.

    Args:
        request: The decoded request.
        limits: What its model allows.
        already: The violations that decoding found.

    Raises:
        InvalidRequest: With `already` and the violations found here, up to MAX_VIOLATIONS.
    """
    found = chain(
        _prompt(request, limits),
        _sampling(request.sampling, limits),
        _tools(request, limits),
        _tool_choice(request, limits),
        _response_format(request, limits),
        _options(request, limits),
    )
    own = (violation for violation in found if not _follows(violation, already))
    violations = list(islice(chain(already, own), MAX_VIOLATIONS))
    if violations:
        raise InvalidRequest(violations)


def _follows(violation: FieldViolation, already: Sequence[FieldViolation]) -> bool:
    """Whether a violation may be due to a placeholder that decoding put in the place of a bad field.

    Rules on messages relate them to each other. So if one message could not be decoded, none of the violations that
    validation finds in any message is reported.
    """
    return any(
        violation.field.startswith("messages" if earlier.field.startswith("messages") else earlier.field)
        for earlier in already
    )


def check_token_ids(field: str, token_ids: Sequence[int], num_sampleable: int) -> Iterator[FieldViolation]:
    """Yields a violation for the first id that is not in the vocabulary."""
    for index, token_id in enumerate(token_ids):
        if not 0 <= token_id < num_sampleable:
            yield _violation(
                f"{field}[{index}]", f"{token_id} is not a token id; this model has the ids 0 to {num_sampleable - 1}"
            )
            return


def _prompt(request: CompletionRequest, limits: ModelLimits) -> Iterator[FieldViolation]:
    if bool(request.messages) == (request.raw_prompt is not None):
        given = "both are set" if request.messages else "neither is set"
        yield _violation("messages", f"exactly one of messages and raw_prompt must be set, but {given}")
    if request.messages and not limits.card.capabilities.chat:
        yield _unsupported("messages", "the model has no chat template; set raw_prompt instead")
    yield from _messages(request.messages, limits)
    match request.raw_prompt:
        case RawTokens(ids=ids):
            if not ids:
                yield _violation("raw_prompt.token_ids.ids", "is empty; at least one id is required")
            yield from check_token_ids("raw_prompt.token_ids.ids", ids, limits.num_sampleable)
        case RawText() | None:
            pass


def _messages(messages: Sequence[Message], limits: ModelLimits) -> Iterator[FieldViolation]:
    has_other_role = False
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        yield from _message_fields(message, path, is_last=index == len(messages) - 1)
        yield from _message_support(message, path, limits)
        if message.role is Role.SYSTEM and has_other_role:
            yield _message_violation(f"{path}.role", "a system message must come before all other messages")
        has_other_role = has_other_role or message.role is not Role.SYSTEM
    yield from _call_ids(messages)
    if messages and messages[-1].role in (Role.SYSTEM, Role.ASSISTANT) and not messages[-1].prefix:
        yield _message_violation(
            f"messages[{len(messages) - 1}].role",
            f"{messages[-1].role} is not allowed in the last message; use user, tool, or assistant with prefix",
        )


def _message_support(message: Message, path: str, limits: ModelLimits) -> Iterator[FieldViolation]:
    """Rejects what the chat template would drop without notice."""
    if not limits.card.capabilities.chat:
        return
    if message.role is Role.SYSTEM and not limits.card.capabilities.system_role:
        yield _unsupported(f"{path}.role", "the model's chat template does not support system messages")
    if (message.tool_calls or message.role is Role.TOOL) and not limits.takes_tool_calls:
        field = "tool_calls" if message.tool_calls else "role"
        yield _unsupported(f"{path}.{field}", "the model's chat template does not support tool calls in messages")


def _call_ids(messages: Sequence[Message]) -> Iterator[FieldViolation]:
    """Tool calls without a result have different ids, and each result belongs to one of them."""
    pending = PendingCalls()
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        for call_index, call in enumerate(message.tool_calls):
            if not pending.add(call):
                yield _message_violation(
                    f"{path}.tool_calls[{call_index}].id",
                    f"{call.id!r} is the id of an earlier tool call that has no result yet; use another id",
                )
        if message.role is Role.TOOL and pending.answer(call_id := message.tool_call_id) is None:
            if not call_id:
                fault = "is empty, and no earlier tool call is without a result; answer each tool call once"
            elif pending.is_answered(call_id):
                fault = f"{call_id!r} already has a result; answer each tool call once"
            else:
                fault = f"{call_id!r} is not the id of an earlier tool call"
            yield _message_violation(f"{path}.tool_call_id", fault)


def _message_fields(message: Message, path: str, *, is_last: bool) -> Iterator[FieldViolation]:
    is_assistant = message.role is Role.ASSISTANT
    for field, is_set in (("tool_calls", message.tool_calls), ("reasoning", message.reasoning)):
        if is_set and not is_assistant:
            yield _message_violation(
                f"{path}.{field}", f"is allowed in assistant messages only, and this one is of role {message.role}"
            )
    if message.prefix and not (is_assistant and is_last):
        yield _message_violation(
            f"{path}.prefix", "true is allowed in the last message only, if it is of role assistant"
        )
    if message.prefix and message.tool_calls:
        yield _message_violation(f"{path}.tool_calls", "is not allowed in a message with prefix")
    if message.tool_call_id and message.role is not Role.TOOL:
        yield _message_violation(
            f"{path}.tool_call_id", f"is allowed in tool messages only, and this one is of role {message.role}"
        )
    yield from _message_text(f"{path}.name", message.name, _MAX_NAME_BYTES)
    yield from _message_text(f"{path}.tool_call_id", message.tool_call_id, MAX_ID_BYTES)
    for index, call in enumerate(message.tool_calls):
        yield from _tool_call(call, f"{path}.tool_calls[{index}]")


def _tool_call(call: ToolCall, path: str) -> Iterator[FieldViolation]:
    if not call.id:
        yield _message_violation(f"{path}.id", "is empty; it is required")
    if not call.name:
        yield _message_violation(f"{path}.function.name", "is empty; it is required")
    yield from _message_text(f"{path}.id", call.id, MAX_ID_BYTES)
    yield from _message_text(f"{path}.function.name", call.name, _MAX_FUNCTION_NAME_BYTES)
    if fault := _json_object_fault(call.arguments, lambda: call.parsed_arguments, MAX_ARGUMENTS_BYTES):
        yield _message_violation(f"{path}.function.arguments", fault)


def _message_text(path: str, text: str, max_bytes: int) -> Iterator[FieldViolation]:
    if fault := _size_fault(text, max_bytes):
        yield _message_violation(path, fault)


def _sampling(asked: SamplingOverrides, limits: ModelLimits) -> Iterator[FieldViolation]:
    max_output_tokens = limits.card.max_output_tokens
    params = override(SamplingParams(max_tokens=max_output_tokens, seed=0), asked)
    ranges = {
        "max_tokens": Range(1, max_output_tokens),
        "min_tokens": Range(0, params.max_tokens or max_output_tokens),
    }
    for name, value in asked.items():
        allowed, max_items = ranges.get(name, PARAMETERS[name].range), PARAMETERS[name].max_items
        if isinstance(value, tuple):
            if max_items is not None and len(value) > max_items:
                yield _violation(f"sampling.{name}", f"has {len(value)} items; at most {max_items} are allowed")
        elif allowed is not None and value not in allowed:
            yield _violation(f"sampling.{name}", f"{value} is outside {allowed}")
    yield from _stops(params, limits)
    yield from _biases(params, limits)


def _stops(params: SamplingParams, limits: ModelLimits) -> Iterator[FieldViolation]:
    for index, stop in enumerate(params.stop[: PARAMETERS["stop"].max_items]):
        size = len(stop.encode())
        if not 1 <= size <= _MAX_STOP_BYTES:
            yield _violation(f"sampling.stop[{index}]", f"has {size} bytes; allowed are 1 to {_MAX_STOP_BYTES}")
    stop_token_ids = params.stop_token_ids[: PARAMETERS["stop_token_ids"].max_items]
    yield from check_token_ids("sampling.stop_token_ids", stop_token_ids, limits.num_sampleable)
    ends = {*stop_token_ids, *(() if params.ignore_eos else limits.eos_token_ids)}
    if params.min_tokens and len(ends) >= limits.num_sampleable:
        yield _violation(
            "sampling.min_tokens",
            f"{params.min_tokens} cannot be reached: every token of the vocabulary ends the output",
        )


def _biases(params: SamplingParams, limits: ModelLimits) -> Iterator[FieldViolation]:
    for token_id, bias in params.logit_bias[: PARAMETERS["logit_bias"].max_items]:
        path = f"sampling.logit_bias[{token_id}]"
        if not 0 <= token_id < limits.num_sampleable:
            yield _violation(
                path, f"{token_id} is not a token id; this model has the ids 0 to {limits.num_sampleable - 1}"
            )
        if bias not in _BIAS_RANGE:
            yield _violation(path, f"{bias} is outside {_BIAS_RANGE}")


def _tools(request: CompletionRequest, limits: ModelLimits) -> Iterator[FieldViolation]:
    if request.tools and limits.tools_fault:
        yield _unsupported("tools", limits.tools_fault)
    if request.tools and request.raw_prompt is not None:
        yield _violation(
            "tools", "is not allowed with raw_prompt, as the chat template renders tools; set messages instead"
        )
    if len(request.tools) > _MAX_TOOLS:
        yield _violation("tools", f"has {len(request.tools)} tools; at most {_MAX_TOOLS} are allowed")
    names: set[str] = set()
    for index, tool in enumerate(request.tools[:_MAX_TOOLS]):
        path = f"tools[{index}].function"
        if not _FUNCTION_NAME.fullmatch(tool.name):
            yield _violation(f"{path}.name", f"{tool.name!r} does not match ^[a-zA-Z0-9_-]{{1,64}}$")
        elif tool.name in names:
            yield _violation(f"{path}.name", f"{tool.name!r} is the name of an earlier tool; names must be unique")
        names.add(tool.name)
        yield from _parameters(tool, f"{path}.parameters")
        if tool.strict and not limits.card.capabilities.structured_output:
            yield _unsupported(f"{path}.strict", "is not supported: the output of this model cannot be constrained")


def _parameters(tool: FunctionTool, path: str) -> Iterator[FieldViolation]:
    if not tool.parameters:
        return
    if fault := _json_object_fault(tool.parameters, lambda: tool.parsed_parameters, _MAX_PARAMETERS_BYTES):
        yield _violation(path, fault)


def _tool_choice(request: CompletionRequest, limits: ModelLimits) -> Iterator[FieldViolation]:
    choice = request.tool_choice
    if choice.mode in (ToolChoiceMode.AUTO, ToolChoiceMode.REQUIRED) and not request.tools:
        yield _violation("tool_choice.mode", f"{choice.mode.value} requires tools, and the request offers none")
    names = {tool.name for tool in request.tools}
    if len(choice.function_names) > _MAX_TOOLS:
        count = len(choice.function_names)
        yield _violation("tool_choice.function_names", f"has {count} names; at most {_MAX_TOOLS} are allowed")
    for index, name in enumerate(choice.function_names[:_MAX_TOOLS]):
        if name not in names:
            yield _violation(f"tool_choice.function_names[{index}]", f"{name!r} is not the name of an offered tool")
    if choice.mode is not ToolChoiceMode.REQUIRED:
        return
    if request.response_format is not None:
        yield _violation(
            "response_format",
            "is not allowed if tool_choice.mode is required: it constrains only choices that call no tool",
        )
    if not limits.card.capabilities.structured_output:
        yield _unsupported(
            "tool_choice.mode", "required is not supported: the output of this model cannot be constrained"
        )


def _response_format(request: CompletionRequest, limits: ModelLimits) -> Iterator[FieldViolation]:
    if request.response_format is not None and not limits.card.capabilities.structured_output:
        yield _unsupported("response_format", "is not supported: the output of this model cannot be constrained")


def _options(request: CompletionRequest, limits: ModelLimits) -> Iterator[FieldViolation]:
    capabilities = limits.card.capabilities
    if not 1 <= request.n <= capabilities.max_n:
        yield _violation("n", f"{request.n} is outside [1, {capabilities.max_n}]")
    top_logprobs, max_top = request.top_logprobs, capabilities.max_top_logprobs
    if top_logprobs is not None and not 0 <= top_logprobs <= max_top:
        yield _violation("logprobs.top_logprobs", f"{top_logprobs} is outside [0, {max_top}]")
    if request.time_limit_s is not None and not request.time_limit_s > 0:
        yield _violation("time_limit", f"{request.time_limit_s} s is not positive")
    if request.reasoning_effort is not None and not capabilities.reasoning:
        yield _unsupported(
            "reasoning_effort", "is not supported: the model's chat template has no switch for reasoning"
        )
    if request.reasoning_effort is not None and request.raw_prompt is not None:
        yield _violation(
            "reasoning_effort", "is not allowed with raw_prompt, as the chat template reads it; set messages instead"
        )
    if len(request.metadata) > _MAX_METADATA:
        yield _violation("metadata", f"has {len(request.metadata)} pairs; at most {_MAX_METADATA} are allowed")
    for key, value in request.metadata[:_MAX_METADATA]:
        if len(key.encode()) > _MAX_METADATA_KEY_BYTES:
            clipped = key[:_MAX_METADATA_KEY_BYTES]
            yield _violation(
                "metadata",
                f"the key {clipped!r}… has {len(key.encode())} bytes; at most {_MAX_METADATA_KEY_BYTES} are allowed",
            )
        elif len(value.encode()) > _MAX_METADATA_VALUE_BYTES:
            yield _violation(
                f"metadata[{key}]", f"has {len(value.encode())} bytes; at most {_MAX_METADATA_VALUE_BYTES} are allowed"
            )


def _json_object_fault(text: str, parsed: Callable[[], Json], max_bytes: int) -> str | None:
    """Says what is wrong with the text of a JSON object; None if it is valid. Text that is too long is not parsed."""
    if fault := _size_fault(text, max_bytes):
        return fault
    try:
        value = parsed()
    except NotJson as error:
        return f"is not JSON: {error}; it must be a JSON object"
    if not isinstance(value, dict):
        return "is JSON, but not an object; it must be a JSON object"
    if has_lone_surrogates(text, value):
        return "has an escape of half a surrogate pair, which is not a character"
    return None


def _size_fault(text: str, max_bytes: int) -> str | None:
    size = len(text.encode())
    return f"has {size} bytes; at most {max_bytes} are allowed" if size > max_bytes else None


def _violation(field: str, description: str) -> FieldViolation:
    return FieldViolation(field=field, description=description)


def _message_violation(field: str, description: str) -> FieldViolation:
    return FieldViolation(field=field, description=description, reason=InvalidReason.INVALID_MESSAGES)


def _unsupported(field: str, description: str) -> FieldViolation:
    return FieldViolation(field=field, description=description, reason=InvalidReason.UNSUPPORTED_BY_MODEL)
