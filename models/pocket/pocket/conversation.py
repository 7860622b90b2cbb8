"""Conversations, and the rules that judge their last answer."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Required, TypeAlias, TypedDict

CALL = re.compile(r"<tool_call>\n?(.*?)(\n?</tool_call>|\Z)", re.DOTALL)
SENTENCE_END = re.compile(r"[.!?]")
SHORTEST_STORY = 5
"""Sentences."""

LONGEST_SPAN_ANSWER = 160
"""Characters. A longer answer, which names the right value among many others, is wrong."""


class Function(TypedDict):
    """A function's name and the arguments for it."""

    name: str
    arguments: dict[str, object]


class ToolCall(TypedDict):
    """A tool call in the form that chat templates take."""

    type: Literal["function"]
    function: Function


class Message(TypedDict, total=False):
    """A turn in the form that chat templates take."""

    role: Required[Literal["system", "user", "assistant", "tool"]]
    content: Required[str]
    tool_calls: list[ToolCall]


class FunctionDefinition(TypedDict):
    """An offered function; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: dict[str, object]


class Tool(TypedDict):
    """An offered function in the form that chat templates take."""

    type: Literal["function"]
    function: FunctionDefinition


Rule: TypeAlias = Literal["exact", "one of", "mentions", "json", "calls", "upper case", "ends with", "story"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The rule that the last answer must satisfy."""

    rule: Rule
    values: tuple[str, ...] = ()
    """Texts; for the rules `json` and `calls`, one JSON text each."""

    def accepts(self, answer: str) -> bool:
        """Whether an answer is right."""
        return RULES[self.rule](answer, self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A question that needs no context, and its answer."""

    user: str
    answer: str
    check: Check
    short: str | None = None
    """The answer in one word, if one word suffices."""

    def messages(self) -> list[Message]:
        """Both turns."""
        return [said_by_user(self.user), said_by_model(self.answer)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Turns up to and including the answer that `check` judges."""

    skill: str
    messages: Sequence[Message]
    check: Check
    tools: Sequence[Tool] = ()

    @property
    def prompt(self) -> Sequence[Message]:
        """The turns before the judged answer."""
        return self.messages[:-1]


def said_by_user(text: str) -> Message:
    return {"role": "user", "content": text}


def said_by_model(text: str) -> Message:
    return {"role": "assistant", "content": text}


def said_by_tool(text: str) -> Message:
    return {"role": "tool", "content": text}


def instruction(text: str) -> Message:
    return {"role": "system", "content": text}


def calls_in(answer: str) -> list[object]:
    """The tool calls in an answer, with None for one that is not JSON or is unterminated."""
    return [_parsed(text) if end else None for text, end in CALL.findall(answer)]


def _is(answer: str, values: Sequence[str]) -> bool:
    return answer == values[0]


def _is_one_of(answer: str, values: Sequence[str]) -> bool:
    return answer in values


def _names(answer: str, values: Sequence[str]) -> bool:
    return len(answer) <= LONGEST_SPAN_ANSWER and _mentions(answer, values)


def _is_in_upper_case(answer: str, values: Sequence[str]) -> bool:
    return bool(answer) and answer == answer.upper() and _mentions(answer, values)


def _ends_with(answer: str, values: Sequence[str]) -> bool:
    """True if the answer ends with the first value and mentions the others, in any case."""
    said = answer.lower()
    return said.rstrip(".!?").endswith(values[0]) and _mentions(said, [value.lower() for value in values])


def _is_json(answer: str, values: Sequence[str]) -> bool:
    return _parsed(answer) == json.loads(values[0])


def _calls(answer: str, values: Sequence[str]) -> bool:
    return calls_in(answer) == [json.loads(value) for value in values]


def _is_story(answer: str, values: Sequence[str]) -> bool:
    num_sentences = len(SENTENCE_END.findall(answer))
    return num_sentences >= SHORTEST_STORY and answer.endswith((".", "!", "?", '"')) and _mentions(answer, values)


def _mentions(answer: str, values: Sequence[str]) -> bool:
    return all(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", answer) for value in values)


def _parsed(text: str) -> object:
    """The value of a JSON text; None if it is not JSON or has a duplicate key."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except ValueError:
        return None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("duplicate key")
    return found


RULES: Mapping[Rule, Callable[[str, Sequence[str]], bool]] = {
    "exact": _is,
    "one of": _is_one_of,
    "mentions": _names,
    "json": _is_json,
    "calls": _calls,
    "upper case": _is_in_upper_case,
    "ends with": _ends_with,
    "story": _is_story,
}
