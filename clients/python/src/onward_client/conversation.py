"""A conversation that grows turn by turn."""

from collections.abc import Iterator

from onward.v1.chat_pb2 import Message
from onward_client.messages import MessageLike, assistant, text_of, to_message
from onward_client.results import Completion


class Conversation:
    """Messages in order. Pass it to `complete`, `stream` or `parse`, and append the completion.

    Example:
        >>> conversation = Conversation("My dog is called Rex.")
        >>> conversation.append(client.complete(conversation))
        >>> conversation.append("What is my dog called?")
        >>> client.complete(conversation).text
        'Your dog is called Rex.'
    """

    def __init__(self, *turns: MessageLike | Completion) -> None:
        """Creates a conversation.

        Args:
            *turns: Messages or completions to start with. Default: an empty conversation.

        Raises:
            RequestError: A field of a message is unknown or has the wrong type.
        """
        self.messages: list[Message] = []
        """The generated messages, oldest first."""
        self.append(*turns)

    def append(self, *turns: MessageLike | Completion) -> None:
        """Adds turns to the end.

        Args:
            *turns: Messages, tool results or completions. Of a completion with several choices, the first is added. A
                completion that continued a message with `prefix` is joined with that message.

        Raises:
            RequestError: A field of a message is unknown or has the wrong type.

        Example:
            >>> conversation = Conversation("What is 7 plus 5?")
            >>> conversation.append(assistant("7 + 5 =", prefix=True))
            >>> conversation.append(client.complete(conversation))
            >>> conversation.messages[-1].content[0].text
            '7 + 5 = 12.'
        """
        for turn in turns:
            message = turn.message if isinstance(turn, Completion) else to_message(turn, f"messages[{len(self)}]")
            if isinstance(turn, Completion) and self.messages and self.messages[-1].prefix:
                message = _continued(self.messages.pop(), message)
            self.messages.append(message)

    def __iter__(self) -> Iterator[Message]:
        """Iterates over the messages, oldest first."""
        return iter(self.messages)

    def __len__(self) -> int:
        """Returns the number of messages."""
        return len(self.messages)


def _continued(begun: Message, rest: Message) -> Message:
    return assistant(
        text_of(begun) + text_of(rest), tool_calls=rest.tool_calls, reasoning=begun.reasoning + rest.reasoning
    )
