"""What `onward` returns to the shell."""

from enum import IntEnum


class ExitCode(IntEnum):
    """0 well, 1 failed, 2 wrong usage (argparse's own code), 130 interrupted (128 + SIGINT, as shells say it)."""

    WELL = 0
    FAILED = 1
    WRONG_USAGE = 2
    INTERRUPTED = 130
