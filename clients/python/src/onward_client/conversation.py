"""A conversation that grows turn by turn; it makes no calls."""

from collections.abc import Iterator

from onward.v1.chat_pb2 import Message
from onward_client.messages import MessageLike, assistant, text_of, to_message
from onward_client.results import Completion


class Conversation:
    """Messages in order; hand it to `complete`, `stream` or `parse`, and append what comes back."""

    def __init__(self, *turns: MessageLike | Completion) -> None:
        """Starts with these turns."""
        self.messages: list[Message] = []
        self.append(*turns)

    def append(self, *turns: MessageLike | Completion) -> None:
        """Adds messages, tool results or answers; of several answers in one completion, the first.

        An answer that continues a message with `prefix` becomes one message with it.
        """
        for turn in turns:
            message = turn.message if isinstance(turn, Completion) else to_message(turn, f"messages[{len(self)}]")
            if isinstance(turn, Completion) and self.messages and self.messages[-1].prefix:
                message = _continued(self.messages.pop(), message)
            self.messages.append(message)

    def __iter__(self) -> Iterator[Message]:
        """The messages, oldest first."""
        return iter(self.messages)

    def __len__(self) -> int:
        """How many messages there are."""
        return len(self.messages)


def _continued(begun: Message, rest: Message) -> Message:
    return assistant(
        text_of(begun) + text_of(rest), tool_calls=rest.tool_calls, reasoning=begun.reasoning + rest.reasoning
    )
