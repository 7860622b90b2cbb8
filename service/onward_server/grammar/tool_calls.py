"""A constraint on tool calls, as plain data: the literals of a tool format and the tools of a request."""

from dataclasses import dataclass

from onward_server.domain import FunctionTool, ResponseFormat
from onward_server.json_value import NotJson, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementNotation:
    """Each argument is an element. A string is written without quotes, any other value as JSON.

    If `string_begin` equals `json_begin`, the parser decides by the types in the tool's schema: text that fits no other
    type is a string.
    """

    begin: str
    name_end: str
    string_begin: str = ""
    """Comes after `name_end` before a string."""
    json_begin: str = ""
    """Comes after `name_end` before any other value."""
    end: str
    """Ends the element. No string may contain this marker, even without the white space around it."""
    excluded: tuple[str, ...] = ()
    """Other markers that no string may contain, because they may end the element, too."""
    drops_line_breaks: bool = False
    """Whether the parser drops a line break at the start of a string, so that a string cannot start with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareNotation:
    """JSON without the outermost braces, with names unquoted and strings unescaped between quote markers."""

    quote: str


@dataclass(frozen=True, slots=True)
class KeywordNotation:
    """The keyword arguments of a Python call: each is a name, an equals sign and a value as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFrame:
    """The literals around calls; a control token inside one of them is written as that token.

    An output with calls is exactly:

        section_begin  (begin NAME [id_begin ID] arguments_begin ARGUMENTS end) joined by separator  section_end
    """

    section_begin: str = ""
    begin: str = ""
    id_begin: str = ""
    """The marker after the name and before the id; empty: calls have no id."""
    id_pattern: str = "[a-zA-Z0-9]{9}"
    """A regular expression for the ids."""
    arguments_begin: str
    notation: ElementNotation | BareNotation | KeywordNotation | None = None
    """How arguments are written; None: as JSON."""
    end: str = ""
    separator: str | None = None
    """None: an output has at most one call."""
    section_end: str = ""
    trigger: str
    """The start of `section_begin + begin`; wherever it occurs in free text, a call begins."""
    other_triggers: tuple[str, ...] = ()
    """Other markers that begin a call; free text must not contain them."""
    start_triggers: tuple[str, ...] = ()
    """Literals that begin a call only at the start of the output, after optional white space; free text must not
    start with one."""
    output_begin: str = ""
    """The markers before an output without calls; if not empty, no text comes before calls."""
    next_message: str = ""
    """With `output_begin`: the markers that end the reasoning, or text that the prompt began, and start the next
    message."""

    @property
    def needs_output_start(self) -> bool:
        """Whether the trigger begins a call only at the start of the output."""
        return any(self.trigger.startswith(trigger) for trigger in self.start_triggers)

    @property
    def object_keys(self) -> tuple[str, str] | None:
        """The keys of the name and the arguments, if an output with a call is one JSON object."""
        try:
            call = parse(f"{self.section_begin}{self.begin}name{self.arguments_begin}0{self.end}{self.section_end}")
        except NotJson:
            return None
        keys = list(call) if isinstance(call, dict) and list(call.values()) == ["name", 0] else []
        return (keys[0], keys[1]) if keys and self.separator is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningFrame:
    """The literals around the reasoning that comes before the constrained output."""

    begin: str
    end: str
    is_open: bool
    """Whether the prompt has already begun the reasoning; if not, the model may skip it."""
    other_ends: tuple[str, ...] = ()
    """Other markers that end reasoning; it must not contain them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """A tool that may be called."""

    tool: FunctionTool
    field: str
    """Its path in the request, such as `tools[1].function`."""

    @property
    def parameters_field(self) -> str:
        """The path of its schema."""
        return f"{self.field}.parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallConstraint:
    """The calls that an output may contain."""

    frame: CallFrame
    tools: tuple[OfferedTool, ...]
    """The tools that the tool choice allows; at least one."""
    is_required: bool
    """Whether the output must be calls. If True, every schema that can be enforced is enforced; if False, only the
    schemas of strict tools are."""
    is_parallel: bool
    """Whether several calls are allowed."""
    response_format: ResponseFormat | None = None
    """The format of an output without calls; None: free text."""
    reasoning: ReasoningFrame | None = None
