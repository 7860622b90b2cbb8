"""Writes the grammar of output that may call tools, and of the reasoning before the output."""

from dataclasses import dataclass

from onward_server.grammar import lark
from onward_server.grammar.tool_calls import CallFrame, OfferedTool, ReasoningFrame, ToolCallConstraint

OUTPUT = "output"
"""The name of the grammar of output without tool calls."""


def arguments_name(index: int) -> str:
    """The name of the grammar of a tool's arguments."""
    return f"arguments_{index}"


@dataclass(frozen=True, slots=True)
class CallGrammar:
    """Writes the grammars for one tokenizer. Each starts with the reasoning, if there is any.

    `takes_newlines`: allows newlines between the reasoning and the output, which itself cannot begin with one.
    """

    control: lark.ControlTokens

    def after_reasoning(
        self, reasoning: ReasoningFrame | None, output_begin: str, *, takes_newlines: bool
    ) -> lark.Grammar:
        """Output without tool calls."""
        start = f"start: {self._before_output(output_begin, takes_newlines=takes_newlines)} @{OUTPUT}"
        return _rules(start, *self._reasoning(reasoning, ()))

    def with_calls(self, constraint: ToolCallConstraint, *, takes_newlines: bool) -> lark.Grammar:
        """Constrained output, free text or tool calls; only tool calls if they are required."""
        frame = constraint.frame
        if constraint.is_required:
            start = [f"start: {self._before_calls(frame)} calls"]
        elif constraint.response_format is not None:
            before_output = self._before_output(frame.output_begin, takes_newlines=takes_newlines)
            start = [f"start: {before_output} @{OUTPUT} | {self._before_calls(frame)} calls"]
        else:
            start = self._text_or_calls(frame)
        calls = self._calls(frame, constraint.tools, is_parallel=constraint.is_parallel)
        return _rules(*start, *calls, *self._reasoning(constraint.reasoning, _triggers(frame)))

    def output_or_call_object(self, constraint: ToolCallConstraint, *, takes_newlines: bool) -> lark.Grammar:
        """Constrained output or one tool call that is a JSON object; the two may share their first characters."""
        objects = [OUTPUT, *(arguments_name(index) for index in range(len(constraint.tools)))]
        choice = " | ".join(f"@{name}" for name in objects)
        start = f"start: {self._before_output('', takes_newlines=takes_newlines)} ({choice})"
        return _rules(start, *self._reasoning(constraint.reasoning, _triggers(constraint.frame)))

    def _before_output(self, output_begin: str, *, takes_newlines: bool) -> str:
        reasoning = "reasoning_newlines" if takes_newlines and not output_begin else "reasoning"
        return f"{reasoning} {self.control.literal(output_begin)}"

    def _before_calls(self, frame: CallFrame) -> str:
        reasoning = "reasoning" if frame.next_message else "reasoning_newlines"
        return f"{reasoning} {self.control.literal(frame.section_begin + frame.begin)}"

    def _text_or_calls(self, frame: CallFrame) -> list[str]:
        """Free text or calls; in the text, the trigger begins calls.

        The text cannot contain a tool-call marker, not even spelled in ordinary tokens: the parser sees only text.
        """
        literal = self.control.literal
        if frame.output_begin or frame.needs_output_start:
            text = lark.text_without(*frame.other_triggers, prefixes=frame.start_triggers)
            output = f"reasoning {literal(frame.output_begin)} TEXT"
            return [f"start: {output} | {self._before_calls(frame)} calls", f"TEXT: {text}"]
        remainder = literal((frame.section_begin + frame.begin).removeprefix(frame.trigger))
        text = lark.text_without(frame.trigger, *frame.other_triggers, prefixes=frame.start_triggers)
        text_to_trigger, rules = self.control.text_to(frame.trigger, "TEXT_BEFORE", text)
        return [f"start: reasoning (TEXT | {text_to_trigger} {remainder} calls)", f"TEXT: {text}", *rules]

    def _calls(self, frame: CallFrame, tools: tuple[OfferedTool, ...], *, is_parallel: bool) -> list[str]:
        """The calls, after the `begin` of the first one."""
        literal = self.control.literal
        further = ""
        if is_parallel and frame.separator is not None:
            further = f"({literal(frame.separator + frame.begin)} call)*"
        calls = " | ".join(self._call(frame, index, offered) for index, offered in enumerate(tools))
        return [f"calls: call {further} {literal(frame.section_end)}", f"call: {calls}", f"ID: /{frame.id_pattern}/"]

    def _call(self, frame: CallFrame, index: int, offered: OfferedTool) -> str:
        """One call, after its `begin`."""
        literal = self.control.literal
        name = offered.tool.name
        if frame.id_begin:
            opening = f"{literal(name + frame.id_begin)} ID {literal(frame.arguments_begin)}"
        else:
            opening = literal(name + frame.arguments_begin)
        return f"{opening} @{arguments_name(index)} {literal(frame.end)}"

    def _reasoning(self, reasoning: ReasoningFrame | None, triggers: tuple[str, ...]) -> list[str]:
        """Two rules: the reasoning alone, and the reasoning followed by newlines.

        `triggers`: tool-call markers; if the prompt has begun the reasoning, the rest of it cannot start with one.
        """
        if reasoning is None:
            return ['reasoning: ""', 'reasoning_newlines: ""']
        prefixes = triggers if reasoning.is_open else ()
        text = lark.text_without(reasoning.end, *reasoning.other_ends, prefixes=prefixes)
        text_to_end, rules = self.control.text_to(reasoning.end, "REASONING", text)
        begin = "" if reasoning.is_open else self.control.literal(reasoning.begin)
        optional = "" if reasoning.is_open else "?"
        return [
            f"reasoning: ({begin} {text_to_end}){optional}",
            f"reasoning_newlines: ({begin} {text_to_end} /\\n{{0,2}}/){optional}",
            *rules,
        ]


def _rules(*rules: str) -> lark.Grammar:
    return {"lark_grammar": "\n".join(rules)}


def _triggers(frame: CallFrame) -> tuple[str, ...]:
    """The markers that begin a call."""
    return (frame.trigger, *frame.other_triggers)
