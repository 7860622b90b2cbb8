"""The data that the layers exchange: requests, completions, events and models.

Names and meanings are those of `proto/onward/v1`, so a field path in an error is the same on both sides.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cached_property

from onward_server.json_value import MAX_SCHEMA_DEPTH, Json, parse
from onward_server.sampling import SamplingOverrides, SamplingParams, SamplingValue

MAX_ID_BYTES = 256
"""Maximum size of the id of a tool call."""
MAX_ARGUMENTS_BYTES = 1024 * 1024
"""Maximum size of the arguments of a tool call. Parsing holds the GIL, so it stops the event loop: for up to 50 ms."""


class Role(StrEnum):
    """The author of a message. The values are the names that chat templates use."""

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
    """One message of the conversation."""

    role: Role
    content: tuple[str, ...] = ()
    """The text parts in order."""
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""
    prefix: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawText:
    """A raw prompt as text. Control tokens written in it become control tokens."""

    text: str
    no_special_tokens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTokens:
    """A raw prompt as token ids."""

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
    """Who decides whether tools are called."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """Controls whether the model calls tools, and which ones."""

    mode: ToolChoiceMode | None = None
    """None: AUTO if tools are offered, else NONE."""
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
        return parse(self.schema, MAX_SCHEMA_DEPTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexFormat:
    """Text that matches a regular expression in full."""

    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrammarFormat:
    """Text that a Lark grammar accepts."""

    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFormat:
    """One of a list of strings."""

    choices: tuple[str, ...]


JsonFormat = JsonObjectFormat | JsonSchemaFormat
ResponseFormat = JsonFormat | RegexFormat | GrammarFormat | ChoiceFormat


class ReasoningEffort(StrEnum):
    """How much a reasoning model reasons. The values are the names that chat templates use."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A completion request, decoded but not necessarily valid."""

    model: str = ""
    """Id or alias; empty: the default model."""
    messages: tuple[Message, ...] = ()
    raw_prompt: RawText | RawTokens | None = None
    sampling: SamplingOverrides = field(default_factory=dict[str, SamplingValue])
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    """None: text without a constraint."""
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
    """Why a choice ended."""

    STOP = "stop"
    LENGTH = "length"
    CONTEXT_LENGTH = "context_length"
    TOOL_CALLS = "tool_calls"
    TIME_LIMIT = "time_limit"
    INVALID_TOOL_CALL = "invalid_tool_call"


@dataclass(frozen=True, slots=True)
class StopString:
    """The text contained a stop string."""

    text: str


@dataclass(frozen=True, slots=True)
class StopToken:
    """A stop token was sampled."""

    token_id: int


@dataclass(frozen=True, slots=True)
class EndOfSequence:
    """An end-of-sequence token of the model was sampled."""

    token_id: int


@dataclass(frozen=True, slots=True)
class ConstraintComplete:
    """The constraint allows no more tokens."""


StopCause = StopString | StopToken | EndOfSequence | ConstraintComplete


@dataclass(frozen=True, slots=True, kw_only=True)
class Logprob:
    """A token and the natural logarithm of its probability, from the logits as the model computed them."""

    token_id: int
    token: bytes
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A sampled token with the most probable tokens at its position, best first."""

    chosen: Logprob
    top: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """The next part of one tool call. `id` and `name` are set in its first part only."""

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
    """How long the phases of a completion took."""

    queue_s: float
    prefill_s: float
    decode_s: float
    first_token_s: float
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionStarted:
    """The first event: the prompt is processed and the first token is sampled."""

    id: str
    create_time_s: float
    """Unix time at which the request was admitted."""
    model: str
    system_fingerprint: str
    prompt_tokens: int
    effective_sampling: SamplingParams
    cached_prompt_tokens: int = 0


@dataclass(slots=True, kw_only=True)
class ChoiceDelta:
    """The next part of one choice. Not frozen: there is one per token, and freezing doubles the cost of creating it."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    token_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFinished:
    """One choice is complete."""

    index: int
    finish_reason: FinishReason
    stop_cause: StopCause | None = None
    """Set if `finish_reason` is STOP."""
    seed: int
    completion_tokens: int
    invalid_tool_call: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionEnded:
    """The last event: totals over all choices."""

    usage: Usage
    timings: Timings


CompletionEvent = CompletionStarted | ChoiceDelta | ChoiceFinished | CompletionEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the `n` texts of a completion."""

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
    """The whole reply to one request."""

    started: CompletionStarted
    choices: tuple[Choice, ...]
    ended: CompletionEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptToken:
    """One token of a prompt. Its offsets are in bytes of the prompt's text."""

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
    """What clients can know about a served model."""

    id: str
    aliases: tuple[str, ...] = ()
    is_default: bool
    create_time_s: float
    """Unix time at which the model was loaded."""
    system_fingerprint: str
    context_length: int
    max_output_tokens: int
    vocabulary_size: int
    default_sampling: SamplingOverrides
    capabilities: ModelCapabilities
    precision: str
    execution_provider: str
    tool_format: str = ""
    """Name of the format of tool calls; "none": they stay in the text. Empty: unknown."""
    reasoning_format: str = "none"
