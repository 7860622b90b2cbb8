"""What a constraint on tool calls is made of, as plain data; it knows no model's format."""

from dataclasses import dataclass

from onward_server.domain import FunctionTool, ResponseFormat
from onward_server.json_value import NotJson, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementNotation:
    """Each argument is an element of its own, in which strings stand as they are, and all else as JSON.

    Its reader goes by the types of the tool's schema, and takes for a string what it cannot read as another of them.
    """

    begin: str
    name_end: str
    end: str
    """Less the white space around it, the mark that no string may contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareNotation:
    """As JSON without the outermost braces, but names are bare, and strings stand as they are between marks."""

    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFrame:
    """The literals around calls; what is a control token of the tokenizer counts as one in each of them.

    An answer of n calls is exactly:

        section_begin  (begin NAME [id_begin ID] arguments_begin ARGUMENTS end) joined by separator  section_end
    """

    section_begin: str = ""
    begin: str = ""
    id_begin: str = ""
    """Not empty: it and an id of nine alphanumerics follow the name."""
    arguments_begin: str
    notation: ElementNotation | BareNotation | None = None
    """How arguments are written; None: as JSON."""
    end: str = ""
    separator: str | None = None
    """None: a further call cannot follow in the same answer."""
    section_end: str = ""
    trigger: str
    """Begins `section_begin + begin`; free text in which it comes has begun a call."""
    other_triggers: tuple[str, ...] = ()
    """What else begins a call: free text must not contain it."""
    start_triggers: tuple[str, ...] = ()
    """What begins a call where the answer starts, white space aside: free text must not start so."""
    answer_begin: str = ""
    """What comes before an answer that calls no tool; where there is such a mark, no text comes before calls."""
    next_message: str = ""
    """Where answers have a beginning: what ends thinking, or an answer, before calls."""

    @property
    def begins_answers(self) -> bool:
        """Whether the trigger begins a call only where an answer starts."""
        return any(self.trigger.startswith(trigger) for trigger in self.start_triggers)

    @property
    def object_keys(self) -> tuple[str, str] | None:
        """Keys of the name and the arguments, where an answer that calls is one JSON object; else None."""
        try:
            call = parse(f"{self.section_begin}{self.begin}name{self.arguments_begin}0{self.end}{self.section_end}")
        except NotJson:
            return None
        keys = list(call) if isinstance(call, dict) and list(call.values()) == ["name", 0] else []
        return (keys[0], keys[1]) if keys and self.separator is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingFrame:
    """The literals around the thinking that comes before what is constrained."""

    begin: str
    end: str
    is_open: bool
    """Whether the prompt has begun it already; else the model may leave it out."""
    other_ends: tuple[str, ...] = ()
    """What else would end it: thinking must not contain it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """A tool that may be called, and where the request gives it."""

    tool: FunctionTool
    field: str
    """Such as `tools[1].function`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallConstraint:
    """Which calls an answer may hold."""

    frame: CallFrame
    tools: tuple[OfferedTool, ...]
    """Those that the tool choice leaves; at least one."""
    is_required: bool
    """Whether the answer must be a call; then all arguments match their schemas, else those of strict tools do."""
    is_parallel: bool
    """Whether several calls may be made."""
    response_format: ResponseFormat | None = None
    """Binds answers that call no tool; None: they are free text."""
    thinking: ThinkingFrame | None = None
