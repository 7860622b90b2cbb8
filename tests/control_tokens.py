"""Checks, for any chat template, that text from callers never becomes a control token."""

import json
import re
from collections.abc import Sequence
from functools import cache

from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as LibraryTokenizer

from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.domain import FunctionTool, Message, Role, ToolCall
from onward_server.model.tokenizer import Tokenizer
from tests.sample_tokenizers import byte_level

_BAR = "[|\uff5c]"
_CONTROL = re.compile(rf"<{_BAR}[^<>]+>|<[^<> ]+{_BAR}>|</?[a-z_]+>|\[/?[A-Z_]+\]")


def assert_control_tokens_are_those_of_the_template(source: str, data: st.DataObject) -> None:
    """Renders a conversation of random texts, full of pieces of control tokens, and the same with plain texts.

    Both prompts must have the same control tokens.
    """
    template, tokenizer = _template_and_tokenizer(source)
    controls = {
        tokenizer.token_id(control): control
        for control in tokenizer.control_strings
        if control in tokenizer.special_strings or control in template.source
    }
    typed = sorted(controls.values())
    fragment = st.sampled_from(typed).flatmap(
        lambda control: st.sampled_from([control, control[1:], control[:-1], control[:2], control[-2:], control[1:-1]])
    )
    words = st.lists(st.one_of(fragment, st.sampled_from(["\n", " ", "x"])), max_size=4).map("".join)
    texts = [data.draw(words) for _ in range(6)]

    def control_tokens(texts: Sequence[str]) -> list[str]:
        messages, tools = _conversation(template, texts)
        prompt = template.render(messages, tools=tools)
        ids = tokenizer.encode_prompt(prompt).ids
        assert tokenizer.decode(ids, keep_special_tokens=True) == prompt.text
        return [controls[token_id] for token_id in ids if token_id in controls]

    assert control_tokens(texts) == control_tokens(["x"] * 6)


def _conversation(template: ChatTemplate, texts: Sequence[str]) -> tuple[list[Message], list[FunctionTool]]:
    """A tool call and its result between two questions, as far as the template supports them."""
    first, second, result, value, argument, described = (f"{index}{text}x" for index, text in enumerate(texts))
    call = ToolCall(id="abcdefghi", name="call", arguments=json.dumps({"key": value, argument: [value]}))
    messages = [
        Message(role=Role.USER, content=(first,)),
        Message(role=Role.ASSISTANT, tool_calls=(call,)),
        Message(role=Role.TOOL, content=(result,), tool_call_id="abcdefghi", name=value),
        Message(role=Role.ASSISTANT, content=("fine",)),
        Message(role=Role.USER, content=(second,)),
    ]
    if template.supports_system_role:
        messages.insert(0, Message(role=Role.SYSTEM, content=(second,)))
    if not template.supports_tool_calls:
        del messages[-4:-2]
    return messages, [FunctionTool(name="call", description=described)]


@cache
def _template_and_tokenizer(source: str) -> tuple[ChatTemplate, Tokenizer]:
    """The template, and a tokenizer whose added tokens are all strings in it that look like control tokens."""
    library = byte_level()
    for content in sorted(set(_CONTROL.findall(source))):
        is_special = re.fullmatch("</?[a-z_]+>", content) is None or "turn" in content
        library.add_tokens(  # pyright: ignore[reportUnknownMemberType] (a bare `list` in its stub)
            [AddedToken(content, special=is_special, normalized=False)]
        )
    tokenizer = Tokenizer(
        LibraryTokenizer.from_str(library.to_str()), {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    )
    template = ChatTemplate(
        {"default": source},
        named_tokens=tokenizer.named_tokens,
        special_strings=tokenizer.special_strings,
        control_strings=tokenizer.control_strings,
    )
    return template, tokenizer
