"""Compiling response formats and tools: what the grammars allow, what is rejected, and what is cached."""

import json
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from onward_server.completion.answer.format_registry import TOOL_FORMATS
from onward_server.domain import (
    ChoiceFormat,
    FunctionTool,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from onward_server.errors import InvalidReason, InvalidRequest, StartupError
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.tool_calls import (
    BareNotation,
    CallFrame,
    ElementNotation,
    KeywordNotation,
    OfferedTool,
    ReasoningFrame,
    ToolCallConstraint,
)
from onward_server.grammar.trial import Trial
from testing.call_cases import HERMES, LLAMA, MISTRAL, TOOLS
from testing.sampling import RandomSampler
from testing.vocabularies import EOS_TOKEN_IDS, small_vocabulary

TEXT_FRAME = CallFrame(
    trigger="<call>", begin='<call>{"name": "', arguments_begin='", "arguments": ', end="}</call>", separator="\n"
)
HERMES_CALL = '<tool_call>\n{"name": "add", "arguments": {"x": 1, "y": "one"}}\n</tool_call>'
TEXT_CALL = '<call>{"name": "add", "arguments": {"x": 1, "y": "one"}}</call>'
LLAMA_CALL = '{"name": "add", "parameters": {"x": 1, "y": "one"}}'
MISTRAL_CALLS = '[TOOL_CALLS][{"name": "now", "arguments": {}}, {"name": "now", "arguments": { }}]'
THINK = ReasoningFrame(begin="<think>", end="</think>", is_open=False)


@pytest.fixture(scope="module")
def writer() -> RandomSampler:
    return RandomSampler.small()


def calls(writer: RandomSampler, frame: CallFrame, **constraint: object) -> Grammar:
    given: dict[str, Any] = {"tools": TOOLS, "is_required": False, "is_parallel": True, **constraint}
    grammar = writer.compile_tool_calls(ToolCallConstraint(frame=frame, **given))
    assert grammar is not None
    return grammar


def assert_allows(writer: RandomSampler, grammar: Grammar, allowed: list[str], others: list[str]) -> None:
    assert [text for text in allowed + others if writer.allows(grammar, text)] == allowed


@pytest.mark.parametrize(
    ("response_format", "allowed", "others"),
    [
        (JsonObjectFormat(), ["{}", '{"a": [1, {"b": null}]}', '{\n  "a" : 1\n}'], ["[]", "{} ", "", '{  "a": 1}']),
        (JsonSchemaFormat(schema="true"), ["null", "[1, 2.5e3]"], ["nul"]),
        (RegexFormat(pattern="a|bc"), ["a", "bc"], ["", "abc", "xa", "bcd"]),
        (RegexFormat(pattern="^a/b$"), ["a/b"], ["xa/b", "a/b\n"]),
        (RegexFormat(pattern=r"\d\w\s"), ["1a "], ["\u0663a ", "1é "]),
        (RegexFormat(pattern=""), [""], ["a"]),
        (ChoiceFormat(choices=("a", "ab", "a.b", "")), ["a", "ab", "a.b", ""], ["b", "axb", "aba"]),
        (ChoiceFormat(choices=('"/é\\\n(',)), ['"/é\\\n('], ['"/é\\']),
        (GrammarFormat(definition='start: "(" start ")" | "x"'), ["x", "((x))"], ["((x)", "()"]),
    ],
    ids=str,
)
def test_a_format_allows_exactly_its_outputs(
    writer: RandomSampler, response_format: ResponseFormat, allowed: list[str], others: list[str]
) -> None:
    assert_allows(writer, writer.compile(response_format), allowed, others)


def test_properties_come_in_the_order_of_the_schema(writer: RandomSampler) -> None:
    schema = '{"type": "object", "properties": {"z": {}, "a": {}}, "required": ["a", "z"]}'
    grammar = writer.compile(JsonSchemaFormat(schema=schema))
    assert_allows(writer, grammar, ['{"z": 1, "a": 2}', '{"z": 1, "a": 2, "b": 3}'], ['{"a": 2, "z": 1}'])


def test_a_key_has_only_one_spelling(writer: RandomSampler) -> None:
    """Otherwise an escaped key would count as an unlisted one, whose value may be anything."""
    schema = '{"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}}'
    grammar = writer.compile(JsonSchemaFormat(schema=schema))
    assert_allows(writer, grammar, ['{"a": 1}', '{"b": "x"}'], ['{"\\u0061": "x"}', '{"a": "x"}'])


@pytest.mark.parametrize(
    ("response_format", "message"),
    [
        (JsonSchemaFormat(schema="{"), "response_format.json_schema.schema: not JSON: line 1, column 2: "),
        (JsonSchemaFormat(schema='{"uniqueItems": true}'), "response_format.json_schema.schema: at #/uniqueItems: "),
        (
            JsonSchemaFormat(schema='{"$ref": "#"}'),
            "response_format.json_schema.schema: at #: the schema refers to itself",
        ),
        (JsonSchemaFormat(schema="false"), "response_format.json_schema.schema: no value can match it"),
        (JsonSchemaFormat(schema=" " * 4_000_000), "response_format.json_schema.schema: has 4000000 bytes; at most"),
        (
            JsonSchemaFormat(schema='{"patternProperties": {"a": {}, "b": {}}}'),
            "response_format.json_schema.schema: a name may match two patterns",
        ),
        (RegexFormat(pattern="x(a"), "response_format.regex.pattern: at character 1 of the regular expression: "),
        (RegexFormat(pattern="a\\\\\\"), "response_format.regex.pattern: at character 3: a backslash"),
        (RegexFormat(pattern="a" * 9000), "response_format.regex.pattern: has 9000 bytes"),
        (RegexFormat(pattern="[a&&b]"), "response_format.regex.pattern: nothing can match it"),
        (GrammarFormat(definition=" " * 40_000), "response_format.grammar.definition: has 40000 bytes"),
        (GrammarFormat(definition="start: <|end|>"), "response_format.grammar.definition: line 1, column 8: control"),
        (ChoiceFormat(choices=()), "response_format.choice.choices: is empty"),
        (ChoiceFormat(choices=("a",) * 1025), "response_format.choice.choices: has 1025 choices; at most 1024"),
        (ChoiceFormat(choices=("a", "b" * 66_000)), "response_format.choice.choices\\[1\\]: "),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_error_names_the_field_of_the_rejected_format(
    writer: RandomSampler, response_format: ResponseFormat, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}") as refused:
        writer.compile(response_format)
    assert refused.value.reason is InvalidReason.INVALID_RESPONSE_FORMAT


def test_free_text_may_be_followed_by_calls_of_strict_tools_only(writer: RandomSampler) -> None:
    grammar = calls(writer, HERMES)
    wrong = [HERMES_CALL.replace(*change) for change in (("add", "sub"), ("one", "two point five"), (', "y"', ', "z"'))]
    allowed = ["", "hello {", HERMES_CALL, f"hello\n{HERMES_CALL}\n{HERMES_CALL}"]
    assert_allows(writer, grammar, allowed, [*wrong, f"{HERMES_CALL}x", "<tool_call>", "a <|start|>", "a</tool_call>"])


def test_a_trigger_in_plain_text_begins_a_call_too(writer: RandomSampler) -> None:
    grammar = calls(writer, TEXT_FRAME)
    allowed = ["hello", "a < b <cal", TEXT_CALL, f"so: {TEXT_CALL}\n{TEXT_CALL}"]
    assert_allows(writer, grammar, allowed, ["<call>", "a <call> b", f"{TEXT_CALL}\n", TEXT_CALL.replace("1", "null")])


@pytest.mark.parametrize("frame", [HERMES, MISTRAL], ids=["hermes", "mistral"])
def test_free_text_cannot_contain_a_trigger_spelled_out(writer: RandomSampler, frame: CallFrame) -> None:
    """The parser sees only text, so such a call would evade the strict schema."""
    grammar = calls(writer, frame, tools=TOOLS[:1])
    assert writer.allows(grammar, "so: ", *frame.trigger[:-1])
    assert not writer.allows(grammar, "so: ", *frame.trigger)


def test_reasoning_cannot_contain_its_end_marker_spelled_out(writer: RandomSampler) -> None:
    """Otherwise the text after it would evade the response format."""
    grammar = writer.compile(JsonObjectFormat(), THINK)
    assert writer.allows(grammar, "<think>", *"</think", "</think>{}")
    assert not writer.allows(grammar, "<think>", *"</think>", "</think>{}")


def test_reasoning_that_the_prompt_has_begun_does_not_start_with_a_call(writer: RandomSampler) -> None:
    """The parser would read a call there, because models may skip reasoning; it would evade the strict schema."""
    opened = ReasoningFrame(begin="<think>", end="</think>", is_open=True)
    grammar = calls(writer, TEXT_FRAME, reasoning=opened)
    allowed = [f"hm <call> x</think>{TEXT_CALL}", "hm</think>hello"]
    assert_allows(writer, grammar, allowed, [f"{TEXT_CALL}</think>{TEXT_CALL}", "\n<call> x</think>hello"])


def test_a_call_that_is_the_whole_output_begins_at_its_start(writer: RandomSampler) -> None:
    grammar = calls(writer, LLAMA)
    assert_allows(writer, grammar, ["hello", LLAMA_CALL, f"no {LLAMA_CALL}x"], ['{"a": 1}', ' {"a"', f"{LLAMA_CALL}x"])


def test_a_required_call_is_the_whole_output(writer: RandomSampler) -> None:
    grammar = calls(writer, MISTRAL, is_required=True)
    assert_allows(writer, grammar, [MISTRAL_CALLS], ["hello", f"a{MISTRAL_CALLS}", "[TOOL_CALLS][]", "[TOOL_CALLS]"])


def test_without_parallel_calls_an_output_has_one_call(writer: RandomSampler) -> None:
    one = '[TOOL_CALLS][{"name": "now", "arguments": {}}]'
    assert_allows(writer, calls(writer, MISTRAL, is_parallel=False), [one], [MISTRAL_CALLS])


def test_a_tool_that_is_not_strict_takes_any_object_unless_it_is_required(writer: RandomSampler) -> None:
    strict = OfferedTool(tool=FunctionTool(name="now", strict=True), field="tools[0].function")
    loose = OfferedTool(tool=FunctionTool(name="add", parameters='{"required": ["x"]}'), field="tools[1].function")
    any_call = HERMES_CALL.replace('{"x": 1, "y": "one"}', '{"a": null}')
    assert_allows(writer, calls(writer, HERMES, tools=(strict, loose)), [any_call, HERMES_CALL], [])
    assert_allows(writer, calls(writer, HERMES, tools=(strict, loose), is_required=True), [HERMES_CALL], [any_call])


def call_with_b(frame: CallFrame, name: str) -> str:
    """The call of a tool with the argument `b`, whose value is `c`."""
    match frame.notation:
        case None:
            arguments = '{"b": "c"}'
        case ElementNotation() as n:
            arguments = f"{n.begin}b{n.name_end}{n.string_begin}c{n.end}"
        case BareNotation(quote=quote):
            arguments = f"b:{quote}c{quote}"
        case KeywordNotation():
            arguments = 'b="c"'
    call = f"{frame.begin}{name}{frame.arguments_begin}{arguments}{frame.end}"
    return f"{frame.section_begin}{call}{frame.section_end}"


NOT_ENFORCEABLE = {
    "a keyword": '{"properties": {"a": {"uniqueItems": true}}}',
    "a negation": '{"properties": {"a": {"not": {"pattern": "a"}}}}',
    "a format": '{"properties": {"a": {"type": "string", "format": "path"}}}',
    "a lookahead": '{"properties": {"a": {"type": "string", "pattern": "(?!b)a"}}}',
    "a type": '{"properties": {"a": {"type": "strin"}}}',
    "no value": '{"type": "string"}',
    "a reference": '{"properties": {"a": {"$ref": "https://example.com/a"}}}',
    "too many patterns": json.dumps(
        {"properties": {f"a{i}": {"pattern": f"^(a|b)*{i}$", "maxLength": 9} for i in range(250)}}
    ),
}


@pytest.mark.parametrize("name", NOT_ENFORCEABLE)
@pytest.mark.parametrize("tool_format", ["hermes", "llama3", "qwen3_coder", "gemma4"])
def test_a_schema_that_cannot_be_enforced_rejects_a_required_call_only_if_it_is_strict(
    writer: RandomSampler, tool_format: str, name: str
) -> None:
    """One such tool made `tool_choice="required"` fail for all tools."""
    frame = next(known.frame for known in TOOL_FORMATS if known.name == tool_format)
    wrong = FunctionTool(name="wrong", parameters=NOT_ENFORCEABLE[name])
    offered = OfferedTool(tool=wrong, field="tools[2].function")
    strict = replace(offered, tool=FunctionTool(name="wrong", parameters=wrong.parameters, strict=True))
    both = (*TOOLS[:2], offered)

    grammar = calls(writer, frame, tools=both, is_required=True)
    assert_allows(writer, grammar, [call_with_b(frame, "wrong")], ["hello"])
    with pytest.raises(
        InvalidRequest, match=r"^tools(\[2\].function.parameters)?: .*; change the schema, or set strict"
    ):
        calls(writer, frame, tools=(*TOOLS[:2], strict), is_required=True)


def test_a_schema_that_is_not_enforced_leaves_the_other_schemas_enforced(writer: RandomSampler) -> None:
    wrongs = ("a keyword", "too many patterns")
    tools = [OfferedTool(tool=FunctionTool(name="add", parameters='{"required": ["x"]}'), field="tools[0].function")]
    for index, name in enumerate(wrongs, 1):
        tool = FunctionTool(name=f"wrong{index}", parameters=NOT_ENFORCEABLE[name])
        tools.append(OfferedTool(tool=tool, field=f"tools[{index}].function"))
    grammar = calls(writer, HERMES, tools=tuple(tools), is_required=True)
    assert_allows(writer, grammar, [HERMES_CALL], [HERMES_CALL.replace('"x"', '"z"')])


def test_tools_that_are_too_large_together_are_enforced_only_if_they_are_strict(writer: RandomSampler) -> None:
    enum = [f"{i}" * 50 for i in range(5000)]
    wide = FunctionTool(name="wide", parameters=json.dumps({"properties": {"a": {"enum": enum}}}))
    tools = tuple(OfferedTool(tool=wide, field=f"tools[{i}].function") for i in range(6))
    grammar = calls(writer, HERMES, tools=tools, is_required=True)
    assert_allows(writer, grammar, [HERMES_CALL.replace("add", "wide")], ["hello"])


def test_a_response_format_constrains_outputs_without_calls(writer: RandomSampler) -> None:
    grammar = calls(writer, HERMES, response_format=JsonObjectFormat())
    assert_allows(writer, grammar, ['{"a": 1}', HERMES_CALL], ["hello", f"{{}}{HERMES_CALL}", '{"a": "<tool_call>"}'])


def test_json_output_and_a_json_call_may_share_their_first_characters(writer: RandomSampler) -> None:
    grammar = calls(writer, LLAMA, response_format=JsonSchemaFormat(schema='{"type": "object", "maxProperties": 1}'))
    allowed = [LLAMA_CALL, "{}", '{"a": 1}', '{"name": "add"}', '{"name": 1}']
    assert_allows(writer, grammar, allowed, ["hello", LLAMA_CALL.replace("1", '"1"'), f"{LLAMA_CALL};"])


def test_call_ids_are_nine_alphanumerics(writer: RandomSampler) -> None:
    frame = CallFrame(trigger="[TOOL_CALLS]", begin="[TOOL_CALLS]", id_begin="#", arguments_begin=":", separator="")
    grammar = calls(writer, frame, is_required=True)
    one = "[TOOL_CALLS]now#abc123XYZ:{}"
    assert_allows(writer, grammar, [one, one + one], ["[TOOL_CALLS]now#abc:{}", "[TOOL_CALLS]now:{}"])


@pytest.mark.parametrize("end", ["</think>", "</reason>"], ids=["control token", "plain text"])
def test_the_constraint_starts_where_reasoning_ends(writer: RandomSampler, end: str) -> None:
    opened = ReasoningFrame(begin="", end=end, is_open=True)
    grammar = writer.compile(JsonObjectFormat(), opened)
    assert_allows(writer, grammar, [f"hm {{{end}\n\n{{}}", f"{end}{{}}"], ["{}", f"hm{end}x", f"a{end}b{end}{{}}"])


def test_no_newlines_are_added_after_reasoning_if_the_output_may_begin_with_newlines(writer: RandomSampler) -> None:
    grammar = writer.compile(RegexFormat(pattern=r"\n*yes"), THINK)
    assert_allows(writer, grammar, ["\n\n\nyes", "<think>hm</think>\n\n\nyes"], [])
    grammar = writer.compile(RegexFormat(pattern="yes"), THINK)
    assert_allows(writer, grammar, ["<think>hm</think>yes"], ["<think>hm</think>\nyes"])


def test_reasoning_that_the_prompt_has_not_begun_may_be_skipped(writer: RandomSampler) -> None:
    grammar = writer.compile(RegexFormat(pattern="yes|no"), THINK)
    assert_allows(writer, grammar, ["yes", "<think>hm</think>no"], ["<think>yes", "hm</think>no", "<think></think>"])
    assert_allows(
        writer, calls(writer, HERMES, reasoning=THINK), [f"<think>a</think>\n{HERMES_CALL}", "b"], ["a</think>"]
    )


def test_markers_may_be_required_before_the_output(writer: RandomSampler) -> None:
    think = ReasoningFrame(begin="<|start|>think", end="</think><|start|>", is_open=False)
    grammar = writer.compile(RegexFormat(pattern="yes"), think, output_begin="answer:")
    assert_allows(writer, grammar, ["answer:yes", "<|start|>think hm</think><|start|>answer:yes"], ["yes"])


def test_markers_before_the_output_distinguish_text_from_calls(writer: RandomSampler) -> None:
    frame = CallFrame(
        trigger="<|start|>to=",
        begin="<|start|>to=",
        arguments_begin="<|stop|>",
        end="<|start|>",
        output_begin="<|start|>final:",
    )
    call = "<|start|>to=now<|stop|>{}<|start|>"
    assert_allows(writer, calls(writer, frame), ["<|start|>final:hi", call], ["hi", f"<|start|>final:hi{call}"])
    bound = calls(writer, frame, response_format=JsonObjectFormat())
    assert_allows(writer, bound, ["<|start|>final:{}", call], ["{}", "<|start|>final:hi"])


def test_reasoning_ends_before_the_markers_of_the_output(writer: RandomSampler) -> None:
    frame = CallFrame(
        trigger="<|start|>to=", begin="<|start|>to=", arguments_begin=":", end="", output_begin="<|start|>final:"
    )
    think = ReasoningFrame(begin="<|start|>think:", end="</think>", is_open=False, other_ends=("<|start|>",))
    grammar = calls(writer, frame, reasoning=think, is_required=True, tools=TOOLS[2:])
    call = "</think><|start|>to=now:{}"
    assert_allows(writer, grammar, ["<|start|>to=now:{}", f"<|start|>think:hm{call}"], [f"hm{call}"])
    assert writer.allows(grammar, "<|start|>think:", *"<|start|", call)
    assert not writer.allows(grammar, "<|start|>think:", *"<|start|>", call)


def test_nothing_is_constrained_without_a_strict_tool_or_a_format(writer: RandomSampler) -> None:
    loose = OfferedTool(tool=FunctionTool(name="add"), field="tools[0].function")
    constraint = ToolCallConstraint(frame=HERMES, tools=(loose,), is_required=False, is_parallel=True)
    assert writer.compile_tool_calls(constraint) is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('{"uniqueItems": true}', r"tools\[4\].function.parameters: at #/uniqueItems"),
        ('{"type": "string"}', r"tools\[4\].function.parameters: no value can match it"),
        ('{"properties": {"a": false}, "required": ["a"]}', r"tools\[4\].function.parameters: no value"),
    ],
)
def test_the_tool_whose_schema_does_not_compile_is_named(writer: RandomSampler, parameters: str, message: str) -> None:
    wrong = FunctionTool(name="wrong", parameters=parameters, strict=True)
    with pytest.raises(InvalidRequest, match=message):
        calls(writer, HERMES, tools=(*TOOLS, OfferedTool(tool=wrong, field="tools[4].function")))


def test_the_total_size_of_all_tools_is_limited(writer: RandomSampler) -> None:
    enum = [f"{i}" * 50 for i in range(5000)]
    tool = FunctionTool(name="wide", parameters=json.dumps({"properties": {"a": {"enum": enum}}}), strict=True)
    offered = tuple(OfferedTool(tool=tool, field=f"tools[{i}].function") for i in range(6))
    with pytest.raises(InvalidRequest, match="tools: is too large to be enforced"):
        calls(writer, HERMES, tools=offered)


@pytest.mark.parametrize(
    ("pattern", "letters", "num_outputs"),
    [("(a{1,100}){1,100}", "a", 1), ("(a|b)*a(a|b){25}", "ab", 30)],
    ids=["one that costs much", "many that cost much"],
)
def test_each_output_of_a_constraint_has_its_own_budget(
    writer: RandomSampler, pattern: str, letters: str, num_outputs: int
) -> None:
    """Copies of one matcher would share lexer states, so the constraint would soon be too costly for all outputs."""
    for number in range(num_outputs):
        with suppress(InvalidRequest):
            text = "".join(Random(number).choices(letters, k=300))
            writer.allows(writer.compile(RegexFormat(pattern=pattern)), *text)
    grammar = writer.compile(RegexFormat(pattern=pattern))
    first, second = grammar.matcher(), grammar.matcher()
    for token_id in writer.ids_of("a"):
        first.accept(token_id)
        second.accept(token_id)


def test_the_cache_of_trials_drops_the_least_recently_used_grammar() -> None:
    compiler = GrammarCompiler(
        small_vocabulary().tokenizer_json, vocabulary_size=512, eos_token_ids=EOS_TOKEN_IDS, cache_bytes=150
    )
    remembered: list[str] = []
    for pattern in "abaca":
        compiler.compile(ChoiceFormat(choices=(pattern,))).result()
        remembered.append("".join(re.findall("/([abc])/", " ".join(compiler._known))))
    assert remembered == ["a", "ab", "ba", "ac", "ca"]
    compiler.close()


def test_threads_may_compile_at_the_same_time(writer: RandomSampler) -> None:
    def compiled(number: int) -> bool:
        grammar = writer.compile(RegexFormat(pattern=f"n{number % 7}"))
        return grammar.matcher().may_end

    with ThreadPoolExecutor(8) as threads:
        assert not any(threads.map(compiled, range(100)))


@pytest.mark.parametrize(
    ("tokenizer_json", "vocabulary_size", "eos_token_ids", "message"),
    [
        (small_vocabulary().tokenizer_json, 512, frozenset[int](), "without an end-of-sequence token"),
        (small_vocabulary().tokenizer_json, 100, EOS_TOKEN_IDS, "with this tokenizer: vocab size too small"),
        ("{}", 512, EOS_TOKEN_IDS, "with this tokenizer"),
    ],
    ids=["no end", "more tokens than logits", "no tokenizer"],
)
def test_a_tokenizer_that_cannot_be_constrained_prevents_the_start(
    tokenizer_json: str, vocabulary_size: int, eos_token_ids: frozenset[int], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        GrammarCompiler(tokenizer_json, vocabulary_size=vocabulary_size, eos_token_ids=eos_token_ids)


class Panic(BaseException):
    """Derived from BaseException, as panics in Rust are."""


def test_a_constraint_on_which_the_library_panics_is_rejected_and_the_next_one_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exception was no Exception, so the call was never answered."""
    vocabulary = small_vocabulary()
    compiler = GrammarCompiler(vocabulary.tokenizer_json, vocabulary_size=512, eos_token_ids=EOS_TOKEN_IDS)

    def panic(*_: object) -> None:
        raise Panic

    with monkeypatch.context() as patched:
        patched.setattr(Trial, "error", panic)
        with pytest.raises(InvalidRequest, match=r"^response_format: the library that enforces constraints failed"):
            compiler.compile(RegexFormat(pattern="a+")).result()
    assert compiler.compile(RegexFormat(pattern="a+")).result().matcher()
    compiler.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own")
def test_compiling_has_a_lower_priority_than_the_model() -> None:
    """The neighbors of 18 costly constraints waited up to four times as long for a token."""
    vocabulary = small_vocabulary()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    compiler = GrammarCompiler(vocabulary.tokenizer_json, vocabulary_size=512, eos_token_ids=EOS_TOKEN_IDS)
    worker = compiler._workers.submit(threading.get_native_id).result()
    assert os.getpriority(os.PRIO_PROCESS, worker) == min(own + 7, 19)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
    compiler.close()
