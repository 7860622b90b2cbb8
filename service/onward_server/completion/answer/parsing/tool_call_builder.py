"""Collects the tool calls of one choice while they are parsed."""

import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from onward_server.completion.answer.parsing.exceptions import MalformedToolCall, SingleToolCallComplete
from onward_server.domain import MAX_ARGUMENTS_BYTES, MAX_ID_BYTES, FunctionTool, ToolCallDelta
from onward_server.json_value import NotJson, has_lone_surrogates, parse

_ALPHANUMERICS = string.ascii_letters + string.digits
_CALL_ID_LENGTH = 9


def random_call_id() -> str:
    """Returns nine random alphanumerics, the form that Mistral's chat templates require of a tool call id."""
    return "".join(secrets.choice(_ALPHANUMERICS) for _ in range(_CALL_ID_LENGTH))


@dataclass(slots=True)
class _PendingDelta:
    """What one tool call gained since `take_deltas` was last called."""

    index: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class ToolCallBuilder:
    """The tool calls of one choice: each is opened with its name, given its arguments, and closed."""

    def __init__(self, tools: Iterable[FunctionTool], make_id: Callable[[], str], *, is_single: bool) -> None:
        """Starts without calls.

        Args:
            tools: The tools that may be called.
            make_id: Makes the id of a tool call.
            is_single: Whether the request allows one tool call only.
        """
        self.tools = {tool.name: tool for tool in tools}
        self.is_open = False
        self.num_complete = 0
        self._is_single = is_single
        self._make_id = make_id
        self._ids = {""}
        self._arguments: list[str] = []
        self._deltas: list[_PendingDelta] = []

    def open(self, name: str, call_id: str = "") -> None:
        """Opens a tool call.

        Args:
            name: The name of the tool. White space around it is ignored.
            call_id: The id that the model gave the call; replaced if it is empty or too long, or another call has it.

        Raises:
            MalformedToolCall: There is no such tool, or a tool call is already open.
        """
        name = name.strip()
        if name not in self.tools or self.is_open:
            raise MalformedToolCall
        self.is_open = True
        self._arguments = []
        is_usable = call_id not in self._ids and len(call_id.encode()) <= MAX_ID_BYTES
        call_id = call_id if is_usable else self._make_id()
        self._ids.add(call_id)
        self._deltas.append(_PendingDelta(self.num_complete, call_id, name))

    def add_arguments(self, text: str) -> None:
        """Appends JSON text to the arguments of the open tool call."""
        if not text:
            return
        if not self._deltas or self._deltas[-1].index != self.num_complete:
            self._deltas.append(_PendingDelta(self.num_complete))
        self._deltas[-1].arguments.append(text)
        self._arguments.append(text)

    def close(self) -> None:
        """Closes the open tool call.

        Raises:
            MalformedToolCall: No tool call is open, or its arguments are not a JSON object that is valid in a message.
            SingleToolCallComplete: The request allows one tool call only.
        """
        if not self.is_open or not _is_object("".join(self._arguments)):
            raise MalformedToolCall
        self.is_open = False
        self.num_complete += 1
        if self._is_single:
            raise SingleToolCallComplete

    def fail(self) -> None:
        """Marks the current tool call as failed, opening an empty one first if none is open.

        The failed call is thus always the one with the highest index, which is how clients find it.
        """
        if not self.is_open:
            self.is_open = True
            self._deltas.append(_PendingDelta(self.num_complete, self._make_id()))

    def take_deltas(self) -> tuple[ToolCallDelta, ...]:
        """Returns what is new since the last call of this method."""
        deltas, self._deltas = self._deltas, []
        return tuple(
            ToolCallDelta(index=delta.index, id=delta.id, name=delta.name, arguments="".join(delta.arguments))
            for delta in deltas
        )


def _is_object(text: str) -> bool:
    """Whether a text is a JSON object, as `FunctionCall.arguments` must be when the call comes back in a message."""
    try:
        value = parse(text)
    except NotJson:
        return False
    is_valid = isinstance(value, dict) and not has_lone_surrogates(text, value)
    return is_valid and len(text.encode()) <= MAX_ARGUMENTS_BYTES
