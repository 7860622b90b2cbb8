"""The `onward` command: parses its arguments and runs a subcommand.

A subcommand's modules are imported when it runs, so that `onward health` starts fast.
"""

import argparse
import sys
from collections.abc import Sequence

from onward_server.cli import arguments
from onward_server.cli.standard_streams import drop_unwritable_stderr, open_standard_streams
from onward_server.errors import StartupError
from onward_server.exit_code import ExitCode
from onward_server.settings.client import ClientSettings
from onward_server.settings.variables import misspelled_client_variables
from onward_server.version import VERSION


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns its exit code.

    Args:
        argv: Words after the command's name; default: those of this process.

    Raises:
        SystemExit: argparse printed a usage error (2), or the help or version that was asked for (0).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    open_standard_streams()
    try:
        if words[:1] == ["serve"]:
            from onward_server.cli import serve  # noqa: PLC0415  imports pydantic

            return serve.run(words[1:])
        parsed = _parser(ClientSettings.read()).parse_args(words)
        if misspelled := misspelled_client_variables():
            sys.stderr.writelines(f"onward: {problem}\n" for problem in misspelled)
            return ExitCode.WRONG_USAGE
        return _run(parsed)
    except StartupError as error:  # of the variables that huggingface-hub reads when it is imported
        sys.stderr.write(f"onward: {error}\n")
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        drop_unwritable_stderr()


def _run(parsed: argparse.Namespace) -> int:
    if parsed.command == "pull":
        from onward_server.cli import pull  # noqa: PLC0415  imports huggingface-hub

        return pull.run(parsed)
    if parsed.command == "export":
        from onward_server.cli import export  # noqa: PLC0415  imports onnx and gguf

        return export.run(parsed)
    from onward_server.cli import client  # noqa: PLC0415  imports gRPC

    return client.run(parsed)


def _parser(settings: ClientSettings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onward", description="Completions from language models, over gRPC.")
    parser.add_argument("--version", action="version", version=f"onward {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve models; `onward serve --help` lists the settings")
    arguments.add_pull(commands.add_parser("pull", help="download models from the Hugging Face hub"))
    arguments.add_export(commands.add_parser("export", help="write a checkpoint or GGUF file as an ONNX folder"))
    arguments.add_complete(commands.add_parser("complete", help="complete a prompt"), settings)
    arguments.add_models(commands.add_parser("models", help="list the models that the server serves"), settings)
    arguments.add_health(commands.add_parser("health", help="check that the server accepts requests"), settings)
    return parser
