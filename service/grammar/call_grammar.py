"""Writes the grammar of answers that may call tools, and of the thinking before an answer; it knows no formats."""

from dataclasses import dataclass

from service.grammar import lark
from service.grammar.lark import ControlTokens
from service.grammar.tool_calls import CallFrame, OfferedTool, ThinkingFrame, ToolCallConstraint

ANSWER = "answer"
"""The grammar of an answer that calls no tool."""


def arguments_name(index: int) -> str:
    """The grammar of the arguments of a tool."""
    return f"arguments_{index}"


@dataclass(frozen=True, slots=True)
class CallGrammar:
    """Writes for one tokenizer."""

    control: ControlTokens

    def after_thinking(self, thinking: ThinkingFrame | None, answer_begin: str) -> lark.Grammar:
        """Thinking, then an answer."""
        return _rules(f"start: thinking {self.control.literal(answer_begin)} @{ANSWER}", *self._thinking(thinking))

    def with_calls(self, constraint: ToolCallConstraint) -> lark.Grammar:
        """Thinking, then an answer or calls, or calls only."""
        frame = constraint.frame
        literal = self.control.literal
        first = literal(frame.section_begin + frame.begin)
        if constraint.is_required:
            start = [f"start: thinking {first} calls"]
        elif constraint.response_format is not None:
            start = [f"start: thinking ({literal(frame.answer_begin)} @{ANSWER} | {first} calls)"]
        else:
            start = self._text_or_calls(frame)
        calls = self._calls(frame, constraint.tools, is_parallel=constraint.is_parallel)
        return _rules(*start, *calls, *self._thinking(constraint.thinking))

    def answer_or_call_object(self, constraint: ToolCallConstraint) -> lark.Grammar:
        """Thinking, then an answer or one call, which is a JSON object: what begins as one may become the other."""
        objects = [ANSWER, *(arguments_name(index) for index in range(len(constraint.tools)))]
        choice = " | ".join(f"@{name}" for name in objects)
        return _rules(f"start: thinking ({choice})", *self._thinking(constraint.thinking))

    def _text_or_calls(self, frame: CallFrame) -> list[str]:
        """Free text, in which the trigger begins calls; nothing else that would begin one can come in it."""
        literal = self.control.literal
        prefixes = self._as_text(frame.start_triggers)
        if frame.answer_begin or frame.begins_answers:
            first = literal(frame.section_begin + frame.begin)
            text = lark.text_without(*self._as_text(frame.other_triggers), prefixes=prefixes)
            return [f"start: thinking ({literal(frame.answer_begin)} TEXT | {first} calls)", f"TEXT: {text}"]
        remainder = literal((frame.section_begin + frame.begin).removeprefix(frame.trigger))
        text = lark.text_without(*self._as_text((frame.trigger, *frame.other_triggers)), prefixes=prefixes)
        token, rest = self.control.split_first(frame.trigger)
        if token:
            return [f"start: thinking (TEXT | TEXT {token} {literal(rest)} {remainder} calls)", f"TEXT: {text}"]
        head = f"head[lazy]: {lark.ANY_TEXT} {lark.quoted(frame.trigger)}"
        return [f"start: thinking (TEXT | head {remainder} calls)", f"TEXT: {text}", head]

    def _as_text(self, triggers: tuple[str, ...]) -> list[str]:
        """Those that a model can write in free text: control tokens never come in it."""
        return [trigger for trigger in triggers if self.control.split_first(trigger)[0] is None]

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

    def _thinking(self, thinking: ThinkingFrame | None) -> list[str]:
        """Thinking to its end, and the newlines that set it apart from what follows."""
        if thinking is None:
            return ['thinking: ""']
        literal = self.control.literal
        token, rest = self.control.split_first(thinking.end)
        if token:
            thought = f"thought: {lark.ANY_TEXT} {token} {literal(rest)}"
        else:
            thought = f"thought[lazy]: {lark.ANY_TEXT} {lark.quoted(thinking.end)}"
        closed = r"thought /\n{0,2}/"
        whole = closed if thinking.is_open else f"({literal(thinking.begin)} {closed})?"
        return [f"thinking: {whole}", thought]


def _rules(*rules: str) -> lark.Grammar:
    return {"lark_grammar": "\n".join(rules)}
