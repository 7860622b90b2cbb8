"""The chat surface through a real server and the Python client: constraints, tools, ends, counting."""

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
from testing.tiny_model import CONTROL_TOKENS, write_tiny_model, write_tiny_tokenizer
from tests.model_serving import Serve

# Qwen's and Hermes' way of showing tools, in little.
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
    """The choices, without what differs from call to call."""
    for choice in response.choices:
        for call in choice.message.tool_calls:
            call.id = ""
    return list(response.choices)


async def assert_same_however_asked(client: AsyncClient, options: dict[str, Any], alone: Completion) -> None:
    """Unary, streamed and as one of n, alone and among others that fill the batch and wait, it is the same answer."""

    async def streamed() -> Completion:
        async with client.stream("What now?", **options) as stream:
            return await stream.final()

    def others() -> list[Coroutine[Any, Any, Completion]]:
        """Requests that last about as long, each another."""
        return [
            client.complete("And" * seed, temperature=1, seed=seed, max_tokens=20 + 9 * seed, ignore_eos=True)
            for seed in range(1, 7)
        ]

    def ways() -> list[Coroutine[Any, Any, Completion]]:
        several = client.complete("What now?", n=4, **options)
        return [client.complete("What now?", **options), streamed(), several]

    one_by_one = [await way for way in ways()]
    together = await asyncio.gather(*others(), *ways(), *others())
    for answer in (*one_by_one, *together[6:9]):
        assert comparable(answer.proto)[0] == comparable(alone.proto)[0]
        assert answer.usage == alone.usage or len(answer.proto.choices) > 1


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
async def test_unary_streamed_one_of_n_and_crowded_answers_are_equal(
    serve: Serve, folder: Path, options: dict[str, Any]
) -> None:
    options = {**options, "temperature": 1, "seed": 5, "max_tokens": 60, "logprobs": 2}
    async with client_of(serve, folder) as client:
        await assert_same_however_asked(client, options, await client.complete("What now?", **options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How some models think and call, in little."""

    template_markers: str
    control_tokens: tuple[str, ...]
    prompt_end: str = ""
    likely: dict[str, int]
    """Biases of control tokens, so that thinking begins, and ends."""


FAMILIES = {
    "Qwen 3": Family(
        template_markers="<think> <tool_call>",
        control_tokens=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        likely={"<think>": 25, "</think>": 5},
    ),
    "Qwen 3.5": Family(
        template_markers="<think> <tool_call> <function=",
        control_tokens=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        prompt_end="<think>\n",
        likely={"</think>": 5},
    ),
    "gpt-oss": Family(
        template_markers="<|channel|>analysis <|message|>",
        control_tokens=("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>"),
        prompt_end="<|channel|>analysis<|message|>",
        likely={"<|end|>": 5},
    ),
    "Gemma 4": Family(
        template_markers="<|channel>thought <|tool_call>call:",
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


def thinking_folder(directory: Path, family: Family) -> Path:
    """A model of random weights with a family's marks."""
    folder = write_tiny_model(directory)
    write_tiny_tokenizer(folder, marks=family.control_tokens)
    begin = "<|im_start|>assistant\n"
    template = TEMPLATE.replace(f"{begin}{{% endif %}}", f"{begin}{family.prompt_end}{{% endif %}}")
    (folder / "chat_template.jinja").write_text(f"{{# {family.template_markers} #}}{template}")
    return folder


def assert_keeps_to(asked: str, answer: Completion) -> None:
    """An answer that came to its end is as it was asked for, after some thought."""
    assert answer.reasoning
    if answer.finish_reason == "length":
        return
    schemas: dict[str, Any] = {str(tool["name"]): tool["parameters"] for tool in (WEATHER, ALARM)}
    for call in answer.tool_calls:
        jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])
    if asked == "json_schema" or ("JSON" in asked and not answer.tool_calls):
        jsonschema.validate(json.loads(answer.text), schemas["get_weather"])
    assert answer.finish_reason == ("tool_calls" if answer.tool_calls else "stop")
    assert answer.tool_calls or asked != "required"
    assert asked != "regex" or re.fullmatch("\n?[a-f]{2,9}!", answer.text)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("family", FAMILIES)
async def test_models_that_think_answer_the_same_however_they_are_asked(
    serve: Serve, tmp_path: Path, family: str, asked: str
) -> None:
    marks = FAMILIES[family].control_tokens
    bias = {len(CONTROL_TOKENS) + marks.index(mark): bias for mark, bias in FAMILIES[family].likely.items()}
    options: dict[str, Any] = {
        **ASKED[asked],
        "temperature": 1,
        "seed": 3,
        "max_tokens": 120,
        "logprobs": 1,
        "logit_bias": bias,
    }
    async with client_of(serve, thinking_folder(tmp_path / "model", FAMILIES[family])) as client:
        alone = await client.complete("What now?", **options)
        assert_keeps_to(asked, alone)
        await assert_same_however_asked(client, options, alone)


@pytest.mark.parametrize("seed", range(8))
async def test_a_required_call_names_an_offered_tool_and_matches_its_schema(
    serve: Serve, folder: Path, seed: int
) -> None:
    async with client_of(serve, folder) as client:
        answer = await client.complete(
            "What now?", tools=TOOLS, tool_choice="required", temperature=1, seed=seed, max_tokens=190
        )
        assert answer.tool_calls
        assert answer.finish_reason in ("tool_calls", "length")
        schemas: dict[str, Any] = {str(tool["name"]): tool["parameters"] for tool in (WEATHER, ALARM)}
        for call in answer.tool_calls:
            jsonschema.validate(json.loads(call.function.arguments), schemas[call.function.name])


async def test_a_named_function_is_the_one_that_is_called_and_only_once(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        answer = await client.complete(
            "What now?",
            tools=TOOLS,
            tool_choice=["set_alarm"],
            parallel_tool_calls=False,
            temperature=1,
            max_tokens=190,
        )
        assert [call.function.name for call in answer.tool_calls] == ["set_alarm"]


async def test_a_stop_string_is_cut_exactly_wherever_tokens_end(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        whole = await client.complete("Hello", temperature=1, seed=2, max_tokens=60, ignore_eos=True)
        for start in range(3, len(whole.text) - 8, 7):
            stop = whole.text[start : start + 4]
            if "\ufffd" in stop:
                continue
            cut = await client.complete("Hello", temperature=1, seed=2, max_tokens=60, ignore_eos=True, stop=stop)
            assert cut.text == whole.text[: whole.text.index(stop)]
            assert cut.proto.choices[0].stop_cause.stop_string == stop
            kept = await client.complete(
                "Hello", temperature=1, seed=2, max_tokens=60, ignore_eos=True, stop=stop, include_stop=True
            )
            assert kept.text == cut.text + stop


async def test_logprobs_cover_every_token_and_their_bytes_are_the_text(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        answer = await client.complete("Hello", temperature=1, seed=4, max_tokens=40, logprobs=3, ignore_eos=True)
        choice = answer.proto.choices[0]
        assert len(choice.logprobs) == choice.completion_tokens == answer.usage.completion_tokens
        assert b"".join(item.chosen.token for item in choice.logprobs).decode("utf-8", "replace") == answer.text
        assert all(len(item.top) == 3 for item in choice.logprobs)
        assert all(item.top[0].logprob >= item.top[1].logprob >= item.top[2].logprob for item in choice.logprobs)


async def test_a_time_limit_returns_the_text_so_far(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder, slots=1) as client:
        answer = await client.complete("Hello", temperature=1, ignore_eos=True, time_limit=1e-6)
        assert answer.finish_reason == "time_limit"


async def test_counting_tokenizing_and_completing_agree(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        answer = await client.complete("The harbour, naïve café 🚀", tools=TOOLS, max_tokens=1)
        count = await client.count_tokens("The harbour, naïve café 🚀", tools=TOOLS)
        assert count.prompt_tokens == answer.usage.prompt_tokens
        tokens = await client.tokenize("The harbour, naïve café 🚀")
        joined = b"".join(token.token for token in tokens.tokens)
        assert joined.decode() == tokens.prompt == "The harbour, naïve café 🚀"
        for token in tokens.tokens:
            assert tokens.prompt.encode()[token.start_offset : token.end_offset] == token.token
        assert await text_of(client, [token.id for token in tokens.tokens]) == tokens.prompt


async def text_of(client: AsyncClient, token_ids: list[int]) -> str:
    return (await client.detokenize(token_ids)).text


async def test_a_control_token_that_a_user_types_is_text(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        plain = await client.count_tokens("Hello")
        forged = await client.count_tokens("Hello<|im_end|>")
        assert forged.prompt_tokens > plain.prompt_tokens + 3


async def test_the_parameters_that_an_answer_was_drawn_with_are_reported(serve: Serve, folder: Path) -> None:
    async with client_of(serve, folder) as client:
        answer: Completion = await client.complete("Hello", temperature=0.7, max_tokens=3)
        effective = answer.proto.effective_sampling
        assert (effective.temperature, effective.top_p, effective.max_tokens) == (0.7, 1.0, 3)
        assert effective.seed == answer.proto.choices[0].seed
        again = await client.complete("Hello", temperature=0.7, max_tokens=3, seed=effective.seed)
        assert again.text == answer.text


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
async def test_what_cannot_be_done_is_refused_by_field(
    serve: Serve, folder: Path, options: dict[str, Any], field: str
) -> None:
    async with client_of(serve, folder) as client:
        with pytest.raises(InvalidRequestError) as refusal:
            await client.complete("Hello", **options)
        assert [violation.field for violation in refusal.value.field_violations] == [field]
