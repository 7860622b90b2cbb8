"""What a format is: how a family of models marks its reasoning, and how it writes tool calls."""

from collections.abc import Callable
from dataclasses import dataclass

from onward_server.completion.answer.tool_formats.answer import Answer
from onward_server.completion.answer.tool_formats.reader import Reading
from onward_server.grammar.tool_calls import CallFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningFormat:
    """How a model sets its reasoning apart from its answer."""

    name: str
    template_marks: tuple[str, ...]
    """A template that holds all of them, and fits no earlier format, is of this one."""
    begin: str
    end: str
    """After it the answer begins."""
    anywhere: bool = False
    """Whether reasoning may begin in the midst of an answer; else only where it starts."""
    dropped: tuple[str, ...] = ()
    """Marks that belong to neither part when they come after reasoning."""
    control_strings: tuple[str, ...]

    def is_opened_by(self, prompt: str) -> bool:
        """Whether the prompt leaves the model to go on thinking."""
        return prompt.rstrip().endswith(self.begin)

    def is_closed_by(self, prompt: str) -> bool:
        """Whether the prompt has done the thinking."""
        return prompt.rstrip().endswith(self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How a model writes tool calls."""

    name: str
    template_marks: tuple[str, ...]
    """A template that holds all of them, and fits no earlier format, is of this one."""
    control_strings: tuple[str, ...]
    triggers: tuple[str, ...] = ()
    """Literals that begin a call wherever they come in the answer's text."""
    start_triggers: tuple[str, ...] = ()
    """Literals that may begin a call where the answer starts."""
    read: Callable[[Answer, str], Reading[None]]
    """Reads the calls after a trigger; or the whole answer, where `frames_answer`."""
    frames_answer: bool = False
    """Whether the format frames all that the model writes, reasoning and text too."""
    frame: CallFrame
    """The calls that are written where they are forced, or bound to a schema."""


class NotACall(Exception):
    """What a trigger seemed to begin is text: it is read again as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """How a model writes its answers."""

    tools: ToolFormat | None = None
    """None: it calls no tools."""
    reasoning: ReasoningFormat | None = None
    """None: it does not think aloud."""

    @property
    def names(self) -> tuple[str, str]:
        """Of both formats; "none" where there is none."""
        return (self.tools.name if self.tools else "none", self.reasoning.name if self.reasoning else "none")

    def control_strings(self, *, with_tools: bool) -> tuple[str, ...]:
        """Control tokens that must stay visible in the text for its parser."""
        reasoning = self.reasoning.control_strings if self.reasoning else ()
        tools = self.tools.control_strings if self.tools and with_tools else ()
        return tuple(dict.fromkeys(reasoning + tools))
