"""Numbers that are too large for a double, under every constraint whose values are read as JSON."""

import json
import re

import numpy as np
import pytest

from onward_server.completion.answer.format_registry import TOOL_FORMATS
from onward_server.completion.answer.output_format import ToolFormat
from onward_server.domain import JsonObjectFormat, JsonSchemaFormat, RegexFormat
from onward_server.grammar.compiler import Grammar
from onward_server.grammar.matcher import allocate_masks
from onward_server.grammar.text_prefix import TextPrefix
from onward_server.grammar.tool_calls import BareNotation, CallFrame, ElementNotation, KeywordNotation
from testing.call_cases import forced_call_case
from testing.sampling import RandomSampler

FINITE = ("0", "-12", "1e-7", "6.02E23", "1e+0005", "1.7976931348623157e308", "-1e308", "1e-400", "9" * 308)
TOO_LARGE = ("1e309", "-2E308", "1e400", "12622e223322006", "1.5e+0999", "9" * 309, "9" * 200 + "e109")
SCHEMAS = {
    "a number": {"type": "number"},
    "a number or null": {"type": ["null", "number"]},
    "a number or a text": {"type": ["number", "string"]},
    "any value": {},
    "a list": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "boolean"}]}},
}
TEXTS: tuple[tuple[object, str], ...] = (
    ({}, '"about 1e400 atoms"'),
    ({}, f'"{"9" * 400}"'),
    ({"type": "string", "pattern": "^[0-9]e[0-9]{3}$"}, '"1e400"'),
    ({"type": "string", "pattern": "^a [0-9]{400}$"}, f'"a {"9" * 400}"'),
    ({"enum": ["x 1e400"]}, '"x 1e400"'),
)


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


def num_allowed(grammar: Grammar, token_ids: list[int]) -> int:
    """How many of the tokens the masks allow, one after the other."""
    matcher, masks = grammar.matcher(), allocate_masks(1, 512)
    for position, token_id in enumerate(token_ids):
        matcher.fill(masks[0])
        if not np.unpackbits(masks[0].view(np.uint8), bitorder="little")[token_id]:
            return position
        matcher.accept(token_id)
    return len(token_ids)


def is_allowed(writer: RandomSampler, grammar: Grammar, begin: str, text: str) -> bool:
    """Whether `text` may come after `begin`, as any tokens; fails if `begin` itself is not allowed."""
    first = writer.ids_of(begin)
    spellings = (writer.ids_of(text), [id_ for character in text for id_ in writer.ids_of(character)])
    results = [num_allowed(grammar, [*first, *ids]) for ids in spellings]
    assert min(results) >= len(first), f"{begin!r} is not allowed"
    return any(result == len(first) + len(ids) for result, ids in zip(results, spellings, strict=True))


def around_argument(frame: CallFrame) -> tuple[str, str]:
    """The text before and after the value, in a call of the function f with the argument n."""
    begin = f"{frame.section_begin}{frame.begin}f"
    if frame.id_begin:
        begin += frame.id_begin + ("a" * 9 if re.fullmatch(frame.id_pattern, "a" * 9) else "0")
    begin += frame.arguments_begin
    end = f"{frame.end}{frame.section_end}"
    match frame.notation:
        case ElementNotation() as element:
            return f"{begin}{element.begin}n{element.name_end}{element.json_begin}", f"{element.end}{end}"
        case BareNotation():
            return f"{begin}n:", end
        case KeywordNotation():
            return f"{begin}n=", end
        case None:
            return f'{begin}{{"n": ', f"}}{end}"


def check_numbers(writer: RandomSampler, grammar: Grammar, begin: str, end: str) -> None:
    for number in FINITE:
        assert is_allowed(writer, grammar, begin, number + end), number
    for number in TOO_LARGE:
        assert not is_allowed(writer, grammar, begin, number + end), number


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_response_format_allows_a_number_that_is_too_large(writer: RandomSampler, name: str) -> None:
    schema = {"type": "object", "properties": {"n": SCHEMAS[name]}, "required": ["n"]}
    grammar = writer.compile(JsonSchemaFormat(schema=json.dumps(schema)))
    begin, end = ('{"n": [', "]") if name == "a list" else ('{"n": ', "}")

    check_numbers(writer, grammar, begin, end)


def test_no_free_json_allows_a_number_that_is_too_large(writer: RandomSampler) -> None:
    grammar = writer.compile(JsonObjectFormat())

    check_numbers(writer, grammar, '{"n": ', "}")
    check_numbers(writer, grammar, '{"n": [1e300, ', "]")


def test_a_bound_leaves_no_number_that_is_too_large(writer: RandomSampler) -> None:
    for schema in ({"minimum": 0}, {"multipleOf": 0.5}, {"type": "integer"}, {"type": "integer", "minimum": 3}):
        grammar = writer.compile(JsonSchemaFormat(schema=json.dumps({"type": "number", **schema})))
        assert is_allowed(writer, grammar, "", "9" * 308)
        assert not is_allowed(writer, grammar, "", "9" * 309)


@pytest.mark.parametrize("name", ["a number", "any value", "a list"])
@pytest.mark.parametrize("tools", TOOL_FORMATS, ids=lambda tools: tools.name)
def test_no_tool_call_has_a_number_that_is_too_large(writer: RandomSampler, tools: ToolFormat, name: str) -> None:
    """An argument that may be a text is one if it looks like such a number."""
    parameters = {"type": "object", "properties": {"n": SCHEMAS[name]}, "required": ["n"]}
    case = forced_call_case(name, tools, parameters)
    grammar = case.compile(writer.compiler)
    begin, end = around_argument(tools.frame)
    if name == "a list":
        begin, end = f"{begin}[", f"]{end}"
    notation = tools.frame.notation
    is_bare_text = isinstance(notation, ElementNotation) and notation.string_begin == notation.json_begin

    assert grammar
    for number in ("6.02e23", "1.7976931348623157e308", "1e-400"):
        assert is_allowed(writer, grammar, begin, number + end), number
        assert case.complaint(begin + number + end) is None
    for number in ("1e400", "12622e223322006", "9" * 310 + ".5"):
        if is_bare_text and name == "any value":
            assert case.complaint(begin + number + end) is None
        else:
            assert not is_allowed(writer, grammar, begin, number), number


@pytest.mark.parametrize(("schema", "text"), TEXTS)
def test_a_string_may_contain_the_text_of_any_number(writer: RandomSampler, schema: object, text: str) -> None:
    grammar = writer.compile(JsonSchemaFormat(schema=json.dumps(schema)))

    assert is_allowed(writer, grammar, "", text)


def test_a_regular_expression_may_allow_any_number(writer: RandomSampler) -> None:
    assert is_allowed(writer, writer.compile(RegexFormat(pattern="[0-9]+e[0-9]+")), "", "1e400")


def test_a_number_that_a_prefix_began_does_not_become_too_large(writer: RandomSampler) -> None:
    prefix = TextPrefix(text='{"n": 1e30', field="messages[0].content")
    grammar = writer.compiler.compile_rest(JsonObjectFormat(), prefix).result()

    assert is_allowed(writer, grammar, "", "8}")
    assert not is_allowed(writer, grammar, "", "9}")
