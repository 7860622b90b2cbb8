"""What the output parser must know about a request before the first token."""

from dataclasses import dataclass

from onward_server.completion.answer.parsing.parser_state import MessagePart
from onward_server.domain import CompletionRequest, FunctionTool, ResponseFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputContext:
    """The parts of a request that the parser needs; the same for all its choices."""

    tools: tuple[FunctionTool, ...] = ()
    """The tools that the model may call. If there are none, text that looks like a tool call stays text."""
    prompt: str = ""
    """The rendered prompt, or at least its end, where the reasoning may begin or end."""
    continues: MessagePart | None = None
    """The part of the prompt's last message that the output continues; None: the output is a new message."""
    single_call: bool = False
    """Whether the choice ends with its first tool call."""
    response_format: ResponseFormat | None = None
    """Constrains choices without tool calls. Markers after the start of the text of such a choice are ordinary text."""

    @classmethod
    def of_chat(cls, request: CompletionRequest, prompt: str) -> "OutputContext":
        """Returns the context of a request with messages, given the prompt that the chat template made of them."""
        return cls(
            tools=request.offered_tools,
            prompt=prompt,
            continues=_continued_part(request),
            single_call=not request.parallel_tool_calls,
            response_format=request.response_format,
        )


def _continued_part(request: CompletionRequest) -> MessagePart | None:
    last = request.messages[-1]
    if not last.prefix:
        return None
    return MessagePart.CONTENT if any(last.content) else MessagePart.REASONING
