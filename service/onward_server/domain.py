"""The words every layer speaks: requests, answers and events; it knows no protobuf, arrays or threads.

Names and meanings are those of `proto/onward/v1`, so a field path in an error is the same on both sides.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cached_property

from onward_server.json_value import Json, parse
from onward_server.sampling import SamplingOverrides, SamplingParams, SamplingValue


class Role(StrEnum):
    """Who speaks in a message; values are what chat templates call them."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call that the model asks the client to make."""

    id: str
    name: str
    arguments: str
    """JSON text, as the caller or the model wrote it."""

    @cached_property
    def parsed_arguments(self) -> Json:
        """The value of `arguments`, parsed once. Raises NotJson before validation."""
        return parse(self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of the conversation."""

    role: Role
    content: tuple[str, ...] = ()
    """Text parts in order."""
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""
    prefix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawText:
    """A prompt in text, in which control tokens are taken as such."""

    text: str
    no_special_tokens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTokens:
    """A prompt in token ids."""

    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FunctionTool:
    """A client-side function offered to the model."""

    name: str
    description: str = ""
    parameters: str = ""
    """JSON Schema text; empty means no arguments."""
    strict: bool = False

    @cached_property
    def parsed_parameters(self) -> Json:
        """The value of `parameters`, parsed once; None if it is empty. Raises NotJson before validation."""
        return parse(self.parameters) if self.parameters else None


class ToolChoiceMode(Enum):
    """How free the model is to call tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """Whether, and which, tools are called."""

    mode: ToolChoiceMode | None = None
    """None: AUTO when tools are offered, NONE otherwise."""
    function_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonObjectFormat:
    """Any JSON object."""


@dataclass(frozen=True, kw_only=True)
class JsonSchemaFormat:
    """JSON that matches a schema."""

    schema: str
    """JSON Schema text."""
    name: str = ""
    description: str = ""

    @cached_property
    def parsed_schema(self) -> Json:
        """The value of `schema`, parsed once. Raises NotJson."""
        return parse(self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexFormat:
    """Text that matches a regular expression in full."""

    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrammarFormat:
    """Text that a Lark grammar derives."""

    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFormat:
    """One of a list of strings."""

    choices: tuple[str, ...]


JsonFormat = JsonObjectFormat | JsonSchemaFormat
ResponseFormat = JsonFormat | RegexFormat | GrammarFormat | ChoiceFormat


class ReasoningEffort(StrEnum):
    """How much a model that can think does so; values are what chat templates call them."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What a caller asks for, decoded but not yet validated."""

    model: str = ""
    """Id or alias; empty is the default model."""
    messages: tuple[Message, ...] = ()
    raw_prompt: RawText | RawTokens | None = None
    sampling: SamplingOverrides = field(default_factory=dict[str, SamplingValue])
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    """None is free text."""
    n: int = 1
    top_logprobs: int | None = None
    """None: no log probabilities."""
    time_limit_s: float | None = None
    user: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    reasoning_effort: ReasoningEffort | None = None

    @property
    def offered_tools(self) -> tuple[FunctionTool, ...]:
        """The tools that the model is shown: none with mode NONE, else those that `function_names` allows."""
        choice = self.tool_choice
        if choice.mode is ToolChoiceMode.NONE:
            return ()
        return tuple(tool for tool in self.tools if not choice.function_names or tool.name in choice.function_names)


class FinishReason(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CONTEXT_LENGTH = "context_length"
    TOOL_CALLS = "tool_calls"
    TIME_LIMIT = "time_limit"
    INVALID_TOOL_CALL = "invalid_tool_call"


@dataclass(frozen=True, slots=True)
class StopString:
    """A stop string was written."""

    text: str


@dataclass(frozen=True, slots=True)
class StopToken:
    """A stop token was drawn."""

    token_id: int


@dataclass(frozen=True, slots=True)
class EndOfSequence:
    """The model's own end-of-sequence token was drawn."""

    token_id: int


@dataclass(frozen=True, slots=True)
class ConstraintComplete:
    """The constraint allows nothing more."""


StopCause = StopString | StopToken | EndOfSequence | ConstraintComplete


@dataclass(frozen=True, slots=True, kw_only=True)
class Logprob:
    """A token and its natural-log probability under the raw model distribution."""

    token_id: int
    token: bytes
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A drawn token with its alternatives, best first."""

    chosen: Logprob
    top: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """More of one tool call; `id` and `name` are set on its first delta only."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts over all choices."""

    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time went, in seconds."""

    queue_s: float
    prefill_s: float
    decode_s: float
    first_token_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionStarted:
    """First event: the prompt is in, a token is there."""

    id: str
    create_time_s: float
    """Unix time of admission."""
    model: str
    system_fingerprint: str
    prompt_tokens: int
    effective_sampling: SamplingParams
    cached_prompt_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class ChoiceDelta:
    """More of one answer. Not frozen: there is one for every token, and freezing doubles what making it costs."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    token_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFinished:
    """One answer is complete."""

    index: int
    finish_reason: FinishReason
    stop_cause: StopCause | None = None
    """Set when `finish_reason` is STOP."""
    seed: int
    completion_tokens: int
    invalid_tool_call: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionEnded:
    """Last event: totals."""

    usage: Usage
    timings: Timings


CompletionEvent = CompletionStarted | ChoiceDelta | ChoiceFinished | CompletionEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One finished answer."""

    index: int
    message: Message
    finish_reason: FinishReason
    stop_cause: StopCause | None
    logprobs: tuple[TokenLogprob, ...]
    seed: int
    completion_tokens: int
    invalid_tool_call: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The finished answers to one request."""

    started: CompletionStarted
    choices: tuple[Choice, ...]
    ended: CompletionEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptToken:
    """One token of a prompt, with its byte range in the prompt's text."""

    id: int
    token: bytes
    start_offset: int
    end_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCapabilities:
    """What requests to a model may use."""

    chat: bool
    tools: bool
    system_role: bool
    structured_output: bool
    max_n: int
    max_top_logprobs: int
    deterministic: bool
    reasoning: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a client can know of a served model."""

    id: str
    aliases: tuple[str, ...] = ()
    is_default: bool
    create_time_s: float
    """Unix time of loading."""
    system_fingerprint: str
    context_length: int
    max_output_tokens: int
    vocabulary_size: int
    default_sampling: SamplingOverrides
    capabilities: ModelCapabilities
    precision: str
    execution_provider: str
