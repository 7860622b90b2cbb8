"""`onward serve`: reads the settings and runs the server."""

import sys
from collections.abc import Sequence

from onward_server.exit_code import ExitCode
from onward_server.settings.server import WrongSettings, read_settings


def run(words: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code; invalid settings are printed to stderr."""
    try:
        settings = read_settings(words)
    except WrongSettings as error:
        sys.stderr.writelines(f"onward serve: {problem}\n" for problem in error.problems)
        return ExitCode.WRONG_USAGE
    from onward_server import app  # noqa: PLC0415  imports the runtimes, which --help and wrong usage do not need

    return app.run(settings)
