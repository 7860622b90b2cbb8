"""`onward serve`: reads the settings and runs the server."""

from collections.abc import Sequence

from onward_server.exit_code import ExitCode
from onward_server.settings.server import WrongSettings, intended_log_format, read_settings
from onward_server.telemetry import configure_logging, console


def run(words: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code; invalid settings are printed to stderr."""
    try:
        settings = read_settings(words)
    except WrongSettings as error:
        configure_logging(level="info", form=intended_log_format(words))
        for problem in error.problems:
            console.error("%s", problem)
        return ExitCode.WRONG_USAGE
    from onward_server import app  # noqa: PLC0415  imports the runtimes, which --help and wrong usage do not need

    return app.run(settings)
