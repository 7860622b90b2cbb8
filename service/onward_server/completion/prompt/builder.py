"""From a request to the model's input: rendered, encoded, and how its answer is to be read; it runs no model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from onward_server.completion.answer.output_parser import AnswerContext, Channel
from onward_server.completion.answer.tool_formats.tool_format import OutputFormat
from onward_server.completion.context_window import tokens_left
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.turns import Turns
from onward_server.domain import (
    CompletionRequest,
    FunctionTool,
    Message,
    PromptToken,
    RawText,
    RawTokens,
    ToolCall,
    ToolChoiceMode,
)
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.model.tokenizer import Encoding, Tokenizer

_MAX_INLINE_SIZE = 4096
"""Characters, or tokens; what is longer is worked on off the event loop."""
_ITEM_SIZE = 64
"""What a message, a call or a tool counts beside its strings: rendering it takes some 40 microseconds, if not more."""
_MAX_LONG_BUILDS = 1
"""At once: encoding takes some hundred bytes of memory for each byte of a text, whether the prompt fits or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The model's input for one request."""

    text: str
    ids: Sequence[int]
    is_empty_text: bool
    """Nothing but special tokens: a space that encoders put before a text is not part of the answer."""
    visible_ids: frozenset[int] = frozenset()
    """Special tokens that the answer's parser needs to see."""
    output_format: OutputFormat = field(default_factory=OutputFormat)
    """How the answer is written; the default takes it as text."""
    context: AnswerContext = field(default_factory=AnswerContext)
    """What the answer's parser has to know of this prompt."""
    encoding: Encoding | None = None
    """None: the ids were given as such."""


class PromptBuilder:
    """Builds prompts for one model."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None, output_format: OutputFormat) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._format = output_format
        self._turns = Turns(_MAX_LONG_BUILDS)

    async def build(self, request: CompletionRequest, *, context_length: int | None = None) -> Prompt:
        """The prompt of a validated request; long ones are built in a worker thread.

        `context_length`: refuses, before it is encoded, a text that is certain not to fit.

        Raises:
            InvalidRequest: the template refuses the messages, or the prompt is empty, or does not fit.
        """
        build = self._build_raw if request.raw_prompt is not None else self._build_chat
        work = partial(build, request, context_length)
        return await self._turns.run(work) if is_long(request) else work()

    async def tokens(self, prompt: Prompt) -> tuple[PromptToken, ...]:
        """The prompt's tokens with their byte ranges in its text; long ones are found in a worker thread."""
        is_inline = len(prompt.ids) <= _MAX_INLINE_SIZE
        return self._tokens(prompt) if is_inline else await self._turns.run(partial(self._tokens, prompt))

    def _tokens(self, prompt: Prompt) -> tuple[PromptToken, ...]:
        if prompt.encoding is not None:
            return self._tokenizer.prompt_tokens(prompt.encoding)
        tokens: list[PromptToken] = []
        position = 0
        for token_id in prompt.ids:
            token = self._tokenizer.token_bytes(token_id)
            tokens.append(
                PromptToken(id=token_id, token=token, start_offset=position, end_offset=position + len(token))
            )
            position += len(token)
        return tuple(tokens)

    def _build_raw(self, request: CompletionRequest, context_length: int | None) -> Prompt:
        match request.raw_prompt:
            case RawText(text=text, no_special_tokens=is_bare):
                self._check_fit(request, text, context_length)
                encoding = self._tokenizer.encode(text, add_special_tokens=not is_bare)
                if not encoding.ids:
                    raise InvalidRequest.of("raw_prompt.text", "holds no tokens; at least one is needed")
                return Prompt(
                    text=encoding.text,
                    ids=encoding.ids,
                    is_empty_text=self._is_empty_text(encoding.ids),
                    encoding=encoding,
                )
            case RawTokens(ids=ids):
                text = b"".join(map(self._tokenizer.token_bytes, ids)).decode("utf-8", "replace")
                return Prompt(text=text, ids=ids, is_empty_text=self._is_empty_text(ids))
            case None:
                raise AssertionError("a request without raw_prompt")

    def _build_chat(self, request: CompletionRequest, context_length: int | None) -> Prompt:
        if self._template is None:
            raise AssertionError("messages for a model without a template passed validation")
        tools = offered_tools(request)
        rendered = self._template.render(request.messages, tools=tools, reasoning_effort=request.reasoning_effort)
        self._check_fit(request, rendered.text, context_length)
        encoding = self._tokenizer.encode_prompt(rendered)
        if not encoding.ids:
            reason = InvalidReason.INVALID_MESSAGES
            raise InvalidRequest.of("messages", "the model's chat template makes an empty prompt of them", reason)
        marks = self._format.control_strings(with_tools=bool(tools))
        return Prompt(
            text=rendered.text,
            ids=encoding.ids,
            is_empty_text=self._is_empty_text(encoding.ids),
            visible_ids=frozenset(
                token_id for mark in marks if (token_id := self._tokenizer.token_id(mark)) is not None
            ),
            output_format=self._format,
            context=AnswerContext(
                tools=tools,
                prompt=rendered.text,
                continues=_continued_channel(request),
                single_call=not request.parallel_tool_calls,
                response_format=request.response_format,
            ),
            encoding=encoding,
        )

    def _check_fit(self, request: CompletionRequest, text: str, context_length: int | None) -> None:
        if context_length is not None:
            tokens_left(request, context_length, self._tokenizer.min_tokens(text), is_bound=True)

    def _is_empty_text(self, ids: Sequence[int]) -> bool:
        return self._tokenizer.special_ids.issuperset(ids)


def is_long(request: CompletionRequest) -> bool:
    """Whether a request is worked on off the event loop."""
    return _size(request) > _MAX_INLINE_SIZE


def offered_tools(request: CompletionRequest) -> tuple[FunctionTool, ...]:
    """The tools that the model is shown: none for MODE_NONE, else those that `function_names` leaves."""
    choice = request.tool_choice
    if choice.mode is ToolChoiceMode.NONE:
        return ()
    return tuple(tool for tool in request.tools if not choice.function_names or tool.name in choice.function_names)


def _continued_channel(request: CompletionRequest) -> Channel | None:
    last = request.messages[-1]
    if not last.prefix:
        return None
    return Channel.CONTENT if any(last.content) else Channel.REASONING


def _size(request: CompletionRequest) -> int:
    """What a caller wrote into the prompt, about, in characters or tokens."""
    match request.raw_prompt:
        case RawText(text=text):
            raw = len(text)
        case RawTokens(ids=ids):
            raw = len(ids)
        case None:
            raw = 0
    return raw + sum(map(_tool_size, request.tools)) + sum(map(_message_size, request.messages))


def _tool_size(tool: FunctionTool) -> int:
    return _ITEM_SIZE + len(tool.name) + len(tool.description) + len(tool.parameters)


def _message_size(message: Message) -> int:
    texts = (*message.content, message.reasoning, message.name, message.tool_call_id)
    return _ITEM_SIZE + sum(map(len, texts)) + sum(map(_call_size, message.tool_calls))


def _call_size(call: ToolCall) -> int:
    return _ITEM_SIZE + len(call.id) + len(call.name) + len(call.arguments)
