"""The flags of the client commands; it does not know what they do."""

import os
from argparse import ArgumentParser
from pathlib import Path

from onward_server.sampling import PARAMETERS

# The client commands read these two themselves: pydantic, behind Settings, would double the time of a health check.
_ENVIRONMENT = os.environ  # noqa: TID251
_DEFAULT_TARGET = "127.0.0.1:50051"


def add_complete(parser: ArgumentParser) -> None:
    """`onward complete`."""
    parser.description = "Writes an answer to standard output; what else there is to say, to standard error."
    parser.add_argument("prompt", nargs="?", help="what to answer; without it, or with `-`, standard input")
    parser.add_argument("--model", default="", help="id or alias; the server's default otherwise")
    parser.add_argument("--system", help="a system message before the prompt")
    parser.add_argument("--raw", action="store_true", help="send the prompt as raw text, without the chat template")
    parser.add_argument("--stream", action="store_true", help="write the answer as it is made")
    parser.add_argument("--json", action="store_true", help="write the response messages as JSON, one a line")
    _add_sampling(parser)
    _add_connection(parser, timeout_s=120.0)


def add_models(parser: ArgumentParser) -> None:
    """`onward models`."""
    parser.description = "Lists what is served."
    parser.add_argument("--json", action="store_true", help="write each model as JSON, one a line")
    _add_connection(parser, timeout_s=10.0)


def add_health(parser: ArgumentParser) -> None:
    """`onward health`."""
    parser.description = "Exits with 0 only if the server is SERVING."
    parser.add_argument("--service", default="", help="full name of one service; the whole server otherwise")
    _add_connection(parser, timeout_s=5.0)


def _add_sampling(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("sampling", "A parameter that is left out has the model's default.")
    for name, parameter in PARAMETERS.items():
        flag = f"--{name.replace('_', '-')}"
        allowed = "" if parameter.range is None else f"in {parameter.range}"
        if parameter.value_type is float:
            group.add_argument(flag, type=float, metavar="X", help=allowed)
        elif parameter.value_type is int:
            group.add_argument(flag, type=int, metavar="N", help=allowed)
        elif parameter.value_type == tuple[str, ...]:
            allowed = f"may be repeated, up to {parameter.max_items} times"
            group.add_argument(flag, action="append", metavar="TEXT", help=allowed)


def _add_connection(parser: ArgumentParser, *, timeout_s: float) -> None:
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--target",
        default=_ENVIRONMENT.get("ONWARD_TARGET", _DEFAULT_TARGET),
        metavar="HOST:PORT",
        help="server to call; ONWARD_TARGET otherwise, or %(default)s",
    )
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="file with the API key; the key in ONWARD_API_KEY otherwise",
    )
    group.add_argument("--tls-ca", metavar="FILE", help="PEM file with the authorities to trust; turns TLS on")
    group.add_argument("--tls-cert", metavar="FILE", help="PEM file with a client certificate")
    group.add_argument("--tls-key", metavar="FILE", help="PEM file with its private key")
    group.add_argument("--insecure", action="store_true", help="speak in the clear to another machine")
    group.add_argument("--timeout", type=float, default=timeout_s, metavar="S", help="seconds; %(default)g otherwise")
    parser.set_defaults(api_key=_ENVIRONMENT.get("ONWARD_API_KEY"))
