import itertools
import json

import pytest

from onward_server.completion.answer.format_registry import REASONING_FORMATS, TOOL_FORMATS, choose_output_format
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat, ReasoningFormat, ToolFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.template_samples import TemplateSamples
from onward_server.errors import StartupError
from testing.parsed_outputs import ParsedOutput, parsed, tool
from tests.template_cases import compiled_template, template_formats
from tests.template_files import FORMAT_TEMPLATES, template_names, template_source

_FORMATS_BY_TEMPLATE = {
    "bars_switch": ("deepseek_v31", "think"),
    "bars_thinking": ("deepseek_r1", "think"),
    "brackets_call_id": ("mistral_call_id", None),
    "brackets_list": ("mistral_list", None),
    "brackets_thinking": ("mistral", "mistral"),
    "channels": ("harmony", "harmony"),
    "chatml": (None, None),
    "chatml_elements": ("qwen3_coder", None),
    "chatml_elements_thinking": ("qwen3_coder", "think"),
    "chatml_thinking": ("hermes", "think"),
    "chatml_tools": ("hermes", None),
    "ends": (None, None),
    "header_calls": ("llama3", None),
    "header_system_tools": ("llama3", None),
    "headings": (None, None),
    "modes": (None, "think"),
    "roles_elements": ("hermes", None),
    "roles_response": ("granite", "granite"),
    "turns_bare_calls": ("gemma4", "gemma"),
    "turns_without_system": (None, None),
}
CALLS_TEMPLATE = """
{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor %}
{%- for turn in messages %}[{{ turn.role }}]{{ turn.content }}
{%- for call in turn.tool_calls or [] %}CALL{% endfor %}[end]{% endfor %}"""
_REASONING_BY_FORMAT = {
    "apertus": "apertus",
    "apriel": "apriel",
    "command_r": "none",
    "command_r7b": "cohere",
    "functionary": "none",
    "functionary_v32": "none",
    "internlm2": "none",
    "longcat": "longcat",
    "longcat_lite": "none",
    "olmo3": "none",
    "phi4_mini": "none",
    "phi4_mini_tokens": "none",
    "pythonic": "none",
    "seed_oss": "seed_oss",
}
"""The reasoning format of those format templates that do not put reasoning between `<think>` markers."""
_WEATHER = tool(
    "get_weather",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "limit": {"type": "number"},
                "metric": {"type": "boolean"},
                "unit": {"enum": ["c", "f", 5]},
                "near": {"type": "array"},
                "note": {"type": ["string", "null"]},
                "when": {"anyOf": [{"$ref": "#/$defs/day"}, {"type": "null"}]},
            },
            "$defs": {"day": {"allOf": [{"type": "string"}, {"enum": ["1", "2"]}]}},
        }
    ),
)
_TOOLS = (_WEATHER, tool("noop"))


def _parse(format_name: str, output: str) -> ParsedOutput:
    parser = OutputParser(
        choose_output_format(TemplateSamples(), tools=format_name, reasoning="none"), OutputContext(tools=_TOOLS)
    )
    return parsed(parser, output)


@pytest.mark.parametrize("name", template_names())
def test_every_template_gets_its_formats(name: str) -> None:
    chosen = template_formats(template_source(name))

    names = (chosen.tools and chosen.tools.name, chosen.reasoning and chosen.reasoning.name)
    assert names == _FORMATS_BY_TEMPLATE[name]


@pytest.mark.parametrize("name", ["chatml", "headings"])
def test_a_marker_in_a_comment_of_the_template_is_no_tool_format(name: str) -> None:
    """Any template with `<tool_call>` somewhere in its source counted as Hermes."""
    comment = "{# <tool_call>, <response> in tool results, [TOOL_CALLS], <think> #}"
    assert template_formats(comment + template_source(name)) == template_formats(template_source(name))


def test_calls_with_the_marker_of_another_format_are_not_taken_for_it() -> None:
    """GLM writes `<tool_call>` before a name and elements, not before a JSON object as Hermes does.

    Llama 3 writes a JSON object without markers, which is also found between the markers of any other format.
    """
    written = '{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}'
    hermes = CALLS_TEMPLATE.replace("CALL", f"<tool_call>{written}</tool_call>")
    other = CALLS_TEMPLATE.replace("CALL", f"<tool_call>call {written}</tool_call>")
    unknown = CALLS_TEMPLATE.replace("CALL", f"<call>{written}</call>")
    bare = "{%- for turn in messages %}{% for call in turn.tool_calls or [] %}CALL{% endfor %}{% endfor %}"

    assert template_formats(hermes).names == ("hermes", "none")
    assert template_formats(other).names == ("none", "none")
    assert template_formats(unknown).names == ("none", "none")
    assert template_formats(bare.replace("CALL", written)).names == ("llama3", "none")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{% for turn in messages %}<think>{{ turn.thinking }}</think>{{ turn.content }}{% endfor %}", "think"),
        ("{{ messages[0].content }}{% if add_generation_prompt %}<think>\n{% endif %}", "think"),
        ("{{ messages[0].content }}{% if not enable_thinking %}<think></think>{% endif %}", "think"),
        ("{% for turn in messages %}<think></think>{{ turn.content }}[end]{% endfor %}", "think"),
        ("Think between <think> and </think>.{{ messages[0].content }}", "think"),
        ("Reply between <response></response>, after <think></think>.{{ messages[0].content }}", "granite"),
        ("{% for turn in messages %}{{ turn.content.split('</think>')[-1] }}{% endfor %}", "think"),
        ("{% for turn in messages %}{{ turn.content.split('###')[-1] }}{% endfor %}{# </think> #}", "none"),
    ],
    ids=["in a message", "opened", "closed", "empty", "described", "described as Granite's", "left out", "only named"],
)  # fmt: skip
def test_a_reasoning_format_is_detected_from_what_a_template_renders(source: str, name: str) -> None:
    assert template_formats(source).names[1] == name


def test_the_template_for_tools_decides_the_tool_format() -> None:
    """A model may have several templates; the one named tool_use renders chats with tools."""
    sources = {
        name: template_source(source) for name, source in (("default", "chatml"), ("tool_use", "roles_elements"))
    }
    template = ChatTemplate(sources, named_tokens={})

    assert choose_output_format(template.render_samples()).names == ("hermes", "none")


@pytest.mark.parametrize("name", sorted(path.stem for path in FORMAT_TEMPLATES.glob("*.jinja")))
def test_a_template_that_renders_a_format_gets_this_format(name: str) -> None:
    chosen = template_formats(template_source(name))

    assert chosen.names == (name, _REASONING_BY_FORMAT.get(name, "think"))


def test_a_name_overrides_what_the_template_says() -> None:
    samples = compiled_template(template_source("chatml_thinking")).render_samples()
    chosen = choose_output_format(samples, tools="llama3", reasoning="none")

    assert chosen.tools is not None
    assert chosen.tools.name == "llama3"
    assert chosen.reasoning is None
    assert chosen.names == ("llama3", "none")


def test_an_unknown_name_is_rejected_with_the_valid_ones() -> None:
    with pytest.raises(StartupError, match="unknown tool format 'qwen'; the valid names are none, harmony, gemma4"):
        choose_output_format(TemplateSamples(), tools="qwen")
    with pytest.raises(StartupError, match="unknown reasoning format 'hermes'; the valid names are none, harmony,"):
        choose_output_format(TemplateSamples(), reasoning="hermes")


def test_control_strings_of_a_tool_format_are_needed_only_with_tools() -> None:
    chosen = choose_output_format(TemplateSamples(), tools="hermes", reasoning="think")

    assert chosen.control_strings(with_tools=False) == ("<think>", "</think>")
    assert chosen.control_strings(with_tools=True) == ("<think>", "</think>", "<tool_call>", "</tool_call>")


def test_a_model_without_formats_needs_no_control_strings() -> None:
    assert OutputFormat().control_strings(with_tools=True) == ()


@pytest.mark.parametrize("tools", TOOL_FORMATS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("reasoning", REASONING_FORMATS, ids=lambda format_: format_.name)
def test_no_marker_contains_another_one_but_at_its_end(tools: ToolFormat, reasoning: ReasoningFormat) -> None:
    markers = {
        *tools.triggers,
        *tools.start_triggers,
        reasoning.begin,
        *reasoning.dropped,
        *(reasoning.text_frame or ()),
    }

    hidden = [
        (one, other) for one, other in itertools.permutations(markers, 2) if one in other and not other.endswith(one)
    ]

    allowed = ("<|channel|>", "[")  # no model combines the formats whose markers start like this
    assert [pair for pair in hidden if pair[0] not in allowed] == []


@pytest.mark.parametrize(
    ("format_name", "output", "arguments"),
    [
        ("hermes", '<tool_call>{"arguments": {"days": 1}, "name": "get_weather"}</tool_call>', '{"days": 1}'),
        ("hermes", '<tool_call>{"name": "get_weather", "arguments": "{\\"days\\": 1}"}</tool_call>', '{"days": 1}'),
        ("hermes", '<tool_call>{"id": [1, "}"], "name": "get_weather", "arguments": {}}', "{}"),
        ("hermes", '<tool_call>{"name": "get_weather"}</tool_call>', "{}"),
        ("hermes", '<tool_call>{"name":"get_weather","arguments":{"city":"\\"}\\\\"}}', '{"city":"\\"}\\\\"}'),
        ("llama3", '{"name": "get_weather", "parameters": {"days": 1}}', '{"days": 1}'),
        ("llama3", '\n{ "name" : "get_weather" , "arguments" : {"days": 1} }', '{"days": 1}'),
        ("llama3", '{"type": "function", "name": "get_weather", "parameters": {}}', "{}"),
        ("llama3", '<|python_tag|>{"name": "get_weather", "parameters": {"days": 1}}', '{"days": 1}'),
        ("granite", '<|tool_call|>[{"name": "get_weather", "arguments": {"days": 1}}]', '{"days": 1}'),
        ("granite", '<|tool_call|>{"name": "get_weather", "arguments": {"days": 1}}', '{"days": 1}'),
        ("mistral", '[TOOL_CALLS][{"name": "get_weather", "arguments": {"days": 1}, "id": "a"}]', '{"days": 1}'),
        ("mistral", '[TOOL_CALLS]get_weather{"days": 1}', '{"days": 1}'),
        ("qwen3_coder", "<function=get_weather>\n<parameter=days>\n1\n</parameter>\n</function>", '{"days": 1}'),
        ("harmony", ' to=functions.get_weather<|channel|>commentary json<|message|>{"days":1}<|call|>', '{"days":1}'),
        ("harmony", '<|channel|>commentary to=functions.get_weather<|message|>{"city":"<|end|>"}<|call|>',
         '{"city":"<|end|>"}'),
        ("gemma4", '<|tool_call>call:get_weather{city:None,near:[1,[<|"|>a"b<|"|>]]}<tool_call|>',
         '{"city":null,"near":[1,["a\\"b"]]}'),
        ("gemma4", "<|tool_call>call:get_weather{city:New York}<tool_call|>", '{"city":"New York"}'),
        ("gemma4", '<|tool_call>call:get_weather{<|"|>city<|"|>:<|"|><|"|>}', '{"city":""}'),
    ],
)  # fmt: skip
def test_tool_calls_that_deviate_from_the_chat_template_are_parsed(
    format_name: str, output: str, arguments: str
) -> None:
    choice = _parse(format_name, output)

    assert choice == ParsedOutput(text="", reasoning="", calls=(("get_weather", arguments),), invalid_tool_call="")


def test_calls_of_kimi_k2_have_the_ids_that_the_model_wrote_unless_they_repeat() -> None:
    call = "<|tool_call_begin|>{}<|tool_call_argument_begin|>{{}}<|tool_call_end|>"
    written = ["functions.noop:4", "functions.get_weather:5", "functions.noop:4", " noop:6 ", "noop"]
    output = "".join(call.format(id_) for id_ in written)
    output_format = choose_output_format(TemplateSamples(), tools="kimi_k2", reasoning="none")
    parser = OutputParser(output_format, OutputContext(tools=_TOOLS), make_call_id=lambda: "fresh")

    deltas = [*parser.feed(output).tool_calls, *parser.finish().tool_calls]

    assert [(delta.id, delta.name) for delta in deltas] == [
        ("functions.noop:4", "noop"),
        ("functions.get_weather:5", "get_weather"),
        ("fresh", "noop"),
        ("noop:6", "noop"),
        ("noop", "noop"),
    ]


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("city", "5", "5"),
        ("city", "a\n\n b ", "a\n\n b "),
        ("days", "5", 5),
        ("days", "five", "five"),
        ("limit", "5", 5),
        ("limit", "-0.5e3", -500.0),
        ("metric", "True", True),
        ("unit", "c", "c"),
        ("unit", "5", 5),
        ("near", '["a",\n1]', ["a", 1]),
        ("near", "['a', True, None, {'b': 1.5}]", ["a", True, None, {"b": 1.5}]),
        ("near", '[{\\"a\\": \\"C:\\\\\\\\b\\"}]', [{"a": "C:\\b"}]),
        ("near", '"[1, 2]"', [1, 2]),
        ("near", "['a'", "['a'"),
        ("near", "{'a': 1}", "{'a': 1}"),
        ("near", '"a"', "a"),
        ("metric", "TRUE", True),
        ("metric", '"false"', False),
        ("days", '"5"', 5),
        ("days", " 5 ", 5),
        ("note", "['a']", "['a']"),
        ("note", "null", None),
        ("note", "None", None),
        ("note", "7", "7"),
        ("near", '["</parameter>", "\\n</parameter>\\""]', ["</parameter>", '\n</parameter>"']),
        ("when", "1", "1"),
        ("when", "null", None),
        ("not_in_the_schema", '{"a": 1}', {"a": 1}),
        ("not_in_the_schema", "NaN", "NaN"),
    ],
)
def test_an_argument_written_as_text_gets_the_type_of_its_schema(name: str, written: str, value: object) -> None:
    output = (
        f"<tool_call>\n<function=get_weather>\n<parameter={name}>\n{written}\n</parameter>\n</function>\n</tool_call>"
    )

    choice = _parse("qwen3_coder", output)

    assert [json.loads(arguments) for _, arguments in choice.calls] == [{name: value}]


@pytest.mark.parametrize(
    ("format_name", "output"),
    [
        ("hermes", "<tool_call>"),
        ("hermes", "<tool_call>get_weather</tool_call>"),
        ("hermes", "<tool_call>{}</tool_call>"),
        ("hermes", '<tool_call>{"id": 5}</tool_call>'),
        ("hermes", '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": 5, "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "name": "noop"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "arguments": }</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "arguments": [1]}</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "arguments": "text"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "arguments": {"a": NaN}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "arguments": {"a": [}]}</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "arguments": {}} and more</tool_call>'),
        ("hermes", '<tool_call>{"name": "no\nop"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "noop", "arguments": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}</tool_call>"),
        ("qwen3_coder", "<tool_call><function=unknown></function></tool_call>"),
        ("qwen3_coder", "<tool_call><function=noop><parameter=a"),
        ("qwen3_coder", "<tool_call><function=noop><parameter=a>1"),
        ("qwen3_coder", f"<tool_call><function=noop><parameter=a>{'[' * 5000 + ']' * 5000}</parameter></function>"),
        ("qwen3_coder", '<tool_call><function=noop><parameter=a>["</parameter></function></tool_call>'),
        ("qwen3_coder", '<tool_call>{"name": "noop", "arguments": {}}</tool_call>'),
        ("mistral", "[TOOL_CALLS]noop[ARGS]now"),
        ("mistral", "[TOOL_CALLS]unknown[ARGS]{}"),
        ("llama3", "<|python_tag|>print(1)"),
        ("llama3", '{"name": "noop", "parameters": {"a": [1, 2'),
        ("deepseek_v31", "<\uff5ctool▁calls▁begin\uff5c>noop"),
        ("deepseek_v31", "<\uff5ctool▁calls▁begin\uff5c><\uff5ctool▁call▁begin\uff5c>noop"),
        ("deepseek_r1", "<\uff5ctool▁call▁begin\uff5c>function<\uff5ctool▁sep\uff5c>noop\n{}"),
        ("kimi_k2", "<|tool_call_begin|>functions.noop:0<|tool_call_argument_begin|>{} and more<|tool_call_end|>"),
        ("harmony", " to=functions.noop<|channel|>comm"),
        ("harmony", '<|channel|>commentary to=functions.noop<|message|>{"a":<|call|>'),
        ("harmony", "<|channel|>commentary to=browser<|message|>{}<|call|>"),
        ("apertus", '<|tools_prefix|>[{"noop": {}, "get_weather": {}}]'),
        ("apertus", "<|tools_prefix|>{}"),
        ("lfm2", "<|tool_call_start|>[noop"),
        ("lfm2", "<|tool_call_start|>[noop(a=" + "[" * 5000 + "]" * 5000 + ")]"),
        ("lfm2", "<|tool_call_start|>[noop(a={[]: 1})]"),
        ("lfm2", "<|tool_call_start|>[noop(a={'b': 1, 'c'})]"),
        ("lfm2", "<|tool_call_start|>[noop(a='\\U00110000')]"),
        ("lfm2", "<|tool_call_start|>[noop(a=1j)]"),
        ("lfm2", "<|tool_call_start|>[noop(a='python -c \"print('b')\"')]"),
        ("lfm2", "<|tool_call_start|>[noop(a=" + "0x" + "f" * 9000 + ")]"),
        ("lfm2", "<|tool_call_start|>[noop(a=f'b')]"),
        ("lfm2", "<|tool_call_start|>[noop(**{})]"),
        ("phi4_mini", 'functools[{"function": {"function": {"name": "noop"}}}]'),
        ("gemma4", "<|tool_call>noop"),
        ("gemma4", "<|tool_call>call:unknown{}<tool_call|>"),
        ("gemma4", "<|tool_call>call:noop{a:[1}]<tool_call|>"),
        ("gemma4", "<|tool_call>call:noop{a:1"),
        ("gemma4", "<|tool_call>call:noop{a:<b}<tool_call|>"),
        ("gemma4", '<|tool_call>call:noop{a:<|"|>b'),
    ],
)  # fmt: skip
def test_a_malformed_tool_call_is_returned_as_raw_text(format_name: str, output: str) -> None:
    choice = _parse(format_name, output)

    assert choice == ParsedOutput(text="", reasoning="", calls=(), invalid_tool_call=output)


@pytest.mark.parametrize(
    ("format_name", "output"),
    [
        ("llama3", '{"answer": 42}'),
        ("llama3", ' {"name": "Bern", "parameters": {}}'),
        ("llama3", '{"name": "noop", "age": 3}'),
        ("llama3", "{ "),
        ("llama3", 'As JSON: {"name": "noop", "age": 3}'),
        ("qwen3_coder", "write <function=name> and\n <function="),
        ("harmony", "no header at all"),
    ],
)
def test_what_only_looks_like_a_tool_call_is_text(format_name: str, output: str) -> None:
    assert _parse(format_name, output) == ParsedOutput(text=output, reasoning="", calls=(), invalid_tool_call="")


@pytest.mark.parametrize(
    ("format_name", "output"),
    [
        ("hermes", '<tool_call>{"name": "noop"}\n{"name": "noop"}</tool_call>'),
        ("llama3", '{"name": "noop", "parameters": {}}; {"name": "noop", "parameters": {}}'),
        ("qwen3_coder", "<tool_call><function=noop></function><function=noop></function></tool_call>"),
        ("harmony", ("<|channel|>commentary to=functions.noop<|message|>{}<|call|><|start|>assistant" * 2)[:-18]),
    ],
)
def test_several_tool_calls_in_one_block_are_parsed(format_name: str, output: str) -> None:
    assert _parse(format_name, output).calls == (("noop", "{}"), ("noop", "{}"))


def test_a_malformed_tool_call_does_not_void_the_one_before_it() -> None:
    choice = _parse("mistral_list", '[TOOL_CALLS][{"name": "noop", "arguments": {}}, {"name": "unknown')

    assert choice.calls == (("noop", "{}"),)
    assert choice.invalid_tool_call == ', {"name": "unknown'
