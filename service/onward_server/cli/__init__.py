"""The `onward` command: reads its arguments and hands on; it does not know gRPC, models or settings.

What a subcommand needs is imported when it runs, so that `onward health` starts fast.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from onward_server.cli import arguments
from onward_server.cli.exit_code import ExitCode


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["serve"]:
            from onward_server.cli import serve  # noqa: PLC0415  loads what only a server needs

            return serve.run(words[1:])
        parsed = _parser().parse_args(words)
        from onward_server.cli import client  # noqa: PLC0415  loads gRPC

        return client.run(parsed)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onward", description="Completions from language models, over gRPC.")
    parser.add_argument("--version", action="version", version=f"onward {version('onward-server')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve models; `onward serve --help` lists its settings")
    arguments.add_complete(commands.add_parser("complete", help="ask for an answer"))
    arguments.add_models(commands.add_parser("models", help="list what is served"))
    arguments.add_health(commands.add_parser("health", help="check that the server takes requests"))
    return parser
