"""Constraints on tool calls in every tool format, each with a check that reads an output as the service does."""

import asyncio
import json
from dataclasses import replace
from functools import cache

from onward_server.completion.answer.format_registry import REASONING_FORMATS, TOOL_FORMATS
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat, ToolFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.reasoning_formats import THINK
from onward_server.completion.constraints import Constraints
from onward_server.domain import CompletionRequest, FunctionTool, JsonSchemaFormat, ToolChoice, ToolChoiceMode
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.tool_calls import BareNotation, CallFrame, ElementNotation, KeywordNotation, OfferedTool
from testing.constraint_cases import PERSON, Case, json_complaint
from testing.parsed_outputs import parsed

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


_MARKERS = (
    *(marker for format_ in (*TOOL_FORMATS, *REASONING_FORMATS) for marker in format_.control_strings),
    *(
        marker
        for format_ in TOOL_FORMATS
        for marker in (*format_.triggers, format_.frame.end, format_.frame.section_end)
    ),
    *(
        f"{frame.section_begin}{frame.begin}add{frame.id_begin}{frame.arguments_begin}{arguments}{frame.end}"
        for frame in (format_.frame for format_ in TOOL_FORMATS)
        for arguments in ('{"x": null}', "x:null", "x=null", "<parameter=x>\nnull\n</parameter>\n")
    ),
    *(
        text
        for notation in (format_.frame.notation for format_ in TOOL_FORMATS)
        if isinstance(notation, ElementNotation)
        for text in (
            f"{notation.begin}x{notation.name_end}{notation.json_begin}null{notation.end}",
            f"{notation.begin}x{notation.name_end}{notation.string_begin}",
            notation.end,
            *notation.excluded,
        )
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
PHRASES = tuple(dict.fromkeys(marker for marker in _MARKERS if marker))


def forced_call_cases() -> list[Case]:
    """Required calls of strict tools, in every tool format."""
    return [
        _call_case(f"{tools.name}, {name}", OutputFormat(tools=tools), "", request)
        for tools in TOOL_FORMATS
        for name, request in _FORCED.items()
    ]


def call_cases() -> list[Case]:
    """Required calls, optional ones and a response format beside them, for every tool format, thinking or not.

    Formats that differ from an earlier one in the text of their markers only are tried without reasoning.
    """
    bound = JsonSchemaFormat(schema=json.dumps(PERSON))
    requests = {
        **_FORCED,
        "strict": _STRICT,
        "strict, or JSON": replace(_STRICT, response_format=bound),
        "JSON": CompletionRequest(response_format=bound),
    }
    cases: list[Case] = []
    for tools in TOOL_FORMATS:
        for start, output_format, prompt in _starts(tools):
            cases += [
                _call_case(f"{tools.name}{start}, {name}", output_format, prompt, request)
                for name, request in requests.items()
            ]
    return cases


def _starts(tools: ToolFormat) -> list[tuple[str, OutputFormat, str]]:
    """Names, formats and prompts: without reasoning, with optional reasoning, and with reasoning that has begun."""
    without = ("", OutputFormat(tools=tools), "")
    own = next((one for one in REASONING_FORMATS if one.name.startswith(tools.name[:5])), None)
    if own is None and (tools.frames_output or tools not in _of_different_forms()):
        return [without]
    reasoning = own or THINK
    output_format = OutputFormat(tools=tools, reasoning=reasoning)
    return [without, (", may think", output_format, ""), (", thinks", output_format, f"{reasoning.begin}\n")]


@cache
def _of_different_forms() -> tuple[ToolFormat, ...]:
    """Those tool formats that differ in more than the text of their markers."""
    return tuple({_form(format_): format_ for format_ in reversed(TOOL_FORMATS)}.values())


def _form(tools: ToolFormat) -> tuple[object, ...]:
    """What the grammar of calls depends on, except for the text of the markers."""
    frame = tools.frame
    texts = (frame.section_begin, frame.id_begin, frame.section_end, frame.output_begin, frame.next_message)
    notation = frame.notation
    is_typed = isinstance(notation, ElementNotation) and notation.string_begin != notation.json_begin
    drops = isinstance(notation, ElementNotation) and notation.drops_line_breaks
    further = (frame.separator is None, bool(tools.start_triggers), tools.ends_reasoning, frame.object_keys)
    return (type(notation), is_typed, drops, *map(bool, texts), *further)


def forced_call_case(name: str, tools: ToolFormat, parameters: object) -> Case:
    """One forced call of a tool with these parameters."""
    tool = FunctionTool(name="f", strict=True, parameters=json.dumps(parameters))
    required = ToolChoice(mode=ToolChoiceMode.REQUIRED)
    request = CompletionRequest(tools=(tool,), tool_choice=required, parallel_tool_calls=False)
    case = _call_case(name, OutputFormat(tools=tools), "", request)
    ends_of_patterns = [f"{last}{ending}" for last in "ab5" for ending in case.endings]
    return replace(case, phrases=(*PHRASES, *_SCALARS), endings=(*case.endings, *ends_of_patterns))


def marker_call_cases() -> list[Case]:
    """The same where outputs are full of markers, for one of the formats that differ in the text of markers only."""
    names = {format_.name for format_ in _of_different_forms()}
    cases = [case for case in call_cases() if case.name.partition(",")[0] in names]
    return [replace(case, kind="tool calls, full of markers", phrases=PHRASES) for case in cases]


def _call_case(name: str, output_format: OutputFormat, prompt_text: str, request: CompletionRequest) -> Case:
    """The constraint of a whole request."""
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

    return Case(
        "tool calls",
        name,
        compiled,
        lambda text: _complaint(output_format, context, request, text),
        endings=_endings(output_format),
    )


def _endings(output_format: OutputFormat) -> tuple[str, ...]:
    """What ends names and arguments that are not JSON, calls and reasoning."""
    frame = output_format.tools.frame if output_format.tools else None
    ends = [frame.end, frame.section_end, f"{frame.next_message}{frame.begin}"] if frame else []
    match frame.notation if frame else None:
        case ElementNotation(end=end, name_end=name_end, string_begin=string_begin, json_begin=json_begin):
            ends += [end, name_end, f"{name_end}{string_begin}", f"{name_end}{json_begin}"]
        case BareNotation(quote=quote):
            ends += [quote, ":"]
        case KeywordNotation():
            ends += [", ", "="]
        case None:
            pass
    reasoning = [output_format.reasoning.end] if output_format.reasoning else []
    return tuple(filter(None, [*ends, *reasoning]))


def _complaint(
    output_format: OutputFormat, context: OutputContext, request: CompletionRequest, text: str
) -> str | None:
    output = parsed(OutputParser(output_format, context), [text])
    if output.invalid_tool_call:
        return f"an invalid call: {output.invalid_tool_call}"
    if len(output.calls) > 1 and not request.parallel_tool_calls:
        return "several calls"
    if request.tool_choice.mode is ToolChoiceMode.REQUIRED and (output.text.strip() or not output.calls):
        return f"{len(output.calls)} calls, and the text {output.text!r}"
    schemas = {tool.name: json.loads(tool.parameters or '{"maxProperties": 0}') for tool in request.tools}
    complaints = [json_complaint({"type": "object", **schemas[name]}, arguments) for name, arguments in output.calls]
    if request.response_format is not None and not output.calls:
        complaints.append(json_complaint(PERSON, output.text))
    return next((complaint for complaint in complaints if complaint), None)
