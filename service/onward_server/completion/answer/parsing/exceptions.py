"""The exceptions that end the parsing of a tool call early."""


class MalformedToolCall(Exception):
    """The model started a tool call, but what follows is malformed or truncated."""


class NotAToolCall(Exception):
    """What looked like the start of a tool call is ordinary text and must be parsed again as text."""


class SingleToolCallComplete(Exception):
    """The request allows one tool call only, and it is complete."""
