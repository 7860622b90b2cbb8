"""Constraints that are made to hurt: each is refused or followed; those that once ended the process are among them."""

import json
from collections.abc import Callable, Iterable

import pytest

from service.completion.tool_formats.gemma4 import GEMMA4
from service.completion.tool_formats.hermes import HERMES
from service.completion.tool_formats.qwen3_coder import QWEN3_CODER
from service.completion.tool_formats.tool_format import ToolFormat
from service.domain import ChoiceFormat, FunctionTool, GrammarFormat, JsonSchemaFormat, RegexFormat, ResponseFormat
from service.errors import InvalidReason, InvalidRequest
from service.grammar.compiler import Grammar
from service.grammar.tool_calls import OfferedTool, ToolCallConstraint
from service.grammar.values import Json
from tests.drawing import Drawn, RandomWriter


@pytest.fixture(scope="module")
def writer() -> RandomWriter:
    return RandomWriter.small()


def schema(value: Json) -> ResponseFormat:
    return JsonSchemaFormat(schema=json.dumps(value))


def nested(depth: int) -> ResponseFormat:
    text = '{"type": "object", "properties": {"a": ' * depth + "{}" + "}}" * depth
    return JsonSchemaFormat(schema=text)


def rules(count: int, rule: str, last: str) -> ResponseFormat:
    lines: Iterable[str] = (rule.format(i, i + 1) for i in range(count))
    return GrammarFormat(definition="\n".join(["start: r0", *lines, last.format(count)]))


HOSTILE: dict[str, ResponseFormat] = {
    "schema 60 deep": nested(45),
    "schema 100 deep": nested(100),
    "schema 20,000 deep": nested(20_000),
    "1,000 properties": schema({"type": "object", "properties": {f"k{i}": {"type": "string"} for i in range(1000)}}),
    "5,000 properties": schema({"properties": {f"k{i}": {} for i in range(5000)}}),
    "enum of 50,000": schema({"enum": [f"value {i}" for i in range(50_000)]}),
    "enum of 10,000": schema({"enum": [f"value {i}" for i in range(10_000)]}),
    "1,000 objects": schema({"anyOf": [{"const": {"a": i}} for i in range(1000)]}),
    "product of alternatives": schema(
        {"allOf": [{"anyOf": [{"pattern": f"{i}{j}"} for j in range(4)]} for i in range(6)]}
    ),
    "30 patterns at once": schema({"type": "string", "allOf": [{"pattern": f"a{i}"} for i in range(30)]}),
    "chain of 1,500 references": schema(
        {"$ref": "#/d/0", "d": {**{f"{i}": {"items": {"$ref": f"#/d/{i + 1}"}} for i in range(1500)}, "1500": {}}}
    ),
    "chain of 900 references": schema(
        {"$ref": "#/d/0", "d": {**{f"{i}": {"items": {"$ref": f"#/d/{i + 1}"}} for i in range(900)}, "900": {}}}
    ),
    "reference to itself": schema({"$ref": "#"}),
    "references in a circle": schema({"$ref": "#/d", "d": {"allOf": [{"$ref": "#/e"}]}, "e": {"$ref": "#/d"}}),
    "three divisors": schema({"anyOf": [{"multipleOf": 991}, {"multipleOf": 997}, {"multipleOf": 983}]}),
    "a billion items": schema({"type": "array", "items": {"type": "integer"}, "minItems": 10**9}),
    "a million characters": schema({"type": "string", "minLength": 10**6, "maxLength": 2 * 10**6}),
    "broken JSON": JsonSchemaFormat(schema='{"type":'),
    "half a surrogate pair": JsonSchemaFormat(schema='{"const": "\\ud800"}'),
    "repeated repeats": RegexFormat(pattern="(a{1,1000}){1,1000}"),
    "long tails": RegexFormat(pattern=".*a.{200}b|.*c.{200}d"),
    "exponential states": RegexFormat(pattern="(a|b)*a(a|b){25}"),
    "many optional classes": RegexFormat(pattern="".join(f"[a-{chr(98 + i % 20)}]?" for i in range(1000))),
    "stars of stars": RegexFormat(pattern="(a*b*)*" * 1000),
    "5,000 parentheses": RegexFormat(pattern="(" * 3000 + "a" + ")" * 3000),
    "20,000 alternatives": RegexFormat(pattern="|".join(f"w{i}[0-9]{{1,9}}" for i in range(20_000))),
    "20,000 choices": ChoiceFormat(choices=tuple(f"choice {i}" for i in range(20_000))),
    "1,000 choices": ChoiceFormat(choices=tuple(f"{'ab' * 20}{i}" for i in range(1000))),
    "30,000 parentheses": GrammarFormat(definition="start: " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "chain of 1,000 rules": rules(1000, 'r{}: r{} "x"', 'r{}: "a"'),
    "chain of 3,000 rules": rules(3000, "r{}:r{}", 'r{}:"a"'),
    "chain of 1,000 terminals": GrammarFormat(
        definition="start: T0\n" + "\n".join(f'T{i}: T{i + 1} "x"' for i in range(900)) + '\nT900: "a"'
    ),
    "left recursion": GrammarFormat(definition='start: start "a" | "a"'),
    "ambiguity": GrammarFormat(definition='start: start start start | "a" | ""'),
    "doubling": rules(40, "r{0}: r{1} r{1}", 'r{}: "a" | ""'),
    "a star in a star": RegexFormat(pattern="(x+x+)+y"),
    "empty rule": GrammarFormat(definition="start: "),
}


SCHEMAS: dict[str, dict[str, object]] = {
    "1,000 optional arguments": {"properties": {f"k{i}": {"type": "string"} for i in range(1000)}},
    "1,000 arguments of any type": {"properties": {f"k{i}": {} for i in range(1000)}},
    "enum of 10,000": {"properties": {"a": {"enum": [f"v{i}" for i in range(10_000)]}}},
    "500 kinds of arguments": {"anyOf": [{"properties": {f"k{i}": {}}, "required": [f"k{i}"]} for i in range(500)]},
    "300 patterns": {"properties": {f"k{i}": {"type": "string", "pattern": f"^x{i}.*y"} for i in range(300)}},
    "chain of 900 references": {
        "properties": {"a": {"$ref": "#/d/0"}},
        "d": {**{f"{i}": {"items": {"$ref": f"#/d/{i + 1}"}} for i in range(900)}, "900": {}},
    },
    "references in a circle": {"$ref": "#/d", "d": {"allOf": [{"$ref": "#/e"}]}, "e": {"$ref": "#/d"}},
    "a million characters": {"properties": {"a": {"type": "string", "minLength": 10**6}}, "required": ["a"]},
    "a billion items": {"properties": {"a": {"type": "array", "minItems": 10**9}}, "required": ["a"]},
}


def outcome(writer: RandomWriter, compiled: Callable[[], Grammar | None]) -> InvalidRequest | Drawn:
    try:
        grammar = compiled()
        assert grammar is not None
        return writer.draw(grammar, max_tokens=60)
    except InvalidRequest as refused:
        return refused


def assert_refused_shortly_or_followed(outcome: InvalidRequest | Drawn) -> None:
    match outcome:
        case InvalidRequest(reason=reason, violations=[violation]):
            assert reason is InvalidReason.INVALID_RESPONSE_FORMAT
            assert len(violation.description) < 200
        case answer:
            assert isinstance(answer, Drawn)
            assert answer.num_tokens <= 60


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_constraint_is_refused_in_a_short_sentence_or_followed(writer: RandomWriter, name: str) -> None:
    assert_refused_shortly_or_followed(outcome(writer, lambda: writer.compile(HOSTILE[name])))


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("tool_format", [HERMES, QWEN3_CODER, GEMMA4], ids=lambda format_: format_.name)
def test_hostile_arguments_are_refused_in_a_short_sentence_or_followed(
    writer: RandomWriter, tool_format: ToolFormat, name: str
) -> None:
    tool = FunctionTool(name="f", strict=True, parameters=json.dumps(SCHEMAS[name]))
    offered = OfferedTool(tool=tool, field="tools[0].function")
    constraint = ToolCallConstraint(frame=tool_format.frame, tools=(offered,), is_required=True, is_parallel=False)
    assert_refused_shortly_or_followed(outcome(writer, lambda: writer.compile_tool_calls(constraint)))
