"""Compiles what a request demands of its output (response format, strict tools, tool choice) into a grammar."""

import asyncio
from dataclasses import replace

from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat, ToolFormat
from onward_server.completion.answer.parsing.parser_state import MessagePart
from onward_server.domain import CompletionRequest, ToolChoiceMode
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.grammar.compiler import Grammar, GrammarCompiler
from onward_server.grammar.text_prefix import TextPrefix
from onward_server.grammar.tool_calls import CallFrame, OfferedTool, ReasoningFrame, ToolCallConstraint


class Constraints:
    """Compiles the constraints of one model, off the event loop."""

    def __init__(self, compiler: GrammarCompiler) -> None:
        self._compiler = compiler

    async def compile(
        self, request: CompletionRequest, output_format: OutputFormat, context: OutputContext
    ) -> Grammar | None:
        """Compiles the constraint of a request, ready for each of its choices; None: the output is unconstrained.

        Raises:
            InvalidRequest: The constraint does not compile or costs too much, or the model has no tool format.
        """
        grammar = await self._compiled(request, output_format, context)
        if grammar is not None:
            for _ in range(1, request.n):
                await asyncio.wrap_future(self._compiler.prepare(grammar))
        return grammar

    async def _compiled(
        self, request: CompletionRequest, output_format: OutputFormat, context: OutputContext
    ) -> Grammar | None:
        if request.response_format is not None and context.continues is MessagePart.CONTENT:
            prefix = TextPrefix(
                text="".join(request.messages[-1].content), field=f"messages[{len(request.messages) - 1}].content"
            )
            return await asyncio.wrap_future(self._compiler.compile_rest(request.response_format, prefix))
        reasoning = _reasoning(output_format, context)
        tool_calls = _tool_calls(request, output_format, context, reasoning)
        response_format = request.response_format
        if tool_calls is not None:
            return await asyncio.wrap_future(self._compiler.compile_tool_calls(tool_calls))
        if response_format is not None:
            text_begin = _text_begin(output_format, context)
            return await asyncio.wrap_future(self._compiler.compile(response_format, reasoning, text_begin))
        return None


def _reasoning(output_format: OutputFormat, context: OutputContext) -> ReasoningFrame | None:
    """The reasoning that may come before the constrained output; None: there is none."""
    reasoning = output_format.reasoning
    if reasoning is None or _has_text_begun(output_format, context):
        return None
    framing = _framing_format(output_format)
    ends_reasoning = output_format.tools is not None and output_format.tools.ends_reasoning and bool(context.tools)
    return ReasoningFrame(
        begin=reasoning.begin,
        end=framing.frame.next_message if framing else reasoning.end,
        is_open=context.continues is MessagePart.REASONING or reasoning.is_opened_by(context.prompt),
        other_ends=output_format.tools.triggers if output_format.tools and (framing or ends_reasoning) else (),
    )


def _framing_format(output_format: OutputFormat) -> ToolFormat | None:
    """The tool format, if it puts all output between markers."""
    tool_format = output_format.tools
    return tool_format if tool_format is not None and tool_format.frames_output else None


def _text_begin(output_format: OutputFormat, context: OutputContext) -> str:
    """The markers that the model must write before the text; empty if the prompt has them."""
    framing = _framing_format(output_format)
    return "" if framing is None or _has_text_begun(output_format, context) else framing.frame.output_begin


def _has_text_begun(output_format: OutputFormat, context: OutputContext) -> bool:
    """Whether the prompt ends where the text of the message begins, or inside it."""
    reasoning = output_format.reasoning
    is_closed = reasoning is not None and reasoning.is_closed_by(context.prompt)
    return context.continues is MessagePart.CONTENT or is_closed


def _frame(tool_format: ToolFormat, output_format: OutputFormat, context: OutputContext) -> CallFrame:
    """How tool calls are framed by markers, without those that the prompt already has."""
    frame = tool_format.frame
    if frame.output_begin and _has_text_begun(output_format, context):
        ended = frame.next_message
        frame = replace(frame, output_begin="", section_begin=ended, trigger=ended + frame.trigger)
    triggers = tool_format.triggers_of(tool.name for tool in context.tools)
    return replace(
        frame,
        other_triggers=tuple(trigger for trigger in triggers if trigger != frame.trigger),
        start_triggers=tool_format.start_triggers,
    )


def _tool_calls(
    request: CompletionRequest, output_format: OutputFormat, context: OutputContext, reasoning: ReasoningFrame | None
) -> ToolCallConstraint | None:
    """The constraint of a request that offers tools and demands something of the output; None for other requests."""
    is_required = request.tool_choice.mode is ToolChoiceMode.REQUIRED
    is_constrained = is_required or request.response_format is not None or any(tool.strict for tool in context.tools)
    if not context.tools or not is_constrained:
        return None
    tool_format = output_format.tools
    if tool_format is None:
        field = "tool_choice.mode" if is_required else "tools"
        description = (
            "the server leaves this model's tool calls in the text (--tool-format none), so it cannot enforce them"
        )
        raise InvalidRequest.of(field, description, InvalidReason.UNSUPPORTED_BY_MODEL)
    return ToolCallConstraint(
        frame=_frame(tool_format, output_format, context),
        tools=tuple(
            OfferedTool(tool=tool, field=f"tools[{index}].function")
            for index, tool in enumerate(request.tools)
            if tool in context.tools
        ),
        is_required=is_required,
        is_parallel=request.parallel_tool_calls,
        response_format=request.response_format,
        reasoning=reasoning,
    )
