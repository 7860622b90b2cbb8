"""Renders conversations with the served chat template, and finds the tokens that the model must learn."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from pocket.conversation import Conversation, Message, Tool

SERVED = Path(__file__).parents[1] / "served"
TURN_START, TURN_END, PADDING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
ANSWER_START = f"{TURN_START}assistant\n"


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation in tokens. `is_answer` is true for those that the model must learn."""

    ids: list[int]
    is_answer: list[bool]


@cache
def chat_template() -> Template:
    """The template in the served tokenizer_config.json, with the filter that loaders add."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    config = json.loads((SERVED / "tokenizer_config.json").read_text(encoding="utf-8"))
    return environment.from_string(config["chat_template"])


def render(messages: Sequence[Message], tools: Sequence[Tool] = (), *, add_generation_prompt: bool = False) -> str:
    """The text of a conversation."""
    return chat_template().render(messages=messages, tools=tools or None, add_generation_prompt=add_generation_prompt)


def prompt_text(conversation: Conversation) -> str:
    """The prompt of the judged answer."""
    return render(conversation.prompt, conversation.tools, add_generation_prompt=True)


def example(conversation: Conversation, tokenizer: Tokenizer) -> Example:
    """The conversation in tokens. Each answer and its end token are to be learned."""
    text = render(conversation.messages, conversation.tools)
    ids: list[int] = []
    is_answer: list[bool] = []
    for place, part in enumerate(text.split(ANSWER_START)):
        if place:
            _extend(ids, is_answer, tokenizer, ANSWER_START, learned=False)
            answer, _, rest = part.partition(TURN_END)
            _extend(ids, is_answer, tokenizer, answer + TURN_END, learned=True)
        else:
            rest = part
        _extend(ids, is_answer, tokenizer, rest, learned=False)
    return Example(ids, is_answer)


def _extend(ids: list[int], is_answer: list[bool], tokenizer: Tokenizer, text: str, *, learned: bool) -> None:
    new = tokenizer.encode(text, add_special_tokens=False).ids
    ids += new
    is_answer += [learned] * len(new)
