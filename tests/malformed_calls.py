"""Malformed calls, by their fields or their bytes, of every method that takes a completion request."""

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message as AnyMessage

from onward.v1.chat_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    ContentPart,
    FunctionCall,
    FunctionTool,
    Message,
    Tool,
    ToolCall,
    ToolChoice,
)
from onward.v1.completion_pb2 import CompleteRequest, RawPrompt, StreamCompleteRequest, TokenIds
from onward.v1.sampling_pb2 import (
    ChoiceFormat,
    GrammarFormat,
    JsonSchemaFormat,
    LogprobOptions,
    RegexFormat,
    ResponseFormat,
    SamplingParams,
)
from onward.v1.tokenizer_service_pb2 import CountTokensRequest, DetokenizeRequest, TokenizeRequest

Wrong = Callable[[CompleteRequest], object]

_COMPLETIONS, _TOKENIZERS = "/onward.v1.CompletionService", "/onward.v1.TokenizerService"
_METHODS: Mapping[str, Callable[[CompleteRequest], AnyMessage]] = {
    f"{_COMPLETIONS}/Complete": lambda request: request,
    f"{_COMPLETIONS}/StreamComplete": lambda request: StreamCompleteRequest(request=request),
    f"{_TOKENIZERS}/CountTokens": lambda request: CountTokensRequest(request=request),
    f"{_TOKENIZERS}/Tokenize": lambda request: TokenizeRequest(request=request),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedCall:
    """The method and the request bytes of one call."""

    name: str
    method: str
    data: bytes
    is_invalid: bool
    """Whether the server must reject it. Otherwise it may succeed, as the token count of a long prompt does."""


def raw_request(seed: int = 0, *, max_tokens: int = 20, n: int = 1, text: str = "The tide came in") -> CompleteRequest:
    """A valid request with a raw prompt."""
    return CompleteRequest(
        raw_prompt=RawPrompt(text=text),
        sampling=SamplingParams(temperature=1, seed=seed, max_tokens=max_tokens, ignore_eos=True),
        logprobs=LogprobOptions(top_logprobs=1),
        n=n,
    )


def chat_request(seed: int = 0, *, max_tokens: int = 20) -> CompleteRequest:
    """A valid request with a tool, a tool call and its result."""
    call = ToolCall(id="a1", function=FunctionCall(name="look", arguments='{"at": "sea"}'))
    return CompleteRequest(
        messages=[
            Message(role=ROLE_USER, content=[ContentPart(text="Look at the sea")], name="Ann"),
            Message(role=ROLE_ASSISTANT, tool_calls=[call]),
            Message(role=ROLE_TOOL, content=[ContentPart(text="fog")], tool_call_id="a1"),
        ],
        tools=[Tool(function=FunctionTool(name="look", parameters='{"type": "object"}'))],
        sampling=SamplingParams(temperature=1, seed=seed, max_tokens=max_tokens, ignore_eos=True),
    )


def malformed_calls(count: int, generator: random.Random) -> list[MalformedCall]:
    """Every known fault by every method, and valid requests with flipped bits, in random order."""
    calls = [
        *(_wrong(name, method, raw_request(), change) for name, change in _RAW_WRONGS.items() for method in _METHODS),
        *(_wrong(name, method, chat_request(), change) for name, change in _CHAT_WRONGS.items() for method in _METHODS),
        *_OTHERS,
    ]
    assert len(calls) < count, "there is room for flipped bits"
    while len(calls) < count:
        method = generator.choice(list(_METHODS))
        request = generator.choice([raw_request, chat_request])(max_tokens=5)
        data = _flipped(_METHODS[method](request).SerializeToString(), generator)
        calls.append(MalformedCall(name=f"flipped: {data!r}", method=method, data=data, is_invalid=False))
    generator.shuffle(calls)
    return calls


def _wrong(name: str, method: str, request: CompleteRequest, change: Wrong) -> MalformedCall:
    change(request)
    data = _METHODS[method](request).SerializeToString()
    return MalformedCall(name=name, method=method, data=data, is_invalid=method.startswith(_COMPLETIONS))


def _flipped(data: bytes, generator: random.Random) -> bytes:
    """Flips bits, and truncates every other request."""
    changed = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed[: generator.randrange(1, len(changed))]) if generator.random() < 0.5 else bytes(changed)


def _nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


_JSON_WRONGS = {
    "100 levels too many": _nested(200),
    "600 levels": _nested(600),
    "50,000 levels": _nested(50_000),
    "half an object": '{"a":',
    "a list": "[{}]",
    "NaN": '{"a": NaN}',
    "a number of 5,000 digits": '{"a": ' + "9" * 5000 + "}",
    "half a surrogate pair": r'{"a": "\ud800"}',
    "half a surrogate pair for a key": r'{"\udfff": 1}',
    "1 MiB and more": json.dumps({"a": "x" * 2**20}),
}


def _sampling(field: str, value: float) -> Wrong:
    return lambda request: setattr(request.sampling, field, value)


def _message(index: int, field: str, value: object) -> Wrong:
    return lambda request: setattr(request.messages[index], field, value)


def _call(field: str, value: str) -> Wrong:
    def change(request: CompleteRequest) -> None:
        call = request.messages[1].tool_calls[0]
        setattr(call if field == "id" else call.function, field, value)

    return change


def _tool(field: str, value: str) -> Wrong:
    return lambda request: setattr(request.tools[0].function, field, value)


def _format(response_format: ResponseFormat) -> Wrong:
    return lambda request: request.response_format.CopyFrom(response_format)


def _token_ids(ids: list[int]) -> Wrong:
    return lambda request: request.raw_prompt.token_ids.CopyFrom(TokenIds(ids=ids))


_RAW_WRONGS: Mapping[str, Wrong] = {
    **{
        f"{field} of {value}": _sampling(field, value)
        for field in ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty")
        for value in (math.nan, math.inf, -math.inf, 1e308, -3.0)
    },
    **{
        f"{field} of {value}": _sampling(field, value)
        for field in ("max_tokens", "min_tokens", "top_k")
        for value in (-1, -(2**31))
    },
    "max_tokens beyond the model": _sampling("max_tokens", 2**31 - 1),
    "many empty stops": lambda request: request.sampling.stop.extend([""] * 20),
    "a long stop": lambda request: request.sampling.stop.append("x" * 300),
    "stop ids out of range": lambda request: request.sampling.stop_token_ids.extend([-1, 2**31 - 1]),
    "many stop ids": lambda request: request.sampling.stop_token_ids.extend(range(100)),
    "biased ids out of range": lambda request: request.sampling.logit_bias.update({2**31 - 1: 1.0, -5: 2.0}),
    "a bias that is no number": lambda request: request.sampling.logit_bias.update({5: math.nan}),
    "a negative token id": _token_ids([-1]),
    "a token id out of range": _token_ids([2**31 - 1]),
    "20,000 token ids": _token_ids([1] * 20_000),
    "no token ids": _token_ids([]),
    "no text": lambda request: setattr(request.raw_prompt, "text", ""),
    "20,000 characters": lambda request: setattr(request.raw_prompt, "text", "x" * 20_000),
    "n of 17": lambda request: setattr(request, "n", 17),
    "n of -1": lambda request: setattr(request, "n", -1),
    "top_logprobs": lambda request: setattr(request.logprobs, "top_logprobs", 21),
    "a negative time limit": lambda request: request.time_limit.FromNanoseconds(-1),
    "a long key": lambda request: request.metadata.update({"k" * 65: "v"}),
    "an empty format": _format(ResponseFormat()),
    "a schema of 600 levels": _format(ResponseFormat(json_schema=JsonSchemaFormat(schema=_nested(600)))),
    "a schema that is none": _format(ResponseFormat(json_schema=JsonSchemaFormat(schema='{"type": 3}'))),
    "half a pattern": _format(ResponseFormat(regex=RegexFormat(pattern="("))),
    "a grammar of no syntax": _format(ResponseFormat(grammar=GrammarFormat(definition='start: "a"'))),
    "no choices": _format(ResponseFormat(choice=ChoiceFormat())),
    "messages too": lambda request: request.messages.add(),
}

_CHAT_WRONGS: Mapping[str, Wrong] = {
    **{f"arguments: {name}": _call("arguments", text) for name, text in _JSON_WRONGS.items()},
    **{f"parameters: {name}": _tool("parameters", text) for name, text in _JSON_WRONGS.items()},
    **{f"a role of {role}": _message(0, "role", role) for role in (0, ROLE_TOOL, 5, 2**31 - 1, -1)},
    "a late system message": _message(2, "role", ROLE_SYSTEM),
    "a result of the user": _message(2, "role", ROLE_USER),
    "reasoning of the user": _message(0, "reasoning", "hm"),
    "a prefix of the user": _message(0, "prefix", value=True),
    "a part of no kind": lambda request: request.messages[0].content.add(),
    "an id of 1 MiB": _call("id", "x" * 2**20),
    "no id": _call("id", ""),
    "a call of no kind": lambda request: request.messages[1].tool_calls[0].ClearField("function"),
    "the same call twice": lambda request: request.messages[1].tool_calls.add(id="a1"),
    "a result for 1 MiB": _message(2, "tool_call_id", "x" * 2**20),
    "a result for no call": _message(2, "tool_call_id", "b2"),
    "a name of 1 MiB": _message(0, "name", "x" * 2**20),
    "a called name of 1 MiB": _call("name", "x" * 2**20),
    "no called name": _call("name", ""),
    "a tool's name of 1 MiB": _tool("name", "x" * 2**20),
    "a tool's name with a space": _tool("name", "a b"),
    "a tool of no kind": lambda request: request.tools[0].ClearField("function"),
    "the same tool twice": lambda request: request.tools.append(request.tools[0]),
    "20,000 tools": lambda request: request.tools.extend([Tool()] * 20_000),
    "20,000 messages": lambda request: request.messages.extend([Message()] * 20_000),
    "10,000 messages": lambda request: request.messages.extend([Message(role=ROLE_ASSISTANT)] * 10_000),
    "no messages": lambda request: request.ClearField("messages"),
    "a choice of no mode": lambda request: request.tool_choice.CopyFrom(ToolChoice(mode=9)),  # type: ignore[arg-type]
    "a choice of 100,000 tools": lambda request: request.tool_choice.function_names.extend([""] * 100_000),
    "an effort that is none": lambda request: setattr(request, "reasoning_effort", 9),
    "a raw prompt too": lambda request: request.raw_prompt.CopyFrom(RawPrompt(text="The tide")),
}

_OTHERS = [
    MalformedCall(name=name, method=method, data=message.SerializeToString(), is_invalid=True)
    for name, method, message in (
        ("nothing to stream", f"{_COMPLETIONS}/StreamComplete", StreamCompleteRequest()),
        ("nothing to count", f"{_TOKENIZERS}/CountTokens", CountTokensRequest()),
        ("nothing to tokenize", f"{_TOKENIZERS}/Tokenize", TokenizeRequest()),
        ("a model beside a request", f"{_TOKENIZERS}/Tokenize", TokenizeRequest(model="a", request=raw_request())),
        ("a negative id", f"{_TOKENIZERS}/Detokenize", DetokenizeRequest(token_ids=[-1])),
        ("an id out of range", f"{_TOKENIZERS}/Detokenize", DetokenizeRequest(token_ids=[2**31 - 1])),
        ("a wrong id in 20,000", f"{_TOKENIZERS}/Detokenize", DetokenizeRequest(token_ids=[1] * 20_000 + [-1])),
    )
]
