"""`onward serve`: settings from flags and environment, then the server; it does not know how a server is built."""

import sys
from collections.abc import Sequence

from onward_server.cli.exit_code import ExitCode
from onward_server.settings import WrongSettings, read_settings


def run(words: Sequence[str]) -> int:
    """Serves until a signal; returns the exit code."""
    try:
        settings = read_settings(words)
    except WrongSettings as error:
        sys.stderr.writelines(f"onward serve: {problem}\n" for problem in error.problems)
        return ExitCode.WRONG_USAGE
    from onward_server import app  # noqa: PLC0415  loads the runtimes; wrong usage and --help need none

    return app.run(settings)
