"""The limits that the comments in proto/ give are those that the server enforces: no tighter, and no looser.

Each limit is a sentence in a fixed spelling. From it follow values at its bounds, which must be accepted, and values
just outside, which must be rejected with a violation of that field.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from onward.v1 import model_service_pb2, tokenizer_service_pb2
from onward.v1.chat_pb2 import Tool
from onward.v1.completion_pb2 import CompleteRequest
from onward_server.api import decode
from onward_server.completion.sampling_defaults import resolve
from onward_server.completion.validation import MAX_CHOICES, MAX_TOP_LOGPROBS, ModelLimits, validate
from onward_server.domain import ModelCapabilities
from onward_server.errors import InvalidRequest
from onward_server.sampling import PARAMETERS
from testing.fakes_completion import CARD
from testing.sampling import RandomSampler
from tests.field_comments import field_comments

COMMENTS = field_comments()
REQUESTS: tuple[Any, ...] = (
    CompleteRequest.DESCRIPTOR,
    model_service_pb2.GetModelRequest.DESCRIPTOR,
    model_service_pb2.ListModelsRequest.DESCRIPTOR,
    tokenizer_service_pb2.DetokenizeRequest.DESCRIPTOR,
    tokenizer_service_pb2.TokenizeRequest.DESCRIPTOR,
)
ABLE = ModelCapabilities(
    chat=True,
    tools=True,
    system_role=True,
    structured_output=True,
    max_n=MAX_CHOICES,
    max_top_logprobs=MAX_TOP_LOGPROBS,
    deterministic=True,
    reasoning=True,
)
LIMITS = ModelLimits(
    card=replace(CARD, capabilities=ABLE, max_output_tokens=10_000, context_length=10_001),
    num_sampleable=10_000,
    eos_token_ids=frozenset({2}),
)
INTEGERS = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64)

Field = Any  # a FieldDescriptor: protobuf has two classes of them, of which the types know one
MakeText = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Case:
    """A value of a field, and whether the comment allows it."""

    field: Field
    what: str
    value: object
    is_allowed: bool

    def __str__(self) -> str:
        return f"{name_of(self.field)} {self.what}"


def name_of(field: Field) -> str:
    return f"{field.containing_type.name}.{field.name}"


def reachable_fields() -> dict[str, Field]:
    """All fields of the requests, and of the messages in them."""
    fields: dict[str, Field] = {}
    waiting = list(REQUESTS)
    while waiting:
        for field in waiting.pop().fields:
            if name_of(field) not in fields and field.containing_type.file.package == "onward.v1":
                fields[name_of(field)] = field
                if field.message_type is not None and not field.message_type.GetOptions().map_entry:
                    waiting.append(field.message_type)
    return fields


FIELDS = reachable_fields()


def plain(size: int) -> str:
    """A text of so many bytes, in characters of two bytes."""
    return "é" * (size // 2) + "f" * (size % 2)


def json_object(size: int) -> str:
    return '{"a":"' + "x" * (size - 8) + '"}'


def lark_grammar(size: int) -> str:
    return 'start: "a"\n//' + "x" * (size - 13)


TEXTS: dict[str, MakeText] = {
    "FunctionCall.arguments": json_object,
    "FunctionTool.parameters": json_object,
    "JsonSchemaFormat.schema": json_object,
    "GrammarFormat.definition": lark_grammar,
}


def items(field: Field, count: int) -> object:
    """A value of a repeated field or a map with so many items."""
    if field.message_type is None:
        return ["f" if field.type == FieldDescriptor.TYPE_STRING else 1] * count
    if field.message_type is Tool.DESCRIPTOR:
        return [Tool(function={"name": f"f{index}"}) for index in range(count)]
    key, value = field.message_type.fields
    as_key, as_value = (str if entry.type == FieldDescriptor.TYPE_STRING else int for entry in (key, value))
    return {as_key(index): as_value(0) for index in range(count)}


def number_range(field: Field, low_bracket: str, low: str, high: str) -> Iterator[Case]:
    step = 1 if field.type in INTEGERS else None

    def beside(value: float, towards: float) -> float:
        if step:
            return value + math.copysign(step, towards)
        # The thread of ONNX Runtime, which may be this one, takes numbers below the smallest normal one for zero.
        return math.nextafter(value, towards) if value else math.copysign(sys.float_info.min, towards)

    def case(value: float, *, is_allowed: bool) -> Case:
        is_map = field.is_repeated
        return Case(field, f"of {value!r}", {1: value} if is_map else int(value) if step else value, is_allowed)

    bottom, top = float(low), float(high)
    is_open = low_bracket == "("
    yield case(bottom, is_allowed=not is_open)
    yield (
        case(beside(bottom, math.inf), is_allowed=True)
        if is_open
        else case(beside(bottom, -math.inf), is_allowed=False)
    )
    yield case(top, is_allowed=True)
    yield case(beside(top, math.inf), is_allowed=False)
    if not step:
        yield from (case(value, is_allowed=False) for value in (math.nan, math.inf, -math.inf))


def at_least(field: Field, low: str) -> Iterator[Case]:
    yield Case(field, f"of {low}", int(low), is_allowed=True)
    yield Case(field, f"of {int(low) - 1}", int(low) - 1, is_allowed=False)


def at_least_one(field: Field) -> Iterator[Case]:
    yield Case(field, "with one item", items(field, 1), is_allowed=True)
    yield Case(field, "without items", items(field, 0), is_allowed=False)


def at_most_items(field: Field, count: str) -> Iterator[Case]:
    for number, is_allowed in ((int(count), True), (int(count) + 1, False)):
        yield Case(field, f"with {number} items", items(field, number), is_allowed)


def item_sizes(field: Field, low: str, high: str) -> Iterator[Case]:
    for size in (int(low) - 1, int(low), int(high), int(high) + 1):
        yield Case(field, f"with an item of {size} bytes", ["f" * size], int(low) <= size <= int(high))


def at_most_bytes(field: Field, count: str) -> Iterator[Case]:
    for size, is_allowed in ((int(count), True), (int(count) + 1, False)):
        text = TEXTS.get(name_of(field), plain)(size)
        assert len(text.encode()) == size
        yield Case(field, f"of {size} bytes", text, is_allowed)


def total_bytes(field: Field, count: str) -> Iterator[Case]:
    yield Case(field, f"of {count} bytes in 64 items", ["x" * (int(count) // 64)] * 64, is_allowed=True)
    yield Case(field, f"of {count} + 1 bytes in 65 items", ["x" * (int(count) // 64)] * 64 + ["y"], is_allowed=False)


def nesting(field: Field, count: str) -> Iterator[Case]:
    for levels, is_allowed in ((int(count), True), (int(count) + 1, False)):
        yield Case(field, f"of {levels} levels", '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1), is_allowed)


def entry_sizes(field: Field, key: str, value: str) -> Iterator[Case]:
    for size, is_allowed in ((int(key), True), (int(key) + 1, False)):
        yield Case(field, f"with a key of {size} bytes", {"k" * size: ""}, is_allowed)
    for size, is_allowed in ((int(value), True), (int(value) + 1, False)):
        yield Case(field, f"with a value of {size} bytes", {"k": "v" * size}, is_allowed)


def pattern(field: Field, regex: str) -> Iterator[Case]:
    for text in ("f", "f" * 64, "Az-_09", "", "f" * 65, "a b", "é", "f\n", "a.b"):
        yield Case(field, f"of {text!r}", text, re.fullmatch(regex.strip("^$"), text) is not None)


def positive(field: Field) -> Iterator[Case]:
    for nanos in (1, 0, -1):
        yield Case(field, f"of {nanos} ns", Duration(nanos=nanos), is_allowed=nanos > 0)


SPELLINGS: dict[str, Callable[..., Iterator[Case]]] = {
    r"Range: ([\[(])(-?\d+), (-?\d+)\]": number_range,
    r"At least (\d+)(?:, and at most `max_tokens`)?": at_least,
    r"At least one": at_least_one,
    r"At most (\d+) (?:entries|ids|names|pairs|strings|tools)(?: of \d+ to \d+ bytes)?": at_most_items,
    r"At most \d+ strings of (\d+) to (\d+) bytes": item_sizes,
    r"At most (\d+) bytes": at_most_bytes,
    r"At most (\d+) bytes in total": total_bytes,
    r"At most (\d+) levels of nesting": nesting,
    r"Keys: at most (\d+) bytes\. Values: at most (\d+) bytes": entry_sizes,
    r"Must match (\^.*\$)": pattern,
    r"Must be positive": positive,
}
LIMIT = re.compile(r"(?:Range:|At least|At most|Keys:|Must match|Must be positive).*?(?=\. (?!Values)|\.$)")


def limits(field: Field) -> list[str]:
    """The sentences of a comment that give a limit."""
    return LIMIT.findall(COMMENTS[name_of(field)])


def cases(field: Field) -> Iterator[Case]:
    for sentence in limits(field):
        for spelling, make in SPELLINGS.items():
            if match := re.fullmatch(spelling, sentence):
                yield from make(field, *match.groups())


CASES = list(chain.from_iterable(map(cases, FIELDS.values())))
LIMITED = {name_of(case.field) for case in CASES}
UNLIMITED: dict[str, object] = {
    "CompleteRequest.model": "x" * 100_000,
    "CompleteRequest.user": "x" * 100_000,
    "ContentPart.text": "x" * 100_000,
    "DetokenizeRequest.model": "x" * 100_000,
    "DetokenizeRequest.token_ids": [1] * 100_000,
    "FunctionTool.description": "x" * 100_000,
    "GetModelRequest.model": "x" * 100_000,
    "JsonSchemaFormat.description": "x" * 100_000,
    "JsonSchemaFormat.name": "x" * 100_000,
    "ListModelsRequest.page_token": "x" * 100_000,
    "Message.reasoning": "x" * 100_000,
    "RawPrompt.text": "x" * 100_000,
    "SamplingParams.seed": -(2**63),
    "TokenizeRequest.model": "x" * 100_000,
    "TokenizeRequest.text": "x" * 100_000,
}
"""Fields of numbers, texts or lists of them whose comment gives no limit, with a value that must be accepted."""
ITEMS_IN_TOTAL = {"CompleteRequest.messages", "Message.content", "Message.tool_calls"}
"""Lists that only the limit on the items of a whole request bounds."""


@pytest.fixture(scope="module")
def sampler() -> RandomSampler:
    return RandomSampler.small()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_value_is_accepted_exactly_if_the_comment_of_its_field_allows_it(case: Case, sampler: RandomSampler) -> None:
    violated = violations(case.field, case.value, sampler)

    if case.is_allowed:
        assert violated == []
    else:
        assert violated
        assert any(re.search(rf"(?:^|\.){case.field.name}(?:\[|$)", path) for path in violated)


@pytest.mark.parametrize("name", UNLIMITED)
def test_a_field_whose_comment_gives_no_limit_has_none(name: str, sampler: RandomSampler) -> None:
    assert limits(FIELDS[name]) == []
    assert violations(FIELDS[name], UNLIMITED[name], sampler) == []


def test_every_field_of_a_request_is_checked_here() -> None:
    """Flags, enums and single messages have no limits of size."""
    sizable = {
        name
        for name, field in FIELDS.items()
        if field.is_repeated
        or (field.message_type is None and field.enum_type is None and field.type != field.TYPE_BOOL)
    }
    assert sizable <= LIMITED | set(UNLIMITED) | ITEMS_IN_TOTAL
    assert not LIMITED & set(UNLIMITED)


@pytest.mark.parametrize("name", FIELDS)
def test_every_limit_in_a_comment_has_a_spelling_that_is_checked_here(name: str) -> None:
    for sentence in limits(FIELDS[name]):
        assert any(re.fullmatch(spelling, sentence) for spelling in SPELLINGS), sentence


def test_min_tokens_is_at_most_max_tokens() -> None:
    assert "At least 0, and at most `max_tokens`." in COMMENTS["SamplingParams.min_tokens"]
    for min_tokens, expected in ((7, []), (8, ["sampling.min_tokens"])):
        request = base()
        request.sampling.max_tokens = 7
        request.sampling.min_tokens = min_tokens
        assert checked(request) == expected


def test_the_items_of_a_request_are_limited_in_total() -> None:
    """A message with one part of content counts as two items."""
    match = re.search(r"At most (\d+) messages, content parts, ", COMMENTS["CompleteRequest"])
    assert match
    request = CompleteRequest(messages=[{"role": "ROLE_USER", "content": [{"text": "x"}]}] * (int(match[1]) // 2))
    assert checked(request) == []

    request.messages[0].content.add(text="x")
    assert checked(request) == [f"messages[{len(request.messages) - 1}].content"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_default_of_a_sampling_parameter_is_what_its_comment_says(name: str) -> None:
    """Lists are empty by default, and the two defaults in words are tested with `sampling_defaults`."""
    said = re.search(r"Default: (-?\d+|true|false)\.", COMMENTS[f"SamplingParams.{name}"])
    if PARAMETERS[name].max_items is not None or name in {"max_tokens", "seed"}:
        assert said is None
    else:
        assert said
        assert getattr(resolve({}, {}, window_left=1, new_seed=0)[0], name) == json.loads(said[1])


def test_the_defaults_of_a_request_are_what_their_comments_say() -> None:
    request = decode.complete_request(CompleteRequest(logprobs={}).SerializeToString()).request
    values = {
        "CompleteRequest.n": request.n,
        "CompleteRequest.parallel_tool_calls": request.parallel_tool_calls,
        "LogprobOptions.top_logprobs": request.top_logprobs,
    }
    for name, value in values.items():
        assert f"Default: {json.dumps(value)}." in COMMENTS[name]


def base() -> CompleteRequest:
    """A valid request with a message of each role and a tool."""
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    return CompleteRequest(
        messages=[
            {"role": "ROLE_USER", "content": [{"text": "Hi"}]},
            {"role": "ROLE_ASSISTANT", "tool_calls": [call]},
            {"role": "ROLE_TOOL", "tool_call_id": "a", "content": [{"text": "1"}]},
        ],
        tools=[{"function": {"name": "f"}}],
    )


HOLDERS: dict[str, Callable[[CompleteRequest], Message]] = {
    "CompleteRequest": lambda request: request,
    "ContentPart": lambda request: request.messages[0].content[0],
    "ToolCall": lambda request: request.messages[1].tool_calls[0],
    "FunctionCall": lambda request: request.messages[1].tool_calls[0].function,
    "FunctionTool": lambda request: request.tools[0].function,
    "ToolChoice": lambda request: request.tool_choice,
    "SamplingParams": lambda request: request.sampling,
    "LogprobOptions": lambda request: request.logprobs,
    "JsonSchemaFormat": lambda request: request.response_format.json_schema,
    "RegexFormat": lambda request: request.response_format.regex,
    "GrammarFormat": lambda request: request.response_format.grammar,
    "ChoiceFormat": lambda request: request.response_format.choice,
}
"""Where a request holds a message of each type."""
SEPARATE: dict[str, tuple[type[Message], Callable[[bytes], object]]] = {
    "DetokenizeRequest": (tokenizer_service_pb2.DetokenizeRequest, decode.detokenize_request),
    "GetModelRequest": (model_service_pb2.GetModelRequest, decode.get_model_request),
    "ListModelsRequest": (model_service_pb2.ListModelsRequest, decode.list_models_request),
    "TokenizeRequest": (tokenizer_service_pb2.TokenizeRequest, decode.tokenize_request),
}
"""Requests that only decoding checks."""


def violations(field: Field, value: object, sampler: RandomSampler) -> list[str]:
    """The paths that the server reports for a request with this value."""
    kind = field.containing_type.name
    if kind in SEPARATE:
        return decoded_alone(field, value)
    if kind in {"RawPrompt", "TokenIds"}:
        request = CompleteRequest()
        holder: Message = request.raw_prompt if kind == "RawPrompt" else request.raw_prompt.token_ids
        holder.SetInParent()
    else:
        request = base()
        index = {"name": 0, "reasoning": 1, "tool_call_id": 2}.get(field.name, 0)
        holder = request.messages[index] if kind == "Message" else HOLDERS[kind](request)
    if kind == "GrammarFormat":
        request.response_format.grammar.syntax = request.response_format.grammar.SYNTAX_LARK
    if kind == "JsonSchemaFormat":
        request.response_format.json_schema.schema = "{}"
    put(holder, field, value)
    if name_of(field) in {"ToolCall.id", "Message.tool_call_id"} and isinstance(value, str):
        request.messages[1].tool_calls[0].id = request.messages[2].tool_call_id = value
    return checked(request, sampler)


def put(message: Any, field: Field, value: Any) -> None:  # noqa: ANN401  a message of any type
    message.ClearField(field.name)
    if not field.is_repeated and field.message_type is None:
        setattr(message, field.name, value)
    else:
        message.MergeFrom(type(message)(**{field.name: value}))


def decoded_alone(field: Field, value: object) -> list[str]:
    message_type, decoder = SEPARATE[field.containing_type.name]
    message = message_type(**{field.name: value})
    if field.containing_type.name == "TokenizeRequest" and field.name != "text":
        message.MergeFrom(message_type(text="x"))
    try:
        decoder(message.SerializeToString())
    except InvalidRequest as error:
        return [violation.field for violation in error.violations]
    return []


def checked(request: CompleteRequest, sampler: RandomSampler | None = None) -> list[str]:
    """The paths of the violations that decoding, validation and compiling the response format report."""
    decoded = decode.complete_request(request.SerializeToString())
    try:
        validate(decoded.request, LIMITS, decoded.violations)
        if sampler is not None and decoded.request.response_format is not None:
            sampler.compile(decoded.request.response_format)
    except InvalidRequest as error:
        return [violation.field for violation in error.violations]
    return []
