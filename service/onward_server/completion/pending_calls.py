"""Finds the tool call that each tool message answers."""

from collections import OrderedDict

from onward_server.domain import ToolCall


class PendingCalls:
    """The tool calls without a result so far, in order. The id of a call is free again once the call has its result."""

    def __init__(self) -> None:
        """Starts at the beginning of a conversation."""
        self._pending: OrderedDict[str, tuple[int, ToolCall]] = OrderedDict()
        self._answered: set[str] = set()
        self._num_calls = 0

    def add(self, call: ToolCall) -> bool:
        """Adds the next call; returns False if an earlier call with its id has no result yet."""
        is_new = call.id not in self._pending
        self._pending.setdefault(call.id, (self._num_calls, call))
        self._num_calls += 1
        return is_new

    def answer(self, call_id: str) -> tuple[int, ToolCall] | None:
        """Takes the call with this id, or the first one if the id is empty; returns its position in the conversation.

        Returns None if no such call is pending.
        """
        if not call_id and self._pending:
            call_id = next(iter(self._pending))
        found = self._pending.pop(call_id, None)
        if found is not None:
            self._answered.add(call_id)
        return found

    def is_answered(self, call_id: str) -> bool:
        """Whether a call with this id has a result."""
        return call_id in self._answered
