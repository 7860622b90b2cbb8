"""From a request's format, tools and tool choice to the grammar that binds its answers; it matches nothing."""

import asyncio
from dataclasses import replace

from onward_server.completion.answer.tool_formats.answer import Channel
from onward_server.completion.answer.tool_formats.tool_format import ToolFormat
from onward_server.completion.prompt.builder import Prompt
from onward_server.domain import CompletionRequest, ToolChoiceMode
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.tool_calls import CallFrame, OfferedTool, ThinkingFrame, ToolCallConstraint


class Constraints:
    """Compiles the constraints of one model's answers, off the event loop."""

    def __init__(self, compiler: GrammarCompiler) -> None:
        self._compiler = compiler

    async def of(self, request: CompletionRequest, prompt: Prompt) -> Grammar | None:
        """The constraint on a request's answers, ready for all of them; None: they are free.

        Raises:
            InvalidRequest: it does not compile, costs too much, or the model's way of calling tools cannot be forced.
        """
        grammar = await self._compiled(request, prompt)
        if grammar is not None:
            for _ in range(1, request.n):
                await asyncio.wrap_future(self._compiler.prepare(grammar))
        return grammar

    async def _compiled(self, request: CompletionRequest, prompt: Prompt) -> Grammar | None:
        thinking = _thinking(prompt)
        tool_calls = _tool_calls(request, prompt, thinking)
        response_format = request.response_format
        if tool_calls is not None:
            return await asyncio.wrap_future(self._compiler.compile_tool_calls(tool_calls))
        if response_format is not None:
            compiling = self._compiler.compile(response_format, thinking, _answer_begin(prompt))
            return await asyncio.wrap_future(compiling)
        return None


def _thinking(prompt: Prompt) -> ThinkingFrame | None:
    """What the model may think before the constraint starts; None: it answers at once."""
    reasoning = prompt.output_format.reasoning
    is_answering = prompt.context.continues is Channel.CONTENT
    if reasoning is None or is_answering or reasoning.is_closed_by(prompt.text):
        return None
    framing = _framing(prompt)
    return ThinkingFrame(
        begin=reasoning.begin,
        end=framing.frame.next_message if framing else reasoning.end,
        is_open=prompt.context.continues is Channel.REASONING or reasoning.is_opened_by(prompt.text),
        other_ends=framing.triggers if framing else (),
    )


def _framing(prompt: Prompt) -> ToolFormat | None:
    """The format that frames all that the model writes, if any."""
    tool_format = prompt.output_format.tools
    return tool_format if tool_format is not None and tool_format.frames_answer else None


def _answer_begin(prompt: Prompt) -> str:
    """What comes before an answer, where the prompt has not begun it."""
    framing = _framing(prompt)
    return "" if framing is None or _has_begun(prompt) else framing.frame.answer_begin


def _has_begun(prompt: Prompt) -> bool:
    """Whether the prompt leaves the model to go on with the answer's text."""
    reasoning = prompt.output_format.reasoning
    return prompt.context.continues is Channel.CONTENT or bool(reasoning and reasoning.is_closed_by(prompt.text))


def _frame(tool_format: ToolFormat, prompt: Prompt) -> CallFrame:
    """The frame of calls in this answer."""
    frame = tool_format.frame
    if frame.answer_begin and _has_begun(prompt):
        ended = frame.next_message
        frame = replace(frame, answer_begin="", section_begin=ended, trigger=ended + frame.trigger)
    return replace(
        frame,
        other_triggers=tuple(mark for mark in tool_format.triggers if mark != frame.trigger),
        start_triggers=tool_format.start_triggers,
    )


def _tool_calls(
    request: CompletionRequest, prompt: Prompt, thinking: ThinkingFrame | None
) -> ToolCallConstraint | None:
    """The constraint where tools are offered and anything binds the answer."""
    tools = prompt.context.tools
    is_required = request.tool_choice.mode is ToolChoiceMode.REQUIRED
    is_bound = is_required or request.response_format is not None or any(tool.strict for tool in tools)
    if not tools or not is_bound:
        return None
    tool_format = prompt.output_format.tools
    if tool_format is None:
        field = "tool_choice.mode" if is_required else "tools"
        raise InvalidRequest.of(field, "how this model calls tools is not known", InvalidReason.UNSUPPORTED_BY_MODEL)
    return ToolCallConstraint(
        frame=_frame(tool_format, prompt),
        tools=tuple(
            OfferedTool(tool=tool, field=f"tools[{index}].function")
            for index, tool in enumerate(request.tools)
            if tool in tools
        ),
        is_required=is_required,
        is_parallel=request.parallel_tool_calls,
        response_format=request.response_format,
        thinking=thinking,
    )
