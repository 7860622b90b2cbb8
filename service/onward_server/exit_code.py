"""The exit codes of `onward`."""

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """Exit codes that follow shell conventions.

    2 is argparse's own for wrong usage; 130 and 143 are 128 + SIGINT and 128 + SIGTERM.
    """

    meaning: str
    """One sentence for the documentation."""

    OK = 0, "The command succeeded. `serve`: the server stopped on SIGTERM or SIGINT."
    FAILED = (
        1,
        (
            "The command failed; stderr says why. `serve`: the server failed to start, run or stop. "
            "`health`: the server is not serving."
        ),
    )
    WRONG_USAGE = 2, "A flag, a setting or an environment variable is unknown or has an invalid value."
    INTERRUPTED = 130, "Ctrl-C ended a client command, or a second signal ended the running calls of a server."
    TERMINATED = 143, "SIGTERM or SIGHUP ended `export`, which leaves nothing behind."

    def __new__(cls, code: int, meaning: str) -> Self:
        """Adds the meaning to the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member
