"""How a family of models writes its output: what a reasoning format and a tool format consist of."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from onward_server.completion.answer.parsing.parser_state import ParserState
from onward_server.completion.answer.parsing.text_stream import Parsing
from onward_server.grammar.tool_calls import CallFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningFormat:
    """How a model separates its reasoning from the text of its message."""

    name: str
    prompt_markers: tuple[str, ...] = ()
    """Detects the format if the chat template renders no reasoning: a prompt must contain all of these markers. Among
    several such formats, the one with the most markers is chosen. Empty: only rendered reasoning reveals the format."""
    begin: str
    end: str
    """Ends the reasoning; the text of the message follows."""
    begin_in_prompt: str = ""
    """Text that a prompt may put after `begin`; the reasoning continues it."""
    anywhere: bool = False
    """Whether reasoning may begin in the middle of the output; otherwise only at its start."""
    dropped: tuple[str, ...] = ()
    """Markers that are dropped after reasoning, as they belong neither to it nor to the text."""
    text_frame: tuple[str, str] | None = None
    """Markers before and after the text that follows reasoning, written in ordinary tokens. The first is dropped only
    where the text starts, the second only where the output ends or a tool call follows; elsewhere they are text."""
    frames_text: bool = False
    """Whether the model writes the dropped markers around its text even without reasoning."""
    control_strings: tuple[str, ...]
    """Control tokens that the parser must see in the text."""

    def is_opened_by(self, prompt: str) -> bool:
        """Whether the prompt ends with the beginning of reasoning, so that the output continues it."""
        return prompt.rstrip().removesuffix(self.begin_in_prompt).endswith(self.begin)

    def is_closed_by(self, prompt: str) -> bool:
        """Whether the prompt ends with the end of reasoning, so that the output has none."""
        return prompt.rstrip().endswith(self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How a model writes tool calls."""

    name: str
    prompt_markers: tuple[str, ...] = ()
    """Detects the format if no parser reads what the chat template renders for a tool call: a prompt with tools must
    contain all of these markers. Among several such formats, the one with the most markers is chosen. Empty: never."""
    control_strings: tuple[str, ...]
    """Control tokens that the parser must see in the text."""
    triggers: tuple[str, ...] = ()
    """Markers that start a tool call anywhere in the text."""
    before_name: tuple[str, ...] = ()
    """Texts of which each, together with the name of an offered tool and `after_name`, is also a trigger."""
    after_name: str = ""
    start_triggers: tuple[str, ...] = ()
    """Literals that may start a tool call at the beginning of the output, or directly after another call."""
    parse: Callable[[ParserState, str], Parsing[None]]
    """Parses the tool calls after a trigger, which is passed to it; with `frames_output`, parses the whole output."""
    ends_reasoning: bool = False
    """Whether a trigger anywhere in reasoning ends it. If False, only a trigger at its start does."""
    frames_output: bool = False
    """Whether the format puts all output between markers, reasoning and text included."""
    frame: CallFrame
    """How tool calls are written where a constraint forces them or constrains their arguments."""

    def triggers_of(self, tools: Iterable[str]) -> tuple[str, ...]:
        """Returns the triggers where tools of these names are offered."""
        named = (f"{before}{name}{self.after_name}" for name in tools for before in self.before_name)
        return (*self.triggers, *named)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """How a model writes its output. By default, all of it is text."""

    tools: ToolFormat | None = None
    """None: the model makes no tool calls."""
    reasoning: ReasoningFormat | None = None
    """None: the model writes no reasoning."""

    @property
    def names(self) -> tuple[str, str]:
        """The names of the tool format and the reasoning format; "none" where there is no format."""
        return (self.tools.name if self.tools else "none", self.reasoning.name if self.reasoning else "none")

    def control_strings(self, *, with_tools: bool) -> tuple[str, ...]:
        """Control tokens that the parser must see in the text."""
        reasoning = self.reasoning.control_strings if self.reasoning else ()
        tools = self.tools.control_strings if self.tools and with_tools else ()
        return tuple(dict.fromkeys(reasoning + tools))
