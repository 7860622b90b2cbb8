"""A response format binds the whole of a text that the request begins: the output is the rest of it."""

import json
from random import Random

import numpy as np
import pytest

from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.reasoning_formats import THINK
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.llama3 import LLAMA3
from onward_server.completion.constraints import Constraints
from onward_server.domain import (
    ChoiceFormat,
    CompletionRequest,
    FunctionTool,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    RegexFormat,
    ResponseFormat,
    Role,
)
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar.compiler import Grammar
from onward_server.grammar.matcher import allocate_masks
from onward_server.grammar.text_prefix import TextPrefix
from testing.sampling import RandomSampler
from testing.vocabularies import EOS_TOKEN_IDS

PERSON = JsonSchemaFormat(
    schema='{"properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}}, '
    '"type": "object", "required": ["name", "age"], "additionalProperties": false}'
)
SUMS = GrammarFormat(definition='start: NUMBER ("+" NUMBER)* "=" NUMBER\nNUMBER: /[0-9]{1,3}/')


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


def rest(writer: RandomSampler, response_format: ResponseFormat, prefix: str) -> Grammar:
    return writer.compiler.compile_rest(response_format, TextPrefix(text=prefix, field="messages[1].content")).result()


CONTINUED: list[tuple[ResponseFormat, str, list[str], list[str]]] = [
    (JsonObjectFormat(), "{", ["}", '"a": 1}'], ["{}", "]"]),
    (JsonObjectFormat(), '{"a": ', ["1}", "[]}", '"b"}'], ['{"a": 1}', "}"]),
    (JsonObjectFormat(), '{"a": "b', ['"}', 'c", "d": null}'], ["\n", "}x"]),
    (JsonObjectFormat(), '{"a": [1, 2', ["]}", "3]}", ".5, 4]}"], ["}", " 3]}"]),
    (JsonObjectFormat(), '{"a": [1 ', ["]}", ", 2]}"], ["2]}"]),
    (JsonObjectFormat(), '\n{\n\t"a"  :\r\n  1,   ', ['"b": 2}'], ["}"]),
    (JsonObjectFormat(), '{"a": "\\u00e9\\ud83d\\ude00\\/\\n\\"', ['"}', 'x"}'], ["}"]),
    (JsonObjectFormat(), '{"a": 1}', [""], ["}", " ", "{}"]),
    (PERSON, '{"name": "Ana", "age"', [": 3}"], [': "3"}', "}", ": 3, "]),
    (PERSON, '{"name": "Ana", "age": 1', ["}", "2}"], [".5}", ', "x": 1}']),
    (RegexFormat(pattern="[a-c]{3}-[0-9]+"), "ab", ["c-1", "a-23"], ["c", "d-1", "abc-1"]),
    (RegexFormat(pattern="(ab)*"), "aba", ["b", "bab"], ["", "a"]),
    (RegexFormat(pattern="a b"), "a ", ["b"], [" b"]),
    (SUMS, "12+", ["3=15", "3+4=19"], ["=12", "+3=15"]),
    (ChoiceFormat(choices=("yes", "yesterday", "no")), "yes", ["", "terday"], ["yes", "no", "t"]),
    (ChoiceFormat(choices=("<|im_end|>x",)), "<|im_", ["end|>x"], ["x"]),
]


@pytest.mark.parametrize(("response_format", "prefix", "allowed", "others"), CONTINUED, ids=range(len(CONTINUED)))
def test_the_output_is_exactly_what_completes_the_prefix(
    writer: RandomSampler, response_format: ResponseFormat, prefix: str, allowed: list[str], others: list[str]
) -> None:
    grammar = rest(writer, response_format, prefix)
    assert [text for text in allowed + others if writer.allows(grammar, text)] == allowed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("prefix", ['{"na', '{"name": "Ana', '{"name": "\\"', '{ "name": "A",  "age": -'])
def test_any_sampled_output_joined_to_its_prefix_is_valid(writer: RandomSampler, prefix: str, seed: int) -> None:
    random, masks = Random(f"{prefix}{seed}"), allocate_masks(1, writer.compiler._tokenizer.vocab_size)
    matcher, output = rest(writer, PERSON, prefix).matcher(), list[int]()
    while not matcher.is_complete:
        assert len(output) < 1000
        matcher.fill(masks[0])
        allowed = np.flatnonzero(np.unpackbits(masks[0].view(np.uint8), bitorder="little"))
        token_id = random.choice([int(token_id) for token_id in allowed if token_id not in EOS_TOKEN_IDS])
        matcher.accept(token_id)
        output.append(token_id)
    person = json.loads(prefix + writer.compiler._tokenizer.decode_bytes(output).decode())
    assert list(person) == ["name", "age"]
    assert isinstance(person["age"], int)


@pytest.mark.parametrize(
    ("response_format", "prefix", "after"),
    [
        (JsonObjectFormat(), "Sure: {", ""),
        (JsonObjectFormat(), "```json\n{", ""),
        (JsonObjectFormat(), '{"a": 1} ', '{"a": 1}'),
        (PERSON, '{"age": 1', '{"'),
        (PERSON, '{"name": "Ana", "name"', '{"name": "Ana", "'),
        (RegexFormat(pattern="[0-9]+"), "12x", "12"),
        (SUMS, "12=13=", "12=13"),
        (ChoiceFormat(choices=("yes", "no")), "maybe", ""),
    ],
)
def test_a_prefix_that_begins_no_valid_text_is_rejected_with_the_place(
    writer: RandomSampler, response_format: ResponseFormat, prefix: str, after: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rest(writer, response_format, prefix)
    (violation,) = caught.value.violations
    assert (violation.field, violation.reason) == ("messages[1].content", InvalidReason.INVALID_MESSAGES)
    assert f"it deviates after {after!r}" in violation.description


@pytest.mark.parametrize("tool_format", [HERMES, LLAMA3], ids=["hermes", "llama3"])
async def test_a_request_with_tools_and_a_prefix_continues_the_text_and_calls_no_tool(
    writer: RandomSampler, tool_format: object
) -> None:
    output_format = OutputFormat(tools=tool_format, reasoning=THINK)  # type: ignore[arg-type]
    request = CompletionRequest(
        messages=(
            Message(role=Role.USER, content=("Who?",)),
            Message(role=Role.ASSISTANT, content=('{"na', 'me": "'), prefix=True),
        ),
        tools=(FunctionTool(name="f", strict=True),),
        response_format=JsonObjectFormat(),
    )
    context = OutputContext.of_chat(request, '<|im_start|>assistant\n{"name": "')
    grammar = await Constraints(writer.compiler).compile(request, output_format, context)
    assert grammar is not None
    assert writer.allows(grammar, '```", "a": {}}')
    assert not writer.allows(grammar, '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>')
    output = '```json\n<tool_call>{"name": "f", "arguments": {}}<think>'
    parser = OutputParser(output_format, context)
    parsed = [*map(parser.feed, output), parser.finish()]
    assert "".join(delta.text for delta in parsed) == output
    assert not parser.num_calls
