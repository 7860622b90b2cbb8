"""What a constraint on tool calls is made of, as plain data; it knows no model's format."""

from dataclasses import dataclass, field

from service.domain import FunctionTool, ResponseFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFrame:
    """The literals around calls; what is a control token of the tokenizer counts as one in each of them.

    An answer of n calls is exactly:

        section_begin  (begin NAME [id_begin ID] arguments_begin JSON end) joined by separator  section_end
    """

    section_begin: str = ""
    begin: str = ""
    id_begin: str = ""
    """Not empty: it and an id of nine alphanumerics follow the name."""
    arguments_begin: str
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
    """What comes before an answer that calls no tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingFrame:
    """The literals around the thinking that comes before what is constrained."""

    begin: str
    end: str
    is_open: bool
    """Whether the prompt has begun it already; else the model may leave it out."""


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
    thinking: ThinkingFrame | None = field(default=None)
