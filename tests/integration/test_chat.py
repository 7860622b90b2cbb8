"""Chat completions through a real server and the Python client: constraints, tools, stopping, counting."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from onward.v1.completion_pb2 import Choice, CompleteResponse
from onward_client import AsyncClient, Completion, InvalidRequestError
from testing.tiny_model import CONTROL_TOKENS, TURN_END, write_tiny_model, write_tiny_tokenizer
from tests.model_serving import Serve

# A small template that shows tools as those of Qwen and Hermes do.
TEMPLATE = """
{%- if tools %}<|im_start|>system
Call with <tool_call>:{% for tool in tools %} {{ tool.function.name }}{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls %}
<tool_call>
{{ call.function | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

WEATHER = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
ALARM = {
    "name": "set_alarm",
    "parameters": {"type": "object", "properties": {"hour": {"enum": [6, 7]}}, "additionalProperties": False},
}
TOOLS: list[Any] = [{"function": WEATHER}, {"function": ALARM}]
STRICT_TOOLS: list[Any] = [{"function": {**tool["function"], "strict": True}} for tool in TOOLS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@asynccontextmanager
async def client_of(serve: Serve, folder: Path, **settings: object) -> AsyncGenerator[AsyncClient]:
    async with serve(folder, **settings) as served, AsyncClient(served.server.address) as client:
        yield client


def comparable(response: CompleteResponse) -> list[Choice]:
    """Returns the choices without the tool call ids, which differ from request to request."""
    for choice in response.choices:
        for call in choice.message.tool_calls:
            call.id = ""
    return list(response.choices)


async def assert_same_in_every_mode(client: AsyncClient, options: dict[str, Any], alone: Completion) -> None:
    """Checks that a choice is the same whether unary, streamed or one of n, alone or in a full batch."""

    async def streamed() -> Completion:
        async with client.stream("What now?", **options) as stream:
            return await stream.final()

    def others() -> list[Coroutine[Any, Any, Completion]]:
        """Different requests that take about as long."""
        return [
            client.complete("And" * seed, temperature=1, seed=seed, max_tokens=20 + 9 * seed, ignore_eos=True)
            for seed in range(1, 7)
        ]

    def ways() -> list[Coroutine[Any, Any, Completion]]:
        several = client.complete("What now?", n=4, **options)
        return [client.complete("What now?", **options), streamed(), several]

    one_by_one = [await way for way in ways()]
    together = await asyncio.gather(*others(), *ways(), *others())
    for completion in (*one_by_one, *together[6:9]):
        assert comparable(completion.proto)[0] == comparable(alone.proto)[0]
        assert completion.usage == alone.usage or len(completion.proto.choices) > 1


FORMATS: list[Any] = [
    None,
    {"json_schema": {"schema": WEATHER["parameters"]}},
    {"regex": {"pattern": "[a-f]{2,30}!"}},
    {"choice": {"choices": ["yes", "no", "nope"]}},
    {"grammar": {"definition": 'start: "a" ("b" | "c")+ "d"'}},
]


@pytest.mark.parametrize(
    "options",
    [*({"response_format": item} for item in FORMATS), {"tools": TOOLS, "tool_choice": "required"}],
    ids=["text", "json_schema", "regex", "choice", "grammar", "tools"],
)
async def test_a_completion_is_the_same_unary_streamed_as_one_of_n_and_in_a_batch(
    serve: Serve, folder: Path, options: dict[str, Any]
) -> None:
    options = {**options, "temperature": 1, "seed": 5, "max_tokens": 60, "logprobs": 2}
    async with client_of(serve, folder) as client:
        await assert_same_in_every_mode(client, options, await client.complete("What now?", **options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one family of models writes reasoning and tool calls."""

    tool_format: str
    reasoning_format: str
    control_tokens: tuple[str, ...]
    prompt_end: str = ""
    likely: dict[str, int]
    """Logit biases of control tokens that make reasoning likely to begin and end."""

    @property
    def formats(self) -> dict[str, object]:
        """The settings that name the formats."""
        return {"tool_format": (self.tool_format,), "reasoning_format": (self.reasoning_format,)}


FAMILIES = {
    "Qwen 3": Family(
        tool_format="hermes",
        reasoning_format="think",
        control_tokens=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        likely={"<think>": 25, "</think>": 5},
    ),
    "Qwen 3.5": Family(
        tool_format="qwen3_coder",
        reasoning_format="think",
        control_tokens=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        prompt_end="<think>\n",
        likely={"</think>": 5},
    ),
    "gpt-oss": Family(
        tool_format="harmony",
        reasoning_format="harmony",
        control_tokens=("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>"),
        prompt_end="<|channel|>analysis<|message|>",
        likely={"<|end|>": 5},
    ),
    "Gemma 4": Family(
        tool_format="gemma4",
        reasoning_format="gemma",
        control_tokens=("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", '<|"|>'),
        prompt_end="<|channel>thought\n",
        likely={"<channel|>": 5},
    ),
}
ARGUMENTS: Any = {"json_schema": {"schema": WEATHER["parameters"]}}
ASKED: dict[str, dict[str, Any]] = {
    "text": {},
    "json_schema": {"response_format": ARGUMENTS},
    "regex": {"response_format": {"regex": {"pattern": "\n?[a-f]{2,9}!"}}},
    "strict tools": {"tools": STRICT_TOOLS},
    "strict tools or JSON": {"tools": STRICT_TOOLS, "response_format": ARGUMENTS},
    "required": {"tools": TOOLS, "tool_choice": "required"},
}


def reasoning_folder(directory: Path, family: Family) -> Path:
    """Returns a folder with a model of random weights and the control tokens of a family."""
    folder = write_tiny_model(directory)
    write_tiny_tokenizer(folder, control_tokens=family.control_tokens)
    begin = "<|im_start|>assistant\n"
    template = TEMPLATE.replace(f"{begin}{{% endif %}}", f"{begin}{family.prompt_end}{{% endif %}}")
    (folder / "chat_template.jinja").write_text(template)
    return folder


def assert_follows(asked: str, completion: Completion) -> None:
    """Checks that a completion has reasoning and keeps to what the request demands; free text may have any end."""
    assert completion.reasoning
    if asked == "text":
        return
    schemas: dict[str, Any] = {str(tool["name"]): tool["parameters"] for tool in (WEATHER, ALARM)}
    for call in completion.tool_calls:
        jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])
    if asked == "json_schema" or ("JSON" in asked and not completion.tool_calls):
        jsonschema.validate(json.loads(completion.text), schemas["get_weather"])
    assert completion.finish_reason == ("tool_calls" if completion.tool_calls else "stop")
    assert completion.tool_calls or asked != "required"
    assert asked != "regex" or re.fullmatch("\n?[a-f]{2,9}!", completion.text)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("family", FAMILIES)
async def test_a_completion_with_reasoning_is_the_same_unary_streamed_as_one_of_n_and_in_a_batch(
    serve: Serve, tmp_path: Path, family: str, asked: str
) -> None:
    tokens = (*CONTROL_TOKENS, *FAMILIES[family].control_tokens)
    likely = {TURN_END: 3, **FAMILIES[family].likely}
    options: dict[str, Any] = {
        **ASKED[asked],
        "temperature": 1,
        "seed": 3,
        "max_tokens": 120,
        "logprobs": 1,
        "logit_bias": {tokens.index(token): bias for token, bias in likely.items()},
    }
    folder, formats = reasoning_folder(tmp_path / "model", FAMILIES[family]), FAMILIES[family].formats
    async with client_of(serve, folder, **formats) as client:
        alone = await client.complete("What now?", **options)
        assert_follows(asked, alone)
        await assert_same_in_every_mode(client, options, alone)


@pytest.mark.parametrize("seed", range(8))
async def test_a_required_call_names_an_offered_tool_and_matches_its_schema(
    serve: Serve, folder: Path, seed: int
) -> None:
    async with client_of(serve, folder) as client:
        completion = await client.complete(
            "What now?", tools=TOOLS, tool_choice="required", temperature=1, seed=seed, max_tokens=190
        )
        assert completion.tool_calls
        assert completion.finish_reason in ("tool_calls", "length")
        schemas: dict[str, Any] = {str(tool["name"]): tool["parameters"] for tool in (WEATHER, ALARM)}
        for call in completion.tool_calls:
            jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])


async def test_a_named_function_is_called_once(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        completion = await client.complete(
            "What now?",
            tools=TOOLS,
            tool_choice=["set_alarm"],
            parallel_tool_calls=False,
            temperature=1,
            max_tokens=190,
        )
        assert [call.function.name for call in completion.tool_calls] == ["set_alarm"]


async def test_a_stop_string_is_removed_exactly_wherever_tokens_end(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        whole = await client.complete("Hello", temperature=1, seed=2, max_tokens=60, ignore_eos=True)
        for start in range(3, len(whole.text) - 8, 7):
            stop = whole.text[start : start + 4]
            if "\ufffd" in stop:
                continue
            stopped = await client.complete("Hello", temperature=1, seed=2, max_tokens=60, ignore_eos=True, stop=stop)
            assert stopped.text == whole.text[: whole.text.index(stop)]
            assert stopped.proto.choices[0].stop_cause.stop_string == stop
            kept = await client.complete(
                "Hello", temperature=1, seed=2, max_tokens=60, ignore_eos=True, stop=stop, include_stop=True
            )
            assert kept.text == stopped.text + stop


async def test_logprobs_cover_every_token_and_their_bytes_are_the_text(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        completion = await client.complete("Hello", temperature=1, seed=4, max_tokens=40, logprobs=3, ignore_eos=True)
        choice = completion.proto.choices[0]
        assert len(choice.logprobs) == choice.completion_tokens == completion.usage.completion_tokens
        assert b"".join(item.chosen.token for item in choice.logprobs).decode("utf-8", "replace") == completion.text
        assert all(len(item.top) == 3 for item in choice.logprobs)
        assert all(item.top[0].logprob >= item.top[1].logprob >= item.top[2].logprob for item in choice.logprobs)


async def test_a_time_limit_returns_the_text_so_far(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder, slots=1) as client:
        completion = await client.complete("Hello", temperature=1, ignore_eos=True, time_limit=1e-6)
        assert completion.finish_reason == "time_limit"


async def test_counting_tokenizing_and_completing_agree(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        completion = await client.complete("The harbour, naïve café 🚀", tools=TOOLS, max_tokens=1)
        count = await client.count_tokens("The harbour, naïve café 🚀", tools=TOOLS)
        assert count.prompt_tokens == completion.usage.prompt_tokens
        tokens = await client.tokenize("The harbour, naïve café 🚀")
        joined = b"".join(token.token for token in tokens.tokens)
        assert joined.decode() == tokens.prompt == "The harbour, naïve café 🚀"
        for token in tokens.tokens:
            assert tokens.prompt.encode()[token.start_offset : token.end_offset] == token.token
        assert await text_of(client, [token.id for token in tokens.tokens]) == tokens.prompt


async def text_of(client: AsyncClient, token_ids: list[int]) -> str:
    return (await client.detokenize(token_ids)).text


async def test_a_control_string_that_a_user_types_is_text(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        plain = await client.count_tokens("Hello")
        forged = await client.count_tokens("Hello<|im_end|>")
        assert forged.prompt_tokens > plain.prompt_tokens + 3


async def test_the_effective_sampling_parameters_are_reported(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        completion: Completion = await client.complete("Hello", temperature=0.7, max_tokens=3)
        effective = completion.proto.effective_sampling
        assert (effective.temperature, effective.top_p, effective.max_tokens) == (0.7, 1.0, 3)
        assert effective.seed == completion.proto.choices[0].seed
        again = await client.complete("Hello", temperature=0.7, max_tokens=3, seed=effective.seed)
        assert again.text == completion.text


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"response_format": {"regex": {"pattern": "(("}}}, "response_format.regex.pattern"),
        ({"response_format": {"json_schema": {"schema": {"type": "nonsense"}}}}, "response_format.json_schema.schema"),
        ({"response_format": {"grammar": {"definition": "start: nothing"}}}, "response_format.grammar.definition"),
        ({"tools": [{"function": {"name": "no spaces please"}}]}, "tools[0].function.name"),
        ({"tools": TOOLS, "tool_choice": ["other"]}, "tool_choice.function_names[0]"),
        ({"n": 99}, "n"),
    ],
)
async def test_an_invalid_request_is_rejected_with_its_field(
    serve: Serve, folder: Path, options: dict[str, Any], field: str
) -> None:
    async with client_of(serve, folder) as client:
        with pytest.raises(InvalidRequestError) as rejected:
            await client.complete("Hello", **options)
        assert [violation.field for violation in rejected.value.field_violations] == [field]
