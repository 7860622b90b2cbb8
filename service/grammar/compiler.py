"""Turns response formats and offered tools into grammars for one model's tokens; it knows no prompts and draws nothing."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from service.domain import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from service.errors import InvalidReason, InvalidRequest, StartupError
from service.grammar import lark
from service.grammar.lark import ControlTokens
from service.grammar.matcher import GrammarMatcher
from service.grammar.tool_calls import CallFrame, OfferedTool, ThinkingFrame, ToolCallConstraint

_LIMITS = LLParserLimits(verbose_errors=False)
# One space, or a line break and what indents the next line: what models write, and no endless run of blanks.
_JSON_OPTIONS = {"whitespace_pattern": r" |\n[ \t]{0,40}", "json_allowed_escapes": 'nrbtf\\"'}
_ANY_OBJECT = '{"type": "object"}'
_NO_ARGUMENTS = '{"type": "object", "properties": {}, "additionalProperties": false}'


@dataclass(frozen=True, slots=True)
class Grammar:
    """A compiled constraint, shared by all answers that are bound by it."""

    _template: LLMatcher
    _field: str

    def matcher(self) -> GrammarMatcher:
        """A matcher at the start; costs about a millisecond."""
        return GrammarMatcher(self._template.deep_copy(), self._field)


class GrammarCompiler:
    """Compiles for one model's tokenizer; can be used by several threads at once."""

    def __init__(
        self,
        tokenizer_json: str,
        *,
        vocabulary_size: int,
        eos_token_ids: frozenset[int],
        cache_bytes: int = 64 * 2**20,
    ) -> None:
        """`vocabulary_size`: the width of the logits; ids beyond the tokenizer are never allowed.

        Raises:
            StartupError: This kind of tokenizer cannot be constrained.
        """
        if not eos_token_ids:
            raise StartupError("a model without an end-of-sequence token cannot be constrained")
        try:
            self._tokenizer = LLTokenizer(tokenizer_json, n_vocab=vocabulary_size, eos_token=sorted(eos_token_ids))
        except ValueError as error:
            raise StartupError(f"answers cannot be constrained with this tokenizer: {error}") from error
        added_tokens: list[Mapping[str, object]] = json.loads(tokenizer_json).get("added_tokens") or []
        ids = {str(token["content"]): int(str(token["id"])) for token in added_tokens}
        self._control = ControlTokens({text: id_ for text, id_ in ids.items() if self._tokenizer.is_special_token(id_)})
        self._cache: OrderedDict[str, Grammar] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()

    def compile(self, response_format: ResponseFormat, thinking: ThinkingFrame | None = None) -> Grammar:
        """Compiles the constraint on a whole answer, or on what follows its thinking.

        Blocks for milliseconds as a rule, 3 s at worst.

        Raises:
            InvalidRequest: It does not compile, or costs too much.
        """
        field, body = _body(response_format, "answer")
        if thinking is None:
            return self._compiled(field, lark.grammar_set(body))
        rules = f"start: thinking @answer\n{self._thinking(thinking)}"
        return self._compiled(field, lark.grammar_set({"lark_grammar": rules}, body))

    def compile_tool_calls(self, constraint: ToolCallConstraint) -> Grammar | None:
        """Compiles the constraint on an answer that may call tools; None: nothing is to be constrained.

        Blocks as `compile` does.

        Raises:
            InvalidRequest: A schema or the format does not compile, or costs too much.
        """
        offered = constraint.tools
        is_bound = constraint.is_required or constraint.response_format or any(o.tool.strict for o in offered)
        if not is_bound:
            return None
        others = [_arguments(index, tool, constraint) for index, tool in enumerate(offered)]
        field = "tools"
        if constraint.response_format is not None:
            field, body = _body(constraint.response_format, "answer")
            others.append(body)
        return self._compiled(field, lark.grammar_set({"lark_grammar": self._calls(constraint)}, *others))

    def _calls(self, constraint: ToolCallConstraint) -> str:
        frame = constraint.frame
        calls, further = self._call_list(constraint)
        rules = [
            self._thinking(constraint.thinking),
            f"calls: {calls}",
            "call: " + " | ".join(self._call(frame, index, offered) for index, offered in enumerate(constraint.tools)),
            *further,
        ]
        literal = self._control.literal
        if constraint.is_required:
            return "\n".join([f"start: thinking {literal(frame.section_begin + frame.begin)} calls", *rules])
        if constraint.response_format is not None:
            begun = literal(frame.section_begin + frame.begin)
            start = f"start: thinking ({literal(frame.answer_begin)} @answer | {begun} calls)"
            return "\n".join([start, *rules])
        token, rest = self._control.split_first(frame.trigger)
        if token is None:
            triggers = (frame.trigger, *frame.other_triggers)
            head_rules = [f"head[lazy]: {lark.ANY_TEXT} {lark.quoted(frame.trigger)}"]
            head = "head"
        else:
            triggers = frame.other_triggers
            head_rules = []
            head = f"TEXT {token}" + (f" {literal(rest)}" if rest else "")
        texts = tuple(text for text in triggers if text not in self._control.ids)
        starts = tuple(text for text in frame.start_triggers if text not in self._control.ids)
        remainder = literal((frame.section_begin + frame.begin).removeprefix(frame.trigger))
        start = f"start: thinking {literal(frame.answer_begin)} (TEXT | {head} {remainder} calls)"
        return "\n".join([start, f"TEXT: {lark.text_without(*texts, prefixes=starts)}", *head_rules, *rules])

    def _call_list(self, constraint: ToolCallConstraint) -> tuple[str, list[str]]:
        """What follows the begin of the first call: the rest of it, and further calls."""
        frame = constraint.frame
        literal = self._control.literal
        if constraint.is_parallel and frame.separator is not None:
            further = literal(frame.separator + frame.begin)
            return f"call ({further} call)* {literal(frame.section_end)}", []
        return f"call {literal(frame.section_end)}", []

    def _call(self, frame: CallFrame, index: int, offered: OfferedTool) -> str:
        literal = self._control.literal
        name = offered.tool.name
        if frame.id_begin:
            opening = f"{literal(name + frame.id_begin)} /[a-zA-Z0-9]{{9}}/ {literal(frame.arguments_begin)}"
        else:
            opening = literal(name + frame.arguments_begin)
        return f"{opening} @arguments_{index} {literal(frame.end)}"

    def _thinking(self, thinking: ThinkingFrame | None) -> str:
        """Defines the rule `thinking`: all up to its end, and the newlines that set it apart from what follows."""
        if thinking is None:
            return 'thinking: ""'
        literal = self._control.literal
        token, rest = self._control.split_first(thinking.end)
        if token is None:
            end = f"thought[lazy]: {lark.ANY_TEXT} {lark.quoted(thinking.end)}"
        else:
            end = f"thought: {lark.ANY_TEXT} {token} {literal(rest)}"
        closed = r"thought /\n{0,2}/"
        body = closed if thinking.is_open else f"({literal(thinking.begin)} {closed})?"
        return f"thinking: {body}\n{end}"

    def _compiled(self, field: str, text: str) -> Grammar:
        with self._lock:
            if text in self._cache:
                self._cache.move_to_end(text)
                return self._cache[text]
        template = LLMatcher(self._tokenizer, text, limits=_LIMITS, log_level=0)
        if not template.is_error():
            template.compute_bitmask()
        if template.is_error():
            raise _refusal(field, template.get_error())
        grammar = Grammar(template, field)
        with self._lock:
            self._cache[text] = grammar
        return grammar


def _body(response_format: ResponseFormat, name: str) -> tuple[str, lark.Grammar]:
    """The path of a format in a request, and its grammar."""
    match response_format:
        case JsonObjectFormat():
            return "response_format.json_object", _json_grammar(name, _ANY_OBJECT)
        case JsonSchemaFormat(schema=schema):
            return "response_format.json_schema.schema", _json_grammar(name, schema)
        case RegexFormat(pattern=pattern):
            return "response_format.regex.pattern", _regex_grammar(name, pattern)
        case GrammarFormat(definition=definition):
            return "response_format.grammar.definition", {"name": name, "lark_grammar": definition}
        case ChoiceFormat(choices=choices):
            pattern = "|".join(map(lark.regex_literal, choices))
            return "response_format.choice.choices", _regex_grammar(name, pattern)
        case _:
            assert_never(response_format)


def _arguments(index: int, offered: OfferedTool, constraint: ToolCallConstraint) -> lark.Grammar:
    is_bound = constraint.is_required or offered.tool.strict
    schema = (offered.tool.parameters or _NO_ARGUMENTS) if is_bound else _ANY_OBJECT
    return _json_grammar(f"arguments_{index}", schema)


def _json_grammar(name: str, schema: str) -> lark.Grammar:
    return {"name": name, "json_schema": {**json.loads(schema), "x-guidance": _JSON_OPTIONS}}


def _regex_grammar(name: str, pattern: str) -> lark.Grammar:
    return {"name": name, **json.loads(LLMatcher.grammar_from_regex(pattern))["grammars"][0]}


def _refusal(field: str, error: str) -> InvalidRequest:
    del error
    return InvalidRequest.of(field, "does not compile", InvalidReason.INVALID_RESPONSE_FORMAT)
