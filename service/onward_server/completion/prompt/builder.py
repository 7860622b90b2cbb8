"""Builds the model's input for a request: renders the chat template and encodes the text."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from onward_server.completion.context_window import tokens_left
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.domain import CompletionRequest, FunctionTool, Message, PromptToken, RawText, RawTokens, ToolCall
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.model.tokenizer import Encoding, TextNotEncodable, Tokenizer

T = TypeVar("T")

_MAX_INLINE_SIZE = 4096
"""Characters or tokens. Larger requests are processed off the event loop."""
MIN_TEXT_LIMIT = 1 << 20
_BYTES_A_TOKEN = 16
_ITEM_SIZE = 64
"""Added to the size for each message, tool call and tool, because rendering one takes 40 microseconds or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The model's input for one request."""

    text: str
    ids: Sequence[int]
    has_text: bool = True
    """Whether the prompt has tokens other than special ones. If not, the output is the start of a text, to which some
    tokenizers add a space."""
    encoding: Encoding | None = None
    """None: the request gave token ids."""


class PromptBuilder:
    """Builds the prompts of one model.

    Long prompts are built one at a time in a worker thread, even if their callers are canceled: encoding takes some
    hundred bytes of memory for each byte of text, whether the prompt fits the context window or not.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate | None, *, max_text_bytes: int = MIN_TEXT_LIMIT
    ) -> None:
        """Takes the parts of a model.

        Args:
            tokenizer: The model's tokenizer.
            template: Its chat template; None: the model takes raw prompts only.
            max_text_bytes: Maximum size of a text to encode, in bytes of UTF-8; see `max_text_bytes`.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._max_text_bytes = max_text_bytes
        self._worker = ThreadPoolExecutor(1, "prompt-builder")

    async def build(
        self, request: CompletionRequest, *, context_length: int | None = None, text_field: str = "raw_prompt.text"
    ) -> Prompt:
        """Builds the prompt of a validated request.

        Args:
            request: The request.
            context_length: If set, text that certainly does not fit is rejected before it is encoded.
            text_field: Path of the text of a raw prompt, for errors.

        Raises:
            InvalidRequest: The chat template rejects the messages, the prompt is empty, too long to be encoded or does
                not fit, or the tokenizer fails on it.
        """
        if request.raw_prompt is not None:
            work = partial(self._build_raw, request, context_length, text_field)
        else:
            work = partial(self._build_chat, request, context_length)
        return await self._in_worker(work) if is_long(request) else work()

    async def tokens(self, prompt: Prompt) -> tuple[PromptToken, ...]:
        """Returns the prompt's tokens with their byte ranges in its text."""
        work = partial(self._tokens, prompt)
        return work() if len(prompt.ids) <= _MAX_INLINE_SIZE else await self._in_worker(work)

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

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

    def _build_raw(self, request: CompletionRequest, context_length: int | None, text_field: str) -> Prompt:
        match request.raw_prompt:
            case RawText(text=text, no_special_tokens=no_special_tokens):
                self._check_fit(request, text, context_length)
                with self._encoding(text, text_field, InvalidReason.INVALID_PARAMETER):
                    encoding = self._tokenizer.encode(text, add_special_tokens=not no_special_tokens)
                if not encoding.ids:
                    raise InvalidRequest.of(text_field, "encodes to no tokens; at least one is required")
                return self._encoded(encoding)
            case RawTokens(ids=ids):
                text = b"".join(map(self._tokenizer.token_bytes, ids)).decode("utf-8", "replace")
                return Prompt(text=text, ids=ids, has_text=self._has_text(ids))
            case None:
                raise AssertionError("a request without raw_prompt")

    def _build_chat(self, request: CompletionRequest, context_length: int | None) -> Prompt:
        if self._template is None:
            raise AssertionError("validation accepted messages for a model without a template")
        rendered = self._template.render(
            request.messages, tools=request.offered_tools, reasoning_effort=request.reasoning_effort
        )
        self._check_fit(request, rendered.text, context_length)
        reason = InvalidReason.INVALID_MESSAGES
        with self._encoding(rendered.text, "messages", reason):
            encoding = self._tokenizer.encode_prompt(rendered)
        if not encoding.ids:
            raise InvalidRequest.of("messages", "the model's chat template renders them as an empty prompt", reason)
        return self._encoded(encoding)

    @contextmanager
    def _encoding(self, text: str, field: str, reason: InvalidReason) -> Generator[None]:
        """Runs the block, which encodes a text, if it is not too long. Raises InvalidRequest for this field."""
        size = len(text) if text.isascii() else len(text.encode())
        if size > self._max_text_bytes:
            raise InvalidRequest.of(
                field, f"has {size} bytes of text in the prompt; at most {self._max_text_bytes} are allowed", reason
            )
        try:
            yield
        except TextNotEncodable as error:
            raise InvalidRequest.of(field, str(error), reason) from error

    def _encoded(self, encoding: Encoding) -> Prompt:
        return Prompt(text=encoding.text, ids=encoding.ids, has_text=self._has_text(encoding.ids), encoding=encoding)

    def _check_fit(self, request: CompletionRequest, text: str, context_length: int | None) -> None:
        if context_length is not None:
            tokens_left(request, context_length, self._tokenizer.min_tokens(text), is_lower_bound=True)

    def _has_text(self, ids: Sequence[int]) -> bool:
        return not self._tokenizer.special_ids.issuperset(ids)


def max_text_bytes(context_length: int) -> int:
    """Maximum size of a text to encode, in bytes.

    Encoding a megabyte takes seconds and some hundred megabytes of memory. Far longer texts make the regular
    expressions of some tokenizers fail.
    """
    return max(MIN_TEXT_LIMIT, _BYTES_A_TOKEN * context_length)


def is_long(request: CompletionRequest) -> bool:
    """Whether a request must be processed off the event loop."""
    return _size(request) > _MAX_INLINE_SIZE


def _size(request: CompletionRequest) -> int:
    """The approximate size of the prompt, in characters or tokens."""
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
