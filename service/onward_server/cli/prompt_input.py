"""Reads a prompt from stdin."""

import sys


class UndecodablePrompt(Exception):
    """The bytes on stdin are not text in the encoding of the locale."""


def read_prompt() -> str:
    """Reads all of stdin. At a terminal, says so first, since the command would seem to hang.

    Raises:
        UndecodablePrompt: A byte cannot be decoded; the message has its place.
    """
    if sys.stdin.isatty():
        sys.stderr.write("onward: reading the prompt from the terminal; end it with Ctrl-D on a line of its own\n")
        sys.stderr.flush()
    data, encoding = sys.stdin.buffer.read(), sys.stdin.encoding
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise UndecodablePrompt(
            f"stdin: byte 0x{data[error.start]:02x} in line {line}, column {column} is not {encoding.upper()}; convert "
            "the text first, for example with `iconv -f latin1 -t utf-8`"
        ) from None
