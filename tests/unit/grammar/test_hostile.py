"""Constraints made to exhaust the compiler: each is rejected with its reason, or its first tokens can be sampled."""

import json
from collections.abc import Iterable

import numpy as np
import pytest

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.tool_formats.gemma4 import GEMMA4
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.answer.tool_formats.qwen3_coder import QWEN3_CODER
from onward_server.domain import (
    ChoiceFormat,
    FunctionTool,
    GrammarFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar.compiler import Grammar
from onward_server.grammar.matcher import allocate_masks
from onward_server.grammar.tool_calls import OfferedTool, ToolCallConstraint
from onward_server.json_value import JsonObject
from testing.hostile_constraints import HOSTILE, nested, schema
from testing.sampling import RandomSampler
from testing.vocabularies import EOS_TOKEN_IDS

_NUM_FIRST_TOKENS = 8


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


def rules(count: int, rule: str, last: str) -> ResponseFormat:
    lines: Iterable[str] = (rule.format(i, i + 1) for i in range(count))
    return GrammarFormat(definition="\n".join(["start: r0", *lines, last.format(count)]))


def references(count: int) -> JsonObject:
    return {**{f"{i}": {"items": {"$ref": f"#/d/{i + 1}"}} for i in range(count)}, f"{count}": {}}


FORMATS: dict[str, ResponseFormat] = {
    **HOSTILE,
    "schema 45 deep": nested(45),
    "1,000 properties": schema({"type": "object", "properties": {f"k{i}": {"type": "string"} for i in range(1000)}}),
    "5,000 free properties": schema({"properties": {f"k{i}": {} for i in range(5000)}}),
    "enum of 10,000": schema({"enum": [f"value {i}" for i in range(10_000)]}),
    "1,000 objects": schema({"anyOf": [{"const": {"a": i}} for i in range(1000)]}),
    "product of alternatives": schema(
        {"allOf": [{"anyOf": [{"pattern": f"{i}{j}"} for j in range(4)]} for i in range(6)]}
    ),
    "30 patterns at once": schema({"type": "string", "allOf": [{"pattern": f"a{i}"} for i in range(30)]}),
    "chain of 2,500 references": schema({"$ref": "#/d/0", "d": references(2500)}),
    "chain of 900 references": schema({"$ref": "#/d/0", "d": references(900)}),
    "references in a circle": schema({"$ref": "#/d", "d": {"allOf": [{"$ref": "#/e"}]}, "e": {"$ref": "#/d"}}),
    "three divisors": schema({"anyOf": [{"multipleOf": 991}, {"multipleOf": 997}, {"multipleOf": 983}]}),
    "a million characters": schema({"type": "string", "minLength": 10**6, "maxLength": 2 * 10**6}),
    "half a surrogate pair": JsonSchemaFormat(schema='{"const": "\\ud800"}'),
    "one of two long tails": RegexFormat(pattern=".*a.{200}b|.*c.{200}d"),
    "many optional classes": RegexFormat(pattern="".join(f"[a-{chr(98 + i % 20)}]?" for i in range(1000))),
    "stars of stars": RegexFormat(pattern="(a*b*)*" * 1000),
    "3,000 parentheses": RegexFormat(pattern="(" * 3000 + "a" + ")" * 3000),
    "1,000 choices": ChoiceFormat(choices=tuple(f"{'ab' * 20}{i}" for i in range(1000))),
    "chain of 1,000 rules": rules(1000, 'r{}: r{} "x"', 'r{}: "a"'),
    "chain of 3,000 rules": rules(3000, "r{}:r{}", 'r{}:"a"'),
    "chain of 900 terminals": GrammarFormat(
        definition="start: T0\n" + "\n".join(f'T{i}: T{i + 1} "x"' for i in range(900)) + '\nT900: "a"'
    ),
    "ambiguity": GrammarFormat(definition='start: start start start | "a" | ""'),
    "doubling": rules(40, "r{0}: r{1} r{1}", 'r{}: "a" | ""'),
}

REJECTED = {
    "schema 1,000 deep": "it is nested more than 256 levels deep",
    "schema 20,000 deep": "bytes; at most 1048576 are allowed",
    "enum of 50,000": "bytes; at most 1048576 are allowed",
    "5,000 properties": "5000 properties; at most 3000 are allowed",
    "lookahead": "lookahead and lookbehind are not supported",
    "20,000 alternatives": "bytes; at most 8192 are allowed",
    "30,000 parentheses": "bytes; at most 32768 are allowed",
    "self reference": "at #: the schema refers to itself",
    "broken JSON": "expecting value",
    "20,000 choices": "has 20000 choices; at most 1024 are allowed",
    "5,000 free properties": "5000 properties; at most 3000 are allowed",
    "product of alternatives": "a string has to match more than 5 patterns",
    "30 patterns at once": "a string has to match more than 5 patterns",
    "chain of 2,500 references": "it refers to 2500 schemas; at most 2000",
    "references in a circle": "the schema refers to itself",
    "three divisors": "trailing zeros, may be at most 2000",
    "half a surrogate pair": "that cannot be written",
    "many optional classes": "it is too complex",
    "stars of stars": "matching it is too costly",
    "3,000 parentheses": "it cannot be compiled",
    "chain of 3,000 rules": "bytes; at most 32768 are allowed",
}
"""The text of each rejection; all other constraints are accepted."""

SCHEMAS: dict[str, JsonObject] = {
    "1,000 optional arguments": {"properties": {f"k{i}": {"type": "string"} for i in range(1000)}},
    "1,000 arguments of any type": {"properties": {f"k{i}": {} for i in range(1000)}},
    "enum of 10,000": {"properties": {"a": {"enum": [f"v{i}" for i in range(10_000)]}}},
    "500 kinds of arguments": {"anyOf": [{"properties": {f"k{i}": {}}, "required": [f"k{i}"]} for i in range(500)]},
    "300 patterns": {"properties": {f"k{i}": {"type": "string", "pattern": f"^x{i}.*y"} for i in range(300)}},
    "chain of 900 references": {"properties": {"a": {"$ref": "#/d/0"}}, "d": references(900)},
    "references in a circle": {"$ref": "#/d", "d": {"allOf": [{"$ref": "#/e"}]}, "e": {"$ref": "#/d"}},
    "a million characters": {"properties": {"a": {"type": "string", "minLength": 10**6}}, "required": ["a"]},
    "a billion items": {"properties": {"a": {"type": "array", "minItems": 10**9}}, "required": ["a"]},
}
REJECTED_ARGUMENTS = {
    HERMES: {"references in a circle": "the schema refers to itself"},
    QWEN3_CODER: {
        "1,000 arguments of any type": "is too large to be enforced",
        "500 kinds of arguments": "is too large to be enforced",
        "300 patterns": "has 300 strings with complex patterns; at most 200 are allowed",
        "references in a circle": "the schema refers to itself",
        "a million characters": "it is too complex",
    },
    GEMMA4: {
        "chain of 900 references": "is too large to be enforced",
        "300 patterns": "has 300 strings with complex patterns; at most 200 are allowed",
        "references in a circle": "the schema refers to itself",
        "a million characters": "it is too complex",
    },
}


def write_first_tokens(grammar: Grammar | None) -> None:
    """Samples tokens that do not end the output, as long as the constraint allows any."""
    assert grammar is not None
    matcher, masks, random = grammar.matcher(), allocate_masks(1, 512), np.random.default_rng(0)
    for _ in range(_NUM_FIRST_TOKENS):
        if matcher.is_complete:
            return
        matcher.fill(masks[0])
        allowed = set(np.flatnonzero(np.unpackbits(masks[0].view(np.uint8), bitorder="little"))) - EOS_TOKEN_IDS
        if not allowed:
            assert matcher.may_end
            return
        matcher.accept(int(random.choice(sorted(allowed))))


def assert_rejected_in_a_short_sentence(rejected: InvalidRequest, words: str) -> None:
    (violation,) = rejected.violations
    assert rejected.reason is InvalidReason.INVALID_RESPONSE_FORMAT
    assert words in violation.description
    assert len(violation.description) < 200


def constraint(tool_format: ToolFormat, name: str) -> ToolCallConstraint:
    tool = FunctionTool(name="f", strict=True, parameters=json.dumps(SCHEMAS[name]))
    offered = OfferedTool(tool=tool, field="tools[0].function")
    return ToolCallConstraint(frame=tool_format.frame, tools=(offered,), is_required=True, is_parallel=False)


def arguments(*, rejected: bool) -> list[object]:
    return [
        pytest.param(tool_format, name, id=f"{tool_format.name}, {name}")
        for tool_format, names in REJECTED_ARGUMENTS.items()
        for name in SCHEMAS
        if (name in names) is rejected
    ]


@pytest.mark.parametrize("name", REJECTED)
def test_a_hostile_constraint_is_rejected_in_a_short_sentence(writer: RandomSampler, name: str) -> None:
    with pytest.raises(InvalidRequest) as rejected:
        write_first_tokens(writer.compile(FORMATS[name]))
    assert_rejected_in_a_short_sentence(rejected.value, REJECTED[name])


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in REJECTED])
def test_an_accepted_hostile_constraint_lets_tokens_be_sampled(writer: RandomSampler, name: str) -> None:
    write_first_tokens(writer.compile(FORMATS[name]))


@pytest.mark.parametrize(("tool_format", "name"), arguments(rejected=True))
def test_hostile_arguments_are_rejected_in_a_short_sentence(
    writer: RandomSampler, tool_format: ToolFormat, name: str
) -> None:
    with pytest.raises(InvalidRequest) as rejected:
        write_first_tokens(writer.compile_tool_calls(constraint(tool_format, name)))
    assert_rejected_in_a_short_sentence(rejected.value, REJECTED_ARGUMENTS[tool_format][name])


@pytest.mark.parametrize(("tool_format", "name"), arguments(rejected=False))
def test_accepted_hostile_arguments_let_tokens_be_sampled(
    writer: RandomSampler, tool_format: ToolFormat, name: str
) -> None:
    write_first_tokens(writer.compile_tool_calls(constraint(tool_format, name)))
