"""Building prompts from messages, text and token ids, and which requests are long."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from onward_server.completion.prompt.builder import MIN_TEXT_LIMIT, PromptBuilder, is_long, max_text_bytes
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.domain import CompletionRequest, FunctionTool, Message, RawText, RawTokens, Role, ToolCall
from onward_server.errors import InvalidReason, InvalidRequest
from onward_server.model.tokenizer import Encoding, TextNotEncodable, Tokenizer
from testing.tiny_model import write_tiny_tokenizer

LONG = "x" * 5000
CALL = ToolCall(id="a", name="f", arguments="{}")


def said(message: Message) -> CompletionRequest:
    return CompletionRequest(messages=(message,))


def called(call: ToolCall) -> CompletionRequest:
    return said(Message(role=Role.ASSISTANT, tool_calls=(call,)))


def offered(tool: FunctionTool) -> CompletionRequest:
    return CompletionRequest(tools=(tool,))


LONG_REQUESTS = {
    "raw text": CompletionRequest(raw_prompt=RawText(text=LONG)),
    "raw tokens": CompletionRequest(raw_prompt=RawTokens(ids=(1,) * 5000)),
    "content": said(Message(role=Role.USER, content=(LONG,))),
    "reasoning": said(Message(role=Role.ASSISTANT, reasoning=LONG)),
    "a name": said(Message(role=Role.USER, name=LONG)),
    "a call's id": called(replace(CALL, id=LONG)),
    "a call's name": called(replace(CALL, name=LONG)),
    "arguments": called(replace(CALL, arguments=LONG)),
    "a result's call": said(Message(role=Role.TOOL, tool_call_id=LONG)),
    "a tool's name": offered(FunctionTool(name=LONG)),
    "parameters": offered(FunctionTool(name="f", parameters=LONG)),
    "a description": offered(FunctionTool(name="f", description=LONG)),
    "many messages": CompletionRequest(messages=(Message(role=Role.USER),) * 65),
    "many calls": said(Message(role=Role.ASSISTANT, tool_calls=(CALL,) * 65)),
    "many tools": CompletionRequest(tools=(FunctionTool(name=""),) * 65),
}


@pytest.mark.parametrize("request_", LONG_REQUESTS.values(), ids=LONG_REQUESTS.keys())
def test_every_part_of_a_request_can_make_it_long(request_: CompletionRequest) -> None:
    """Parts that were not counted were rendered on the event loop, up to 4 MB of them."""
    assert is_long(request_)


def test_a_typical_request_is_not_long() -> None:
    conversation = [Message(role=Role.USER, content=("Hello",)), Message(role=Role.ASSISTANT, tool_calls=(CALL,))] * 10
    assert not is_long(CompletionRequest(messages=tuple(conversation), tools=(FunctionTool(name="f"),) * 10))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    write_tiny_tokenizer(tmp_path)
    return Tokenizer.load(tmp_path)


def builder(tokenizer: Tokenizer, template: str | None = None) -> PromptBuilder:
    chat_template = None if template is None else ChatTemplate({"default": template}, named_tokens={})
    return PromptBuilder(tokenizer, chat_template)


async def test_the_tokens_of_a_text_lie_in_it_one_after_the_other(tokenizer: Tokenizer) -> None:
    prompts = builder(tokenizer)
    prompt = await prompts.build(CompletionRequest(raw_prompt=RawText(text="The tide, é", no_special_tokens=True)))
    tokens = await prompts.tokens(prompt)
    assert b"".join(token.token for token in tokens).decode() == prompt.text == "The tide, é"
    assert [prompt.text.encode()[token.start_offset : token.end_offset] for token in tokens] == [
        token.token for token in tokens
    ]


async def test_token_ids_are_taken_as_they_are(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The tide", add_special_tokens=False).ids
    prompts = builder(tokenizer)
    prompt = await prompts.build(CompletionRequest(raw_prompt=RawTokens(ids=ids)))
    assert (prompt.ids, prompt.text, prompt.has_text) == (ids, "The tide", True)
    assert [token.id for token in await prompts.tokens(prompt)] == list(ids)


async def test_a_prompt_of_special_tokens_has_no_text(tokenizer: Tokenizer) -> None:
    ids = tuple(sorted(tokenizer.special_ids))[:2]
    assert not (await builder(tokenizer).build(CompletionRequest(raw_prompt=RawTokens(ids=ids)))).has_text


async def test_text_without_tokens_is_rejected(tokenizer: Tokenizer) -> None:
    request = CompletionRequest(raw_prompt=RawText(text="", no_special_tokens=True))
    with pytest.raises(InvalidRequest, match=r"^raw_prompt.text: encodes to no tokens; at least one is required$"):
        await builder(tokenizer).build(request)


async def test_messages_that_are_rendered_as_an_empty_prompt_are_rejected(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidRequest, match=r"^messages: the model's chat template renders them as an empty") as error:
        await builder(tokenizer, template="").build(said(Message(role=Role.USER, content=("Hello",))))
    assert error.value.reason is InvalidReason.INVALID_MESSAGES


@pytest.mark.parametrize("text", ["Hello", LONG], ids=["short", "long"])
async def test_a_prompt_is_what_the_chat_template_renders(tokenizer: Tokenizer, text: str) -> None:
    template = "{% for message in messages %}[{{ message.content }}]{% endfor %}"
    prompt = await builder(tokenizer, template).build(said(Message(role=Role.USER, content=(text,))))
    assert prompt.text == f"[{text}]"
    assert tokenizer.decode(prompt.ids, keep_special_tokens=True) == prompt.text


class ObservedTokenizer(Tokenizer):
    """Records which threads encode."""

    threads: set[int]

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        """Encodes as the real one."""
        self.threads.add(threading.get_ident())
        return super().encode(text, add_special_tokens=add_special_tokens)


async def test_long_prompts_are_encoded_one_at_a_time_off_the_event_loop(tmp_path: Path) -> None:
    """Encoding takes hundreds of bytes of memory for each byte of text."""
    write_tiny_tokenizer(tmp_path)
    tokenizer = ObservedTokenizer.load(tmp_path)
    assert isinstance(tokenizer, ObservedTokenizer)
    tokenizer.threads = set()
    prompts = builder(tokenizer)
    await asyncio.gather(*(prompts.build(CompletionRequest(raw_prompt=RawText(text=LONG))) for _ in range(5)))
    assert len(tokenizer.threads - {threading.get_ident()}) == len(tokenizer.threads) == 1


class FailingTokenizer(Tokenizer):
    """Fails on every text."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:  # noqa: ARG002
        """Fails."""
        raise TextNotEncodable("the tokenizer fails")


CONTENT = "{% for message in messages %}{{ message.content }}{% endfor %}"
RAW, CHAT = "raw_prompt.text", "messages"


def with_text(field: str, text: str) -> CompletionRequest:
    if field == CHAT:
        return said(Message(role=Role.USER, content=(text,)))
    return CompletionRequest(raw_prompt=RawText(text=text))


@pytest.mark.parametrize("field", [RAW, CHAT])
async def test_a_text_on_which_the_tokenizer_fails_is_rejected(tmp_path: Path, field: str) -> None:
    write_tiny_tokenizer(tmp_path)
    prompts = builder(FailingTokenizer.load(tmp_path), template=CONTENT)
    with pytest.raises(InvalidRequest, match=f"^{field}: the tokenizer fails$"):
        await prompts.build(with_text(field, "Hello"))


@pytest.mark.parametrize("field", [RAW, CHAT])
@pytest.mark.parametrize("character", [" ", "a", "\u00e9"])
async def test_a_text_over_the_limit_is_rejected_before_it_is_encoded(
    tmp_path: Path, field: str, character: str
) -> None:
    """11,000,000 spaces made the expressions of Qwen's and Llama 3's tokenizers panic."""
    write_tiny_tokenizer(tmp_path)
    prompts = builder(FailingTokenizer.load(tmp_path), template=CONTENT)
    size = MIN_TEXT_LIMIT // len(character.encode())
    with pytest.raises(InvalidRequest, match=f"^{field}: the tokenizer fails$"):
        await prompts.build(with_text(field, character * size))
    with pytest.raises(
        InvalidRequest,
        match=rf"^{field}: has {(size + 1) * len(character.encode())} bytes of text in the prompt; "
        r"at most 1048576 are allowed$",
    ):
        await prompts.build(with_text(field, character * (size + 1)))


def test_the_limit_of_a_text_grows_with_a_long_context() -> None:
    assert max_text_bytes(4096) == MIN_TEXT_LIMIT
    assert max_text_bytes(1_000_000) == 16_000_000
