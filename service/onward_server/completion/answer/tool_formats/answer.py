"""One answer while it is taken apart: its text, its reasoning and its calls; it knows no format."""

import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from onward_server.completion.answer.tool_formats.json_text import json_type
from onward_server.completion.answer.tool_formats.reader import CallUnparseable, Reader
from onward_server.domain import FunctionTool, JsonFormat, ResponseFormat, ToolCallDelta

_ALPHANUMERICS = string.ascii_letters + string.digits
_CALL_ID_LENGTH = 9


def random_call_id() -> str:
    """Nine alphanumerics, which is what Mistral's templates demand."""
    return "".join(secrets.choice(_ALPHANUMERICS) for _ in range(_CALL_ID_LENGTH))


class Channel(Enum):
    """Which part of a message a prompt leaves open for the model to continue."""

    CONTENT = "content"
    REASONING = "reasoning"


class CallsComplete(Exception):
    """As many calls as are wanted are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDelta:
    """More of one answer."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


@dataclass(slots=True)
class _CallDelta:
    """What is new of one call since it was last asked for."""

    index: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class Calls:
    """The tool calls of one answer, each opened by its name, then given its arguments, then closed."""

    def __init__(self, tools: Iterable[FunctionTool], make_id: Callable[[], str], *, is_single: bool) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.is_open = False
        self._num_closed = 0
        self._is_single = is_single
        self._make_id = make_id
        self._arguments: list[str] = []
        self._deltas: list[_CallDelta] = []

    def open(self, name: str) -> None:
        """Begins a call.

        Raises:
            CallUnparseable: No such tool is offered, or a call is open.
        """
        if name not in self.tools or self.is_open:
            raise CallUnparseable
        self.is_open = True
        self._arguments = []
        self._deltas.append(_CallDelta(self._num_closed, self._make_id(), name))

    def add(self, arguments: str) -> None:
        """Appends to the arguments of the open call."""
        if not arguments:
            return
        if not self._deltas or self._deltas[-1].index != self._num_closed:
            self._deltas.append(_CallDelta(self._num_closed))
        self._deltas[-1].arguments.append(arguments)
        self._arguments.append(arguments)

    def close(self) -> None:
        """Ends the open call.

        Raises:
            CallUnparseable: No call is open, or its arguments are not a JSON object.
            CallsComplete: No further call is wanted.
        """
        if not self.is_open:
            raise CallUnparseable
        if json_type("".join(self._arguments)) != "object":
            raise CallUnparseable
        self.is_open = False
        self._num_closed += 1
        if self._is_single:
            raise CallsComplete

    def void(self) -> None:
        """Sees to it that the call with the highest index is the one that failed, though it may have had no name."""
        if not self.is_open:
            self.is_open = True
            self._deltas.append(_CallDelta(self._num_closed, self._make_id()))

    @property
    def num_complete(self) -> int:
        return self._num_closed

    def take_deltas(self) -> tuple[ToolCallDelta, ...]:
        deltas, self._deltas = self._deltas, []
        return tuple(
            ToolCallDelta(index=delta.index, id=delta.id, name=delta.name, arguments="".join(delta.arguments))
            for delta in deltas
        )


class Answer:
    """What a format reads an answer from, and where it puts the parts."""

    def __init__(
        self,
        calls: Calls,
        *,
        continues: Channel | None,
        is_thinking: bool,
        response_format: ResponseFormat | None = None,
    ) -> None:
        self.reader = Reader()
        self.calls = calls
        self.continues = continues
        self.is_thinking = is_thinking
        """Whether the text that comes next is reasoning."""
        self.has_text = continues is Channel.CONTENT
        """Whether the answer's text has begun, in the prompt or here."""
        self.is_bound = response_format is not None
        """Whether the answer's text is all that follows where it has begun: what looks like a mark is text."""
        self.is_stripped = response_format is None or isinstance(response_format, JsonFormat)
        """Whether newlines between the reasoning and the answer's text belong to neither."""
        self._text: list[str] = []
        self._reasoning: list[str] = []

    def say(self, text: str) -> None:
        if text:
            self.has_text = True
            self._text.append(text)

    def think(self, text: str) -> None:
        self._reasoning.append(text)

    def close_call(self) -> None:
        """Ends the open call; what comes after is not part of it."""
        self.calls.close()
        self.reader.record("")

    def take_delta(self) -> ParsedDelta:
        delta = ParsedDelta(
            text="".join(self._text), reasoning="".join(self._reasoning), tool_calls=self.calls.take_deltas()
        )
        self._text, self._reasoning = [], []
        return delta
