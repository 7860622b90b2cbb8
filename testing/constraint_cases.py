"""Constraints of every kind, each with a check of its own that an answer keeps to it; it draws nothing."""

import asyncio
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from onward_server.completion.answer.format_registry import REASONING_FORMATS, TOOL_FORMATS
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat, ToolFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.reasoning_formats import THINK
from onward_server.completion.constraints import Constraints
from onward_server.domain import (
    CompletionRequest,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    ResponseFormat,
    ToolChoice,
    ToolChoiceMode,
)
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.tool_calls import CallFrame, OfferedTool
from testing.parsed_outputs import parsed

SUITE = Path(__file__).parents[2] / "shared/data/jsonschema/JSON-Schema-Test-Suite.tar.gz"

HERMES = CallFrame(
    trigger="<tool_call>",
    begin='<tool_call>\n{"name": "',
    arguments_begin='", "arguments": ',
    end="}\n</tool_call>",
    separator="\n",
)
MISTRAL = CallFrame(
    trigger="[TOOL_CALLS]",
    section_begin="[TOOL_CALLS][",
    begin='{"name": "',
    arguments_begin='", "arguments": ',
    end="}",
    separator=", ",
    section_end="]",
)
LLAMA = CallFrame(
    trigger='{"name": "', begin='{"name": "', arguments_begin='", "parameters": ', end="}", start_triggers=("{",)
)
_PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 10},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "email": {"anyOf": [{"type": "string", "pattern": "^[a-z]{1,8}@[a-z]{1,8}\\.com$"}, {"type": "null"}]},
    },
    "required": ["name", "age", "email"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, Any] = {
    "person": _PERSON,
    "list of people": {"type": "array", "items": {"$ref": "#/$defs/p"}, "maxItems": 3, "$defs": {"p": _PERSON}},
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"value": {"type": "integer"}, "left": {"$ref": "#/$defs/or_none"}},
                "required": ["value", "left"],
                "additionalProperties": False,
            },
            "or_none": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        },
    },
    "shapes told apart by a constant": {
        "oneOf": [{"$ref": "#/$defs/circle"}, {"$ref": "#/$defs/square"}],
        "$defs": {
            "circle": {
                "type": "object",
                "properties": {"kind": {"const": "circle"}, "radius": {"type": "number", "exclusiveMinimum": 0}},
                "required": ["kind", "radius"],
            },
            "square": {
                "type": "object",
                "properties": {"kind": {"const": "square"}, "side": {"type": "number", "minimum": 1, "maximum": 2}},
                "required": ["kind", "side"],
                "additionalProperties": False,
            },
        },
    },
    "optional properties": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"enum": ["x", 1, None]}},
        "minProperties": 1,
        "additionalProperties": False,
    },
    "properties of a type": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3},
    "named and other properties": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "e": {"type": "boolean"}},
        "required": ["a", "e"],
        "additionalProperties": {"type": "string", "maxLength": 3},
        "maxProperties": 4,
    },
    "properties by pattern": {
        "type": "object",
        "patternProperties": {"^n_": {"type": "number"}, "^s_": {"type": "string", "maxLength": 2}},
        "additionalProperties": False,
        "maxProperties": 3,
    },
    "tuple": {
        "prefixItems": [{"type": "string", "maxLength": 2}, {"type": "integer"}],
        "items": False,
        "type": "array",
    },
    "tuple of an older draft": {
        "type": "array",
        "prefixItems": [{"type": "boolean"}],
        "items": {"type": "integer"},
        "minItems": 2,
        "maxItems": 4,
    },
    "matrix": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number", "multipleOf": 0.5}, "minItems": 2, "maxItems": 2},
        "maxItems": 3,
    },
    "constants": {"enum": ["red", "green", {"a": [1, 2.5, None]}, [], 'q"uo\\te\n', "é😀", -0.25, True]},
    "constant object": {"const": {"b": 1, "a": [True, {"c": "d/e"}]}},
    "integers in a range": {"type": "integer", "minimum": -17, "exclusiveMaximum": 1234},
    "multiples": {"type": "integer", "multipleOf": 7, "minimum": -100, "maximum": 100},
    "numbers in a range": {"type": "number", "minimum": -0.5, "exclusiveMaximum": 12.75},
    "dates": {"type": "string", "format": "date"},
    "times": {"type": "string", "format": "date-time", "maxLength": 30},
    "addresses": {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "uuid"}]},
    "quotes left out": {"type": "string", "pattern": '^[^"\\\\]{2,5}$'},
    "words left out": {"type": "string", "pattern": "^\\W\\D\\S[^\\w]$"},
    "two patterns": {"type": "string", "pattern": "^[a-z]+$", "allOf": [{"pattern": "b"}, {"maxLength": 5}]},
    "lengths": {"type": "string", "minLength": 3, "maxLength": 6},
    "merged": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["b"]},
            {"properties": {"a": {"maximum": 9}, "b": {"type": "boolean"}}, "additionalProperties": {"type": "null"}},
        ],
        "required": ["a"],
        "maxProperties": 3,
    },
    "several types": {"type": ["integer", "null", "boolean"]},
    "strange names": {
        "type": "object",
        "properties": {
            'a"b': {"type": "null"},
            "c\nd": {"type": "null"},
            "~/": {"type": "null"},
            "é": {"type": "null"},
        },
        "required": ['a"b', "c\nd", "~/"],
        "additionalProperties": False,
    },
}
_ADD = FunctionTool(
    name="add",
    strict=True,
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "y": {"enum": ["one", "two"]}},
            "required": ["x", "y"],
            "additionalProperties": False,
        }
    ),
)
_ADD_ALL = FunctionTool(
    name="add_all",
    strict=True,
    parameters='{"properties": {"of": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}}, '
    '"required": ["of"], "additionalProperties": false}',
)
_NOW = FunctionTool(name="now", strict=True)
TOOLS = tuple(OfferedTool(tool=tool, field=f"tools[{i}].function") for i, tool in enumerate((_ADD, _ADD_ALL, _NOW)))
_SEND = FunctionTool(
    name="send",
    strict=True,
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": 12},
                "to": {"anyOf": [{"type": "string", "pattern": "^[a-z]{1,5}$"}, {"type": "null"}]},
                "copies": {"type": ["integer", "string"], "minimum": 0, "maximum": 99, "maxLength": 4},
                "mode": {"enum": ["now", "5", 5, 2.5, True, None, "true", '"x"', "[1]", "</parameter"]},
                "on": {"type": "string", "format": "date"},
                "where": {"$ref": "#/$defs/place"},
                "tags": {"type": "array", "items": {"enum": ["a", "b,c", "</parameter>", '<|"|', "<|end|>", 'd"e\n']}},
                "shape": {"oneOf": [{"const": [1, {"a b": None}]}, {"type": "boolean"}]},
                "size": {"type": "number", "exclusiveMinimum": 0, "maximum": 1.5},
            },
            "required": ["to", "copies", "mode", "tags"],
            "additionalProperties": False,
            "$defs": {
                "place": {
                    "type": "object",
                    "properties": {
                        "x:y": {"type": "integer"},
                        "name": {"type": "string", "maxLength": 3},
                        "in": {"$ref": "#/$defs/place"},
                    },
                    "required": ["x:y"],
                    "additionalProperties": False,
                }
            },
        }
    ),
)
CALLED = (_ADD, _ADD_ALL, _NOW, _SEND)
_STRICT = CompletionRequest(tools=CALLED)
_ALL_FORCED = replace(_STRICT, tool_choice=ToolChoice(mode=ToolChoiceMode.REQUIRED))
_FORCED = {"forced": _ALL_FORCED, "one forced": replace(_ALL_FORCED, parallel_tool_calls=False)}


# What answers are full of where a model means harm, or writes about itself.
_MARKS = (
    *(mark for format_ in (*TOOL_FORMATS, *REASONING_FORMATS) for mark in format_.control_strings),
    *(mark for format_ in TOOL_FORMATS for mark in (*format_.triggers, format_.frame.end, format_.frame.section_end)),
    *(
        f"{frame.section_begin}{frame.begin}add{frame.id_begin}{frame.arguments_begin}{arguments}{frame.end}"
        for frame in (format_.frame for format_ in TOOL_FORMATS)
        for arguments in ('{"x": null}', "x:null", "<parameter=x>\nnull\n</parameter>\n")
    ),
    *(
        '"',
        "}",
        "]",
        "{",
        "[",
        "\n",
        "null",
        "5",
        "```json\n",
        "\n</parameter>\n",
        "<parameter=text>\n",
        "<function=add>\n",
    ),
)


_SCALARS = ("-1", "true", "false", "None", '"a"', "[1]", "{}", "2.5", "a", "ab", "1e5", " ", "x:", "a:")
PHRASES = tuple(dict.fromkeys(mark for mark in _MARKS if mark))


@dataclass(frozen=True, slots=True)
class Case:
    """A constraint and what tells whether a text keeps to it."""

    kind: str
    name: str
    compile: Callable[[GrammarCompiler], Grammar]
    complaint: Callable[[str], str | None]
    """None: the text keeps to it."""
    phrases: tuple[str, ...] = ()
    """What answers are drawn from beside single tokens."""


def suite_cases() -> Iterator[Case]:
    """The schemas of the JSON Schema test suite for draft 2020-12, those aside that Python's patterns cannot check."""
    with tarfile.open(SUITE) as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is None or not re.search(r"tests/draft2020-12/.*\.json$", member.name):
                continue
            for group in json.load(source):
                if "\\\\p{" not in json.dumps(group["schema"]):
                    yield schema_case("suite", f"{Path(member.name).stem}: {group['description']}", group["schema"])


def own_cases() -> list[Case]:
    """Our own schemas, and any object."""
    return [
        *(schema_case("schema", name, schema) for name, schema in SCHEMAS.items()),
        format_case("json_object", "any", JsonObjectFormat(), lambda text: _json_complaint({"type": "object"}, text)),
    ]


def forced_call_cases() -> list[Case]:
    """Calls that must be there, of tools that are all strict, in every format of calls."""
    return [
        _answer_case(f"{tools.name}, {name}", OutputFormat(tools=tools), "", request)
        for tools in TOOL_FORMATS
        for name, request in _FORCED.items()
    ]


def call_cases() -> list[Case]:
    """Forced calls, strict ones and formats beside them, for every format of calls, thinking or not."""
    bound = JsonSchemaFormat(schema=json.dumps(_PERSON))
    requests = {
        **_FORCED,
        "strict": _STRICT,
        "strict, or JSON": replace(_STRICT, response_format=bound),
        "JSON": CompletionRequest(response_format=bound),
    }
    cases: list[Case] = []
    for tools in TOOL_FORMATS:
        reasoning = next((one for one in REASONING_FORMATS if one.name.startswith(tools.name[:5])), THINK)
        for start, output_format, prompt in (
            ("", OutputFormat(tools=tools), ""),
            (", may think", OutputFormat(tools=tools, reasoning=reasoning), ""),
            (", thinks", OutputFormat(tools=tools, reasoning=reasoning), f"{reasoning.begin}\n"),
        ):
            cases += [
                _answer_case(f"{tools.name}{start}, {name}", output_format, prompt, request)
                for name, request in requests.items()
            ]
    return cases


def forced_case(name: str, tools: ToolFormat, parameters: object) -> Case:
    """One forced call of a tool with these parameters."""
    tool = FunctionTool(name="f", strict=True, parameters=json.dumps(parameters))
    required = ToolChoice(mode=ToolChoiceMode.REQUIRED)
    request = CompletionRequest(tools=(tool,), tool_choice=required, parallel_tool_calls=False)
    return replace(_answer_case(name, OutputFormat(tools=tools), "", request), phrases=(*PHRASES, *_SCALARS))


def marked_call_cases() -> list[Case]:
    """The same where answers are full of marks."""
    return [replace(case, kind="tool_calls, full of marks", phrases=PHRASES) for case in call_cases()]


def schema_case(kind: str, name: str, schema: object) -> Case:
    """A schema as an answer's format."""
    response_format = JsonSchemaFormat(schema=json.dumps(schema))
    return format_case(kind, name, response_format, lambda text: _json_complaint(schema, text))


def format_case(kind: str, name: str, response_format: ResponseFormat, complaint: Callable[[str], str | None]) -> Case:
    """An answer's format."""
    return Case(kind, name, lambda compiler: compiler.compile(response_format).result(), complaint)


def _answer_case(name: str, output_format: OutputFormat, prompt_text: str, request: CompletionRequest) -> Case:
    """What a whole request asks for, read as its answer is read."""
    context = OutputContext(
        tools=request.offered_tools,
        prompt=prompt_text,
        single_call=not request.parallel_tool_calls,
        response_format=request.response_format,
    )

    def compiled(compiler: GrammarCompiler) -> Grammar:
        grammar = asyncio.run(Constraints(compiler).compile(request, output_format, context))
        assert grammar is not None
        return grammar

    return Case("tool_calls", name, compiled, lambda text: _answer_complaint(output_format, context, request, text))


def _answer_complaint(
    output_format: OutputFormat, context: OutputContext, request: CompletionRequest, text: str
) -> str | None:
    answer = parsed(OutputParser(output_format, context), [text])
    if answer.invalid_tool_call:
        return f"an invalid call: {answer.invalid_tool_call}"
    if len(answer.calls) > 1 and not request.parallel_tool_calls:
        return "several calls"
    if request.tool_choice.mode is ToolChoiceMode.REQUIRED and (answer.text.strip() or not answer.calls):
        return f"{len(answer.calls)} calls, and the text {answer.text!r}"
    schemas = {tool.name: json.loads(tool.parameters or '{"maxProperties": 0}') for tool in request.tools}
    complaints = [_json_complaint({"type": "object", **schemas[name]}, arguments) for name, arguments in answer.calls]
    if request.response_format is not None and not answer.calls:
        complaints.append(_json_complaint(_PERSON, answer.text))
    return next((complaint for complaint in complaints if complaint), None)


def _decimal(text: str) -> Decimal | float:
    """Exact, but for what is too large to calculate with."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return float(text)
    return number if abs(number.adjusted()) < 1000 else float(text)


def _json_complaint(schema: object, text: str) -> str | None:
    try:
        value = json.loads(text, parse_float=_decimal)
    except ValueError as error:
        return f"no JSON: {error}"
    exact_schema = json.loads(json.dumps(schema), parse_float=_decimal)
    validator = Draft202012Validator(exact_schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    with localcontext(prec=4000):
        return next((error.message for error in validator.iter_errors(value)), None)  # pyright: ignore[reportUnknownMemberType]
