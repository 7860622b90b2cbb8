"""The exit codes of `onward`."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes that follow shell conventions: 2 is argparse's own for wrong usage, 130 is 128 + SIGINT."""

    OK = 0
    FAILED = 1
    WRONG_USAGE = 2
    INTERRUPTED = 130
    """Ctrl-C ended a client command, or a second signal ended the running calls of a server."""
