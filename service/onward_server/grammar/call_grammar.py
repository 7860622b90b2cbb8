"""Writes the grammar of answers that may call tools, and of the thinking before an answer; it knows no formats."""

from dataclasses import dataclass

from onward_server.grammar import lark
from onward_server.grammar.lark import ControlTokens
from onward_server.grammar.tool_calls import CallFrame, OfferedTool, ThinkingFrame, ToolCallConstraint

ANSWER = "answer"
"""The grammar of an answer that calls no tool."""


def arguments_name(index: int) -> str:
    """The grammar of the arguments of a tool."""
    return f"arguments_{index}"


@dataclass(frozen=True, slots=True)
class CallGrammar:
    """Writes for one tokenizer."""

    control: ControlTokens

    def after_thinking(
        self, thinking: ThinkingFrame | None, answer_begin: str, *, takes_newlines: bool
    ) -> lark.Grammar:
        """Thinking, then an answer; `takes_newlines`: some may set it apart, as it cannot begin with any."""
        thinking_rule = "apart" if takes_newlines and not answer_begin else "thinking"
        start = f"start: {thinking_rule} {self.control.literal(answer_begin)} @{ANSWER}"
        return _rules(start, *self._thinking(thinking, ()))

    def with_calls(self, constraint: ToolCallConstraint, *, takes_newlines: bool) -> lark.Grammar:
        """Thinking, then an answer or calls, or calls only."""
        frame = constraint.frame
        answer_begin = self.control.literal(frame.answer_begin)
        if constraint.is_required:
            start = [f"start: {self._before_calls(frame)} calls"]
        elif constraint.response_format is not None:
            thinking = "apart" if takes_newlines and not frame.answer_begin else "thinking"
            start = [f"start: {thinking} {answer_begin} @{ANSWER} | {self._before_calls(frame)} calls"]
        else:
            start = self._text_or_calls(frame)
        calls = self._calls(frame, constraint.tools, is_parallel=constraint.is_parallel)
        return _rules(*start, *calls, *self._thinking(constraint.thinking, (frame.trigger, *frame.other_triggers)))

    def answer_or_call_object(self, constraint: ToolCallConstraint, *, takes_newlines: bool) -> lark.Grammar:
        """Thinking, then an answer or one call, which is a JSON object: what begins as one may become the other."""
        objects = [ANSWER, *(arguments_name(index) for index in range(len(constraint.tools)))]
        choice = " | ".join(f"@{name}" for name in objects)
        thinking = "apart" if takes_newlines else "thinking"
        return _rules(f"start: {thinking} ({choice})", *self._thinking(constraint.thinking, ()))

    def _before_calls(self, frame: CallFrame) -> str:
        thinking = "thinking" if frame.next_message else "apart"
        return f"{thinking} {self.control.literal(frame.section_begin + frame.begin)}"

    def _text_or_calls(self, frame: CallFrame) -> list[str]:
        """Free text, in which the trigger begins calls; nothing else that would begin one can come in it.

        What is a control token must not come spelled out, either: who reads the answer sees no difference.
        """
        literal = self.control.literal
        if frame.answer_begin or frame.begins_answers:
            text = lark.text_without(*frame.other_triggers, prefixes=frame.start_triggers)
            answer = f"thinking {literal(frame.answer_begin)} TEXT"
            return [f"start: {answer} | {self._before_calls(frame)} calls", f"TEXT: {text}"]
        remainder = literal((frame.section_begin + frame.begin).removeprefix(frame.trigger))
        text = lark.text_without(frame.trigger, *frame.other_triggers, prefixes=frame.start_triggers)
        head, rules = self.control.text_to(frame.trigger, "HEAD", text)
        return [f"start: thinking (TEXT | {head} {remainder} calls)", f"TEXT: {text}", *rules]

    def _calls(self, frame: CallFrame, tools: tuple[OfferedTool, ...], *, is_parallel: bool) -> list[str]:
        """What follows the begin of the first call."""
        literal = self.control.literal
        further = ""
        if is_parallel and frame.separator is not None:
            further = f"({literal(frame.separator + frame.begin)} call)*"
        names = " | ".join(self._call(frame, index, offered) for index, offered in enumerate(tools))
        return [f"calls: call {further} {literal(frame.section_end)}", f"call: {names}", "ID: /[a-zA-Z0-9]{9}/"]

    def _call(self, frame: CallFrame, index: int, offered: OfferedTool) -> str:
        """One call from its name on."""
        literal = self.control.literal
        name = offered.tool.name
        if frame.id_begin:
            opening = f"{literal(name + frame.id_begin)} ID {literal(frame.arguments_begin)}"
        else:
            opening = literal(name + frame.arguments_begin)
        return f"{opening} @{arguments_name(index)} {literal(frame.end)}"

    def _thinking(self, thinking: ThinkingFrame | None, triggers: tuple[str, ...]) -> list[str]:
        """Thinking to its end; `apart`: with newlines that may set it apart from what follows.

        `triggers`: what begins a call where thinking that the prompt has begun would start.
        """
        if thinking is None:
            return ['thinking: ""', 'apart: ""']
        prefixes = triggers if thinking.is_open else ()
        text = lark.text_without(thinking.end, *thinking.other_ends, prefixes=prefixes)
        thought, rules = self.control.text_to(thinking.end, "THOUGHT", text)
        begin = "" if thinking.is_open else self.control.literal(thinking.begin)
        may_miss = "" if thinking.is_open else "?"
        return [
            f"thinking: ({begin} {thought}){may_miss}",
            f"apart: ({begin} {thought} /\\n{{0,2}}/){may_miss}",
            *rules,
        ]


def _rules(*rules: str) -> lark.Grammar:
    return {"lark_grammar": "\n".join(rules)}
