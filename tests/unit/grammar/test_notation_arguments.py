"""Arguments in notations other than JSON: what a schema allows, and which schemas are rejected."""

import json
from typing import Any

import pytest

from onward_server.completion.answer.output_format import ToolFormat
from onward_server.completion.answer.tool_formats.deepseek_v32 import DEEPSEEK_V32
from onward_server.completion.answer.tool_formats.gemma4 import GEMMA4
from onward_server.completion.answer.tool_formats.lfm2 import LFM2
from onward_server.completion.answer.tool_formats.minimax_m2 import MINIMAX_M2
from onward_server.completion.answer.tool_formats.qwen3_coder import QWEN3_CODER
from onward_server.domain import FunctionTool
from onward_server.errors import InvalidRequest
from onward_server.grammar.compiler import Grammar
from onward_server.grammar.tool_calls import OfferedTool, ToolCallConstraint
from testing.sampling import RandomSampler

FORMATS = [QWEN3_CODER, GEMMA4]
_STRING = {"type": "string"}
_PATTERN = {"type": "string", "pattern": "^[a-c]{1,3}$"}
_PLACE = {"$ref": "#/$defs/place", "$defs": {"place": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}}}


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


def compiled(writer: RandomSampler, tool_format: ToolFormat, schema: object, *, strict: bool = True) -> Grammar:
    tool = FunctionTool(name="f", strict=strict, parameters=json.dumps(schema))
    other = FunctionTool(name="g", strict=True)
    offered = tuple(OfferedTool(tool=one, field=f"tools[{index}].function") for index, one in enumerate((tool, other)))
    constraint = ToolCallConstraint(frame=tool_format.frame, tools=offered, is_required=strict, is_parallel=False)
    grammar = writer.compile_tool_calls(constraint)
    assert grammar is not None
    return grammar


def allowed_of(writer: RandomSampler, tool_format: ToolFormat, grammar: Grammar, arguments: list[str]) -> list[str]:
    frame = tool_format.frame
    begin, end = f"{frame.section_begin}{frame.begin}f{frame.arguments_begin}", f"{frame.end}{frame.section_end}"
    framed = {one: f"{begin}{one}{end}" for one in arguments}
    return [one for one, text in framed.items() if writer.allows(grammar, text)]


def one(schema: object, *, is_required: bool = True, **further: object) -> dict[str, Any]:
    """A schema for arguments, with a schema for the argument `a`."""
    required = ["a"] if is_required else []
    return {"properties": {"a": schema}, "required": required, "additionalProperties": False, **further}


def element(value: str, name: str = "a") -> str:
    return f"<parameter={name}>\n{value}\n</parameter>\n"


@pytest.mark.parametrize(
    ("schema", "allowed", "others"),
    [
        (_STRING, ["", "a", '"a"', "5", "null", " a\n\n", "</parameter", "[1"], ["</parameter>", "a</parameter>b"]),
        (_STRING, ["<parameter", "</function"], ["<parameter=b>", "a\n</function>"]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "é\n😀"], ["a", "abcd"]),
        (_PATTERN, ["a", "abc"], ["", "d", "abca", "a\n"]),
        ({"type": "string", "pattern": "a/b|^c$"}, ["a/b", "xa/by", "c"], ["cc", "ab"]),
        ({"type": "string", "format": "ipv4"}, ["127.0.0.1"], ["127.0.0.256", "a"]),
        ({"enum": ["a", "</parameter>", "b\nc"]}, ["a", "b\nc"], ["</parameter>", "b"]),
        ({"allOf": [_PATTERN, {"maxLength": 2}, {"enum": ["ab", "abc", "dd"]}]}, ["ab"], ["abc", "dd", "a"]),
        ({"type": "integer", "maximum": 9}, ["7", "-12"], ["10", "7.5", '"7"', " 7"]),
        ({"type": ["boolean", "null"]}, ["true", "null"], ["True", "None", "1"]),
        ({"type": "array", "items": _STRING}, ["[]", '["a", "</parameter>"]'], ["[a]", "a", "['a']"]),
        (_PLACE, ['{"x": 1}', '{"x": 1, "y": null}'], ["{}", '{"x": "1"}']),
        ({"const": {"b": [1]}}, ['{"b": [1]}'], ['{"b": [2]}', "x"]),
        ({"anyOf": [_STRING, {"type": "null"}]}, ["a", "null", "5", "nullx", '"a"'], ["</parameter>"]),
        ({"anyOf": [_PATTERN, {"type": "null"}]}, ["a", "null"], ["None", '"a"', "x"]),
        ({"type": ["string", "integer"]}, ["a", "5", "5.5", "-12", "5 apples"], []),
        ({"type": ["string", "number"], "minimum": 3}, ["a", "5.5"], ["2", " 2", "5 apples", "-3"]),
        ({"type": ["string", "boolean"], "maxLength": 9}, ["a", "true", "false", "trues"], ["True", " true", '"a"']),
        ({"enum": ["1", 2, "a", None, True, "true"]}, ["2", "a", "null", "true"], ["1", "3", "false", '"a"']),
        ({"type": ["string", "array"], "maxItems": 1}, ["a", "[1]", "a]"], ["[1, 2]", "[a", " [1]"]),
        ({}, ["a", "5", "null", "true", '"a"', '{"a": ["</parameter>"]}', "[1]"], ["{a", "[a]"]),
    ],
    ids=str,
)
def test_an_element_allows_texts_that_parse_as_a_value_of_its_schema(
    writer: RandomSampler, schema: dict[str, Any], allowed: list[str], others: list[str]
) -> None:
    given = one({key: value for key, value in schema.items() if key != "$defs"})
    grammar = compiled(writer, QWEN3_CODER, {**given, "$defs": schema.get("$defs", {})})
    texts = list(map(element, allowed + others))
    assert allowed_of(writer, QWEN3_CODER, grammar, texts) == list(map(element, allowed))


def typed(value: str, *, is_string: bool) -> str:
    begin, end = "<\uff5cDSML\uff5cparameter", "</\uff5cDSML\uff5cparameter>\n"
    return f'{begin} name="a" string="{str(is_string).lower()}">{value}{end}'


@pytest.mark.parametrize(
    ("schema", "strings", "others", "rejected"),
    [
        (_STRING, ["", "5", "null", "\na", '"a"'], [], [("5", False), ("</\uff5cDSML\uff5cinvoke>", True)]),
        ({"type": "integer", "maximum": 9}, [], ["7"], [("7", True), ("10", False)]),
        ({"type": ["string", "integer", "array"]}, ["5", "[1", "a"], ["5", "[1]"], [("a", False), ("{}", False)]),
        ({"enum": ["1", 1, None, [2]]}, ["1"], ["1", "null", "[2]"], [("null", True), ("2", False)]),
    ],
    ids=str,
)
def test_an_element_that_tells_the_type_of_its_value_holds_any_string(
    writer: RandomSampler, schema: object, strings: list[str], others: list[str], rejected: list[tuple[str, bool]]
) -> None:
    grammar = compiled(writer, DEEPSEEK_V32, one(schema))
    allowed = [*(typed(text, is_string=True) for text in strings), *(typed(text, is_string=False) for text in others)]
    texts = [*allowed, *(typed(text, is_string=is_string) for text, is_string in rejected)]
    assert allowed_of(writer, DEEPSEEK_V32, grammar, texts) == allowed


def test_a_string_cannot_start_with_a_line_break_that_the_parser_drops(writer: RandomSampler) -> None:
    grammar = compiled(writer, MINIMAX_M2, one(_STRING))
    texts = [f'<parameter name="a">{text}</parameter>\n' for text in ("", "a\n", "\na", "\n")]
    assert allowed_of(writer, MINIMAX_M2, grammar, texts) == texts[:2]


_QUOTED = '<|"|>'


@pytest.mark.parametrize(
    ("schema", "allowed", "others"),
    [
        (_STRING, ["", "a", '"', "}", "5", "<|"], []),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "é\n😀"], ["a", "abcd"]),
        (_PATTERN, ["a", "abc"], ["", "d", "abca", "a\n"]),
        ({"enum": ["a", "b", 3]}, ["a", "b"], ["c", "3"]),
        ({"type": ["string", "null"], "maxLength": 1}, ["a"], ["ab"]),
    ],
    ids=str,
)
def test_a_quoted_string_matches_its_schema(
    writer: RandomSampler, schema: object, allowed: list[str], others: list[str]
) -> None:
    grammar = compiled(writer, GEMMA4, one(schema))
    texts = [f"a:{_QUOTED}{text}{_QUOTED}" for text in allowed + others]
    assert allowed_of(writer, GEMMA4, grammar, texts) == texts[: len(allowed)]


@pytest.mark.parametrize(
    ("schema", "allowed", "others"),
    [
        (_STRING, [], ["a:b", "a:5", 'a:"b"']),
        ({"type": ["integer", "null"], "maximum": 9}, ["a:7", "a:null"], ["a:10", "a:None", "a:7.5"]),
        ({"enum": [1.5, True, "a"]}, ["a:1.5", "a:true", 'a:<|"|>a<|"|>'], ["a:false", "a:2"]),
        (
            {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            ["a:[]", "a:[1,2]"],
            ["a:[1,2,3]", "a:[1, 2]"],
        ),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, ["a:[null,null,null]"], ["a:[]", "a:[null]"]),
        (
            {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 1},
            ["a:[1]", "a:[1,2]", "a:[1,2,3,3]"],
            ["a:[]", "a:[2]", "a:[1,3]"],
        ),
        (
            {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False},
            ["a:[]", "a:[1,2]"],
            ["a:[1,2,3]"],
        ),
        (_PLACE, ["a:{x:1}", 'a:{x:1,y:{z:[<|"|>b<|"|>]}}'], ["a:{}", "a:{x:null}", "a:{x:1,x:2}", "a:{x:1,y:}"]),
        (
            {"type": "object", "properties": {"b c": {"const": 1}, "d": {"const": 2}}, "additionalProperties": False},
            ["a:{}", 'a:{<|"|>b c<|"|>:1}', "a:{d:2}", 'a:{<|"|>b c<|"|>:1,d:2}'],
            ["a:{b c:1}", 'a:{d:2,<|"|>b c<|"|>:1}', 'a:{<|"|>b c<|"|>:1,}'],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2, "minProperties": 1},
            ["a:{b:1}", "a:{b:1,c:2}"],
            ["a:{}", "a:{b:1,c:2,d:3}", "a:{b:null}"],
        ),
        (
            {"type": "object", "properties": {"b": {"const": 1}}, "minProperties": 1, "additionalProperties": False},
            ["a:{b:1}"],
            ["a:{}"],
        ),
        (
            {"type": "object", "properties": {"b": {"const": 1}}, "required": ["b"], "maxProperties": 2},
            ["a:{b:1}", "a:{b:1,c:2}"],
            ["a:{b:1,c:2,d:3}"],
        ),
        ({"type": "array", "items": {"const": 1}, "minItems": 1, "maxItems": 1}, ["a:[1]"], ["a:[]", "a:[1,1]"]),
        ({"type": "array", "items": {"const": 1}, "maxItems": 0}, ["a:[]"], ["a:[1]"]),
        ({"type": "object", "maxProperties": 1}, ["a:{}", "a:{b:1}"], ["a:{b:1,c:2}"]),
        ({"const": {"b c": [None, 'd"']}}, ['a:{<|"|>b c<|"|>:[null,<|"|>d"<|"|>]}'], ["a:{}"]),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"b": {"minimum": 3}}},
                    {"properties": {"b": {"type": "integer"}}},
                ]
            },
            ["a:{b:3}", "a:{c:null}"],
            ["a:{b:2}", "a:{b:3.5}"],
        ),
        ({"$ref": "#"}, ["a:{a:{a:{}}}", "a:{}"], ["a:{b:1}", "a:1"]),
    ],
    ids=str,
)
def test_a_bare_value_matches_its_schema(
    writer: RandomSampler, schema: dict[str, Any], allowed: list[str], others: list[str]
) -> None:
    definitions = schema.get("$defs", {})
    given = {key: value for key, value in schema.items() if key != "$defs"}
    grammar = compiled(writer, GEMMA4, {**one(given, is_required=False), "type": "object", "$defs": definitions})
    assert allowed_of(writer, GEMMA4, grammar, allowed + others) == allowed


@pytest.mark.parametrize(
    ("schema", "allowed", "others"),
    [
        (_STRING, ['a=""', 'a="b\\"\\n)]"', 'a="é"'], ["a='b'", "a=b", 'a = "b"', '"a"="b"', 'b="c"', ""]),
        ({"type": "string", "maxLength": 1}, ['a="b"'], ['a="bc"', 'a=""""b""""']),
        ({"type": ["integer", "null"], "maximum": 9}, ["a=7", "a=null"], ["a=10", "a=None", "a=7.5", "a=07"]),
        ({"type": "boolean"}, ["a=true", "a=false"], ["a=True", "a=1"]),
        ({"type": "array", "items": {"const": 1}, "maxItems": 2}, ["a=[]", "a=[1, 1]"], ["a=(1, 1)", "a=[1, 1, 1]"]),
        (_PLACE, ['a={"x": 1}', 'a={"x": 1, "y": [null]}'], ["a={x: 1}", "a={}", "a={'x': 1}"]),
        ({"type": "object", "patternProperties": {"^x": {"type": "null"}}}, ['a={"xy": null}'], ['a={"xy": 1}']),
        ({"enum": ["b", 2, None]}, ['a="b"', "a=2", "a=null"], ['a="c"', "a=3"]),
    ],
    ids=str,
)
def test_a_keyword_argument_matches_its_schema(
    writer: RandomSampler, schema: dict[str, Any], allowed: list[str], others: list[str]
) -> None:
    given = one({key: value for key, value in schema.items() if key != "$defs"})
    grammar = compiled(writer, LFM2, {**given, "$defs": schema.get("$defs", {})})
    assert allowed_of(writer, LFM2, grammar, allowed + others) == allowed


def test_arguments_come_in_the_order_of_the_schema_and_optional_ones_may_be_missing(writer: RandomSampler) -> None:
    schema = {
        "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}},
        "required": ["b", "d"],
        "additionalProperties": {"type": "boolean"},
    }
    elements = {name: element(value, name) for name, value in {"a": "1", "b": "2", "c": "3", "d": "true"}.items()}
    for tool_format, parts, separator in (
        (QWEN3_CODER, elements, ""),
        (GEMMA4, {"a": "a:1", "b": "b:2", "c": "c:3", "d": "d:true"}, ","),
        (LFM2, {"a": "a=1", "b": "b=2", "c": "c=3", "d": "d=true"}, ", "),
    ):
        grammar = compiled(writer, tool_format, schema)
        e = element("false", "e") if tool_format is QWEN3_CODER else parts["d"].replace("d", "e", 1)
        texts = {
            order: separator.join(e if name == "e" else parts[name] for name in order)
            for order in ("bd", "abd", "bcd", "abcd", "abcde", "abcdee", "ab", "d", "", "bad", "bda", "bdd")
        }
        allowed = allowed_of(writer, tool_format, grammar, list(texts.values()))
        assert [order for order, text in texts.items() if text in allowed] == [
            *("bd", "abd", "bcd", "abcd", "abcde", "abcdee")
        ]


def test_a_tool_that_is_not_strict_takes_any_arguments_that_parse(writer: RandomSampler) -> None:
    schema = one({"type": "integer"})
    grammar = compiled(writer, QWEN3_CODER, schema, strict=False)
    texts = ["", element("x"), element("[1]"), element("x") + element("y", "b")]
    assert allowed_of(writer, QWEN3_CODER, grammar, [*texts, element("[x")]) == texts
    grammar = compiled(writer, GEMMA4, schema, strict=False)
    assert allowed_of(writer, GEMMA4, grammar, ["", "a:null,b:{c:[]}", "a:x"]) == ["", "a:null,b:{c:[]}"]
    grammar = compiled(writer, LFM2, schema, strict=False)
    assert allowed_of(writer, LFM2, grammar, ["", 'a=null, b={"c": []}', "a=x", "a b=1"]) == ["", 'a=null, b={"c": []}']


@pytest.mark.parametrize(
    ("tool_format", "schema", "message"),
    [
        (QWEN3_CODER, one({"uniqueItems": True}), "at #/properties/a/uniqueItems: "),
        (
            QWEN3_CODER,
            {"properties": {"a>b": {}}},
            "the argument 'a>b': a name with <, > or a line break cannot be written, in the tool format",
        ),
        (MINIMAX_M2, {"properties": {'a">b': {}}}, "the argument 'a\">b': a name with <, > or a line break"),
        (DEEPSEEK_V32, {"properties": {'a"b': {}}}, "the argument 'a\"b': a name with \" cannot be written"),
        (QWEN3_CODER, {"patternProperties": {"a": {}}}, "patternProperties cannot be enforced, in the tool format"),
        (QWEN3_CODER, one({"enum": ["</parameter>"]}), "the argument 'a': no value can match it"),
        (
            QWEN3_CODER,
            one({"type": "string", "minLength": 2, "maxLength": 1}),
            "the argument 'a': no value can match it",
        ),
        (
            QWEN3_CODER,
            one({"allOf": [_PATTERN, {"minLength": 4}]}),
            "the argument 'a': its strings and their patterns: ",
        ),
        (QWEN3_CODER, {"const": {"a": 1}}, "enum and const of the whole arguments object cannot be enforced"),
        (QWEN3_CODER, {"type": "array"}, "no value can match it"),
        (QWEN3_CODER, one({"type": "null", "const": 1}), "the argument 'a': no value can match it"),
        (QWEN3_CODER, one(_STRING, maxProperties=0), "maxProperties cannot be enforced with optional properties"),
        (GEMMA4, one({"enum": ['<|"|>']}), "the argument 'a': no value can match it"),
        (GEMMA4, one({"const": ['<|"|>']}), "the argument 'a': a string or name that contains "),
        (
            GEMMA4,
            one({"items": {"patternProperties": {"a": {}}}}),
            "the argument 'a\\[\\]': patternProperties cannot be enforced",
        ),
        (
            GEMMA4,
            one({"properties": {"b": {"type": "integer", "enum": ["x"]}}}),
            "the argument 'a.b': no value can match",
        ),
        (LFM2, {"properties": {"a b": {}}}, "the argument 'a b': an empty name, or one with white space or "),
        (LFM2, {"patternProperties": {"a": {}}}, "patternProperties cannot be enforced, in the tool format"),
        (LFM2, one({"type": "null", "const": 1}), "no value can match it"),
        (GEMMA4, {"$ref": "#"}, "at #: the schema refers to itself"),
        (
            GEMMA4,
            one({"type": "object", "properties": {"b": {}, "c": {}}, "maxProperties": 1}),
            "the argument 'a': maxProperties cannot be enforced with optional properties",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, ToolFormat) else str(value),
)
def test_an_error_names_the_argument_that_a_notation_cannot_enforce(
    writer: RandomSampler, tool_format: ToolFormat, schema: object, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^tools\\[0\\].function.parameters: {message}"):
        compiled(writer, tool_format, schema)
