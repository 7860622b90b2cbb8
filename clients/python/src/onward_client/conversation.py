"""A conversation that grows turn by turn."""

from collections.abc import Iterator

from onward.v1.chat_pb2 import Message
from onward_client.messages import MessageLike, joined, message_of, to_message


class Conversation:
    """Messages in order. Pass it to `complete`, `stream` or `parse`, and append the completion.

    Example:
        >>> conversation = Conversation("My dog is called Rex.")
        >>> conversation.append(client.complete(conversation))
        >>> conversation.append("What is my dog called?")
        >>> client.complete(conversation).text
        'Your dog is called Rex.'
    """

    def __init__(self, *turns: MessageLike) -> None:
        """Creates a conversation.

        Args:
            *turns: Messages or completions to start with. Default: an empty conversation.

        Raises:
            RequestError: A field of a message is unknown or has the wrong type.
        """
        self.messages: list[Message] = []
        """The generated messages, oldest first."""
        self.append(*turns)

    def append(self, *turns: MessageLike) -> None:
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
        added = [
            (to_message(turn, f"messages[{len(self) + at}]"), message_of(turn) is not None)
            for at, turn in enumerate(turns)
        ]
        self.messages[-1:] = joined([*((message, False) for message in self.messages[-1:]), *added])

    def __iter__(self) -> Iterator[Message]:
        """Iterates over the messages, oldest first."""
        return iter(self.messages)

    def __len__(self) -> int:
        """Returns the number of messages."""
        return len(self.messages)
