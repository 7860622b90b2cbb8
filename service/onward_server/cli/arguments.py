"""The flags of all commands but `serve`."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from pathlib import Path
from textwrap import dedent

from onward_server.model.exporting.precision import DEFAULT_PRECISION, PRECISIONS
from onward_server.sampling import PARAMETERS
from onward_server.settings.client import ClientSettings


def add_pull(parser: ArgumentParser) -> None:
    """Adds the arguments of `onward pull`."""
    parser.description = (
        "Downloads models from the Hugging Face hub into its cache: of each, the files that a server needs. "
        "Checkpoints and GGUF files are exported then. Prints the folder of each to stdout and the progress to stderr. "
        "Obeys the variables of huggingface-hub, such as HF_HOME and HF_TOKEN; docs/models.md describes them."
    )
    parser.add_argument(
        "model",
        nargs="+",
        metavar="OWNER/NAME[@REVISION][:VARIANT]",
        help="a repository; REVISION is a branch, tag or commit, VARIANT a precision such as `q4` or `int8`, a "
        "quantization such as `Q4_K_M`, a folder or a file",
    )
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="folder for exports, which must be that of the server; default: ONWARD_CACHE_DIR, or `onward` in the "
        "user's cache folder",
    )


def add_export(parser: ArgumentParser) -> None:
    """Adds the arguments of `onward export`."""
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description = dedent("""\
        Writes a model as an ONNX folder that `onward serve` and onnxruntime-genai run. Prints the folder to stdout and
        the progress to stderr. The folder appears when it is complete; an export that fails leaves nothing behind.""")
    parser.epilog = dedent("""\
        example:
          onward export ~/models/Qwen3-0.6B models/qwen3 --precision int8
          onward serve --model models/qwen3

        docs/models.md lists the model families and the GGUF block types that can be exported.""")
    parser.add_argument(
        "source",
        type=_path,
        metavar="SOURCE",
        help="a checkpoint folder with config.json and safetensors files, or a GGUF file",
    )
    parser.add_argument("output", type=_path, metavar="OUT", help="the folder to create; it may exist if it is empty")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=DEFAULT_PRECISION,
        help="how weights are stored; fp16 also computes in float16. int8 and int4 keep blocks of integers that a GGUF "
        "file has, where they fit. Default: %(default)s",
    )


def add_complete(parser: ArgumentParser, settings: ClientSettings) -> None:
    """Adds the flags of `onward complete`."""
    parser.description = "Prints the completion to stdout and status messages to stderr."
    parser.add_argument("prompt", nargs="?", help="the prompt; without it, or with `-`, it is read from stdin")
    parser.add_argument("--model", default="", help="model id or alias; default: the server's default model")
    parser.add_argument("--system", metavar="TEXT", help="system message to put before the prompt")
    parser.add_argument("--raw", action="store_true", help="send the prompt as raw text, without the chat template")
    parser.add_argument("--stream", action="store_true", help="print the text as it is generated")
    parser.add_argument("--json", action="store_true", help="print the response messages as JSON, one per line")
    _add_sampling(parser)
    _add_connection(parser, settings, timeout_s=120.0)


def add_models(parser: ArgumentParser, settings: ClientSettings) -> None:
    """Adds the flags of `onward models`."""
    parser.description = "Lists the models that the server serves."
    parser.add_argument("--json", action="store_true", help="print each model as JSON, one per line")
    _add_connection(parser, settings, timeout_s=10.0)


def add_health(parser: ArgumentParser, settings: ClientSettings) -> None:
    """Adds the flags of `onward health`."""
    parser.description = "Prints the health of the server. Exits with 0 if it is SERVING, else with 1."
    parser.add_argument("--service", default="", help="full name of one service; default: the server as a whole")
    _add_connection(parser, settings, timeout_s=5.0)


def _path(text: str) -> Path:
    """A path that is not empty, as that of an unset variable of a shell is."""
    if not text:
        raise ArgumentTypeError("the path is empty; name a file or folder")
    return Path(text)


def _add_sampling(parser: ArgumentParser) -> None:
    """A flag for every parameter that is a number or a list of strings."""
    group = parser.add_argument_group("sampling", "A parameter that is not given takes the model's default.")
    for name, parameter in PARAMETERS.items():
        flag = f"--{name.replace('_', '-')}"
        in_range = "" if parameter.range is None else f"in {parameter.range}"
        if parameter.value_type is float:
            group.add_argument(flag, type=float, metavar="X", help=in_range)
        elif parameter.value_type is int:
            group.add_argument(flag, type=int, metavar="N", help=in_range)
        elif parameter.value_type == tuple[str, ...]:
            group.add_argument(
                flag,
                action="append",
                metavar="TEXT",
                help=f"repeat the flag for several, at most {parameter.max_items}",
            )


def _add_connection(parser: ArgumentParser, settings: ClientSettings, *, timeout_s: float) -> None:
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--target",
        default=settings.target,
        metavar="HOST:PORT",
        help="server to call; default: ONWARD_TARGET, here %(default)s",
    )
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="file whose first line is the API key; default: the key in ONWARD_API_KEY",
    )
    group.add_argument("--tls-ca", metavar="FILE", help="PEM file with the authorities to trust; turns TLS on")
    group.add_argument("--tls-cert", metavar="FILE", help="PEM file with a client certificate; turns TLS on")
    group.add_argument("--tls-key", metavar="FILE", help="PEM file with the private key of --tls-cert")
    group.add_argument("--insecure", action="store_true", help="allow plaintext to a server on another machine")
    group.add_argument(
        "--timeout", type=float, default=timeout_s, metavar="S", help="time limit in seconds; default: %(default)g"
    )
    parser.set_defaults(api_key=settings.api_key)
