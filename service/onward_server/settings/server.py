"""Every setting of `onward serve`: environment variables, flags and docs/settings.md are derived from `Settings`."""

import ipaddress
import os
from argparse import Action, ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, NoDecode, SettingsConfigDict

from onward_server.settings.failpoint import Failpoint
from onward_server.settings.model_reference import ModelReference
from onward_server.settings.user_folders import cache_folder
from onward_server.settings.variables import CLIENT_VARIABLES, PREFIX, unknown_variables

_PACKAGE = Path(__file__).resolve().parents[1]
_EMBEDDED_MODEL_FOLDERS = (_PACKAGE / "pocket", _PACKAGE.parents[1] / "models" / "pocket" / "served")
"""Folders that may hold the embedded model: first in an installation, then in a checkout."""

MIB = 1 << 20

_METAVARS = {
    "--model": "[ID=]MODEL",
    "--model-file": "[ID=]PATH",
    "--chat-template": "[ID=]FILE",
    "--cache-dir": "DIR",
    "--failpoint": "PART=FAULT[@N]",
    "tuple[str,...]": "[ID=]NAME",
    "str": "ADDRESS",
    "int": "N",
    "float": "X",
    "Path": "FILE",
}
"""Placeholder of a value in `--help`, by flag or else by type."""


class Settings(BaseSettings):
    """Settings of `onward serve`, read once and passed down as values."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    model: Annotated[tuple[str, ...], NoDecode] = ()
    """Model to serve, as `FOLDER[:VARIANT]`, `FILE.onnx`, `FILE.gguf[:VARIANT]`, or
    `OWNER/NAME[@REVISION][:VARIANT]` for a repository of the Hugging Face hub; a path that exists takes precedence.
    Checkpoints (safetensors) and GGUF files are exported once, into `--cache-dir`. `ID=` before it sets the id of the
    model. VARIANT is a precision such as `q4` or `int8`, a quantization such as `Q4_K_M`, a subfolder or a file.
    docs/models.md describes how a graph is chosen. Repeat the flag, or separate models with commas, to serve several;
    the first one is the default model. Default: the embedded model `pocket`."""
    model_file: Annotated[tuple[str, ...], NoDecode] = ()
    """ONNX file to serve instead of the one that is chosen by default, as `PATH` for all models or `ID=PATH` for one
    model. PATH is relative to the model's folder or repository. Repeat the flag, or separate values with commas, to set
    several. Default: docs/models.md describes how a graph is chosen."""
    chat_template: Annotated[tuple[str, ...], NoDecode] = ()
    """Chat template to use instead of the model's, as `FILE` for all models or `ID=FILE` for one model. FILE is a Jinja
    file, or `deepseek_r1` or `deepseek_v31`, which show tools to these models, unlike the models' own templates.
    Repeat the flag, or separate values with commas, to set several. Default: the template in the model folder."""
    tool_format: Annotated[tuple[str, ...], NoDecode] = ()
    """Tool format, as `NAME` for all models or `ID=NAME` for one model. Repeat the flag, or separate values with
    commas, to set several. `none` leaves tool calls in the text. An unknown name lists the valid ones. Default:
    detected from the chat template; if that fails, requests with tools are rejected."""
    reasoning_format: Annotated[tuple[str, ...], NoDecode] = ()
    """Reasoning format, as `NAME` for all models or `ID=NAME` for one model. `none` leaves reasoning in the text,
    except with tool format `harmony`, which always parses it. An unknown name lists the valid ones. Default: detected
    from the chat template."""
    listen: str = "127.0.0.1:50051"
    """Address to listen on: `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Port 0 selects a free port. The server
    listens at every address of a host name. The file `PATH.lock` locks a Unix socket while the server runs."""
    execution_provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs. `auto` uses the CUDA device if it can run the model, else the CPU; `cuda` refuses to start
    if the device cannot."""
    device_id: int = Field(default=0, ge=0)
    """Number of the CUDA device."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads that run the model. Default: as many as there are processors available to this process."""
    spinning: bool = True
    """Let idle threads spin between operators. Makes steps faster and uses more processor time."""
    rewrite: bool = True
    """Serve a rewritten graph where that is faster or needs less memory, on the CPU. The first start with a model
    compares its logits with those of the original, which takes longer than loading it, and keeps the rewritten graph in
    `--cache-dir`. A graph that cannot be rewritten, or whose logits differ, is served as it is."""
    cache_dir: Path | None = None
    """Folder for what is computed once for a model: rewritten graphs in `rewritten`, less than a MiB for most models,
    and exports of checkpoints and GGUF files in `exported`, as large as their weights. The subfolders must belong to
    the user who runs the server or to root, and nobody else may write to them. Default: `onward` in the user's cache
    folder, `$XDG_CACHE_HOME` or `~/.cache`."""
    slots: int | None = Field(default=None, ge=1, le=1024)
    """Sequences that decode at the same time. Each needs a KV slot, whose memory is taken as it is used. Default: as
    many as fit in 80 % of the available memory, at most 32, and more than 8 only if larger steps decode more tokens a
    second. On CUDA: 8."""
    context_length: int | None = Field(default=None, ge=2)
    """Maximum tokens of a prompt and its output together, not counting the last output token. If the model's own limit
    is lower, that limit applies. Default: the model's own limit, or what fits in 80 % of the available memory. On CUDA:
    at most 4096."""
    max_queue: int = Field(default=64, ge=0)
    """Maximum number of choices that wait for a slot. Further requests are rejected with RESOURCE_EXHAUSTED."""
    prefill_chunk: int = Field(default=512, ge=2)
    """Maximum number of prompt tokens that one step prefills."""
    step_target_ms: float = Field(default=100.0, gt=0, le=60_000)
    """Target duration of a step that prefills a prompt while other sequences decode, in milliseconds."""
    max_deadline_s: float = Field(default=600.0, gt=0, le=86_400)
    """Maximum duration of a call, in seconds. It applies to calls without a deadline or with a later one."""
    stall_timeout_s: float = Field(default=30.0, gt=0, le=86_400)
    """How long a client may leave its stream unread, in seconds. The call then ends with DEADLINE_EXCEEDED."""
    drain_timeout_s: float = Field(default=30.0, ge=0, le=3600)
    """Time that running calls get to finish after SIGTERM or SIGINT, in seconds."""
    hang_limit_s: float = Field(default=30.0, ge=0.1, le=3600)
    """Duration in seconds after which a run of the model counts as hung, if it has also lasted ten times as long as
    predicted. Its calls then end with UNAVAILABLE and the server exits with an error."""
    max_message_bytes: int = Field(default=16 * MIB, ge=1024, le=1024 * MIB)
    """Maximum size of a message that is received or sent, in bytes."""
    tls_cert: Path | None = None
    """PEM file with the server's certificate chain; turns TLS on. Needs `--tls-key`. All TLS files are read again when
    they change, and at SIGHUP. Default: plaintext."""
    tls_key: Path | None = None
    """PEM file with the private key of `--tls-cert`. Default: plaintext."""
    tls_client_ca: Path | None = None
    """PEM file with the authorities to trust for client certificates; turns mutual TLS on. Needs
    `--tls-cert`. Default: clients need no certificate."""
    api_keys_file: Path | None = None
    """File with one API key per line; `#` starts a comment. Every call except health checks then needs the metadata
    `authorization: Bearer KEY`. The file is read again when it changes, and at SIGHUP. Default: no key is needed."""
    insecure: bool = False
    """Allow listening beyond loopback in plaintext, or without API keys or client certificates."""
    reflection: bool = True
    """Serve gRPC reflection, so that tools such as grpcurl can list the services."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level of the log lines to write."""
    log_format: Literal["text", "json"] = "text"
    """Format of the log lines on stderr."""

    failpoint: Annotated[tuple[str, ...], NoDecode] = ()
    """Fault to inject, as `PART=FAULT` or `PART=FAULT@N` for the Nth use of the part, to test how clients and
    supervisors react. Parts are `run`, `sampler` and `delivery`; faults are `hang`, `panic`, `error` and `crash`.
    Repeat the flag, or separate values with commas, to inject several. Default: none."""

    @field_validator(
        "model", "model_file", "chat_template", "tool_format", "reasoning_format", "failpoint", mode="before"
    )
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        """Splits `a,b` of an environment variable. Repeated flags arrive joined in the same way."""
        if not isinstance(value, str):
            return value
        return tuple(stripped for part in value.split(",") if (stripped := part.strip()))

    @field_validator("model")
    @classmethod
    def _check_model_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ids = [ModelReference.parse(text).model_id for text in value]
        for model_id in ids:
            if ids.count(model_id) > 1:
                raise ValueError(f"two models have the id {model_id!r}; give each an id of its own with ID=MODEL")
        return value

    @field_validator("failpoint")
    @classmethod
    def _check_failpoints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            Failpoint.parse(text)
        return value

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        if value.startswith("unix:"):
            path = value.removeprefix("unix:")
            has_host = path.startswith("//") and not path.startswith("///")
            if not path or path.endswith("/") or has_host or set(path) & set("?#"):
                raise ValueError(f"{value!r} is not unix:PATH or unix:///PATH, where PATH has neither ? nor #")
            return value
        host, colon, port = value.rpartition(":")
        bare_ipv6 = ":" in host and not host.startswith("[")
        if not (host and colon and port.isdecimal() and int(port) < 1 << 16) or bare_ipv6:
            raise ValueError(f"{value!r} is not HOST:PORT, [IPV6]:PORT or unix:PATH")
        return value

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("--tls-cert", "--tls-key") if self.tls_key is None else ("--tls-key", "--tls-cert")
            raise ValueError(f"{given} needs {missing}; set both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")
        return self

    @model_validator(mode="after")
    def _check_format_ids(self) -> Self:
        for flag, ids in (
            ("--model-file", [_model_id_and_file(value)[0] for value in self.model_file]),
            ("--chat-template", [_model_id_and_file(value)[0] for value in self.chat_template]),
            ("--tool-format", [_model_id_and_format(value)[0] for value in self.tool_format]),
            ("--reasoning-format", [_model_id_and_format(value)[0] for value in self.reasoning_format]),
        ):
            for model_id in ids:
                if model_id is not None and model_id not in self.models:
                    served = ", ".join(self.models)
                    raise ValueError(
                        f"{flag} names the model {model_id!r}, which is not served; the served models are {served}"
                    )
                if (count := ids.count(model_id)) > 1:
                    target = "all models" if model_id is None else f"the model {model_id!r}"
                    raise ValueError(f"{flag} has {count} values for {target}; one is allowed")
        return self

    @property
    def models(self) -> dict[str, ModelReference]:
        """Model id to what `--model` and `--model-file` name, for every model to serve; the default model first."""
        references = [ModelReference.parse(text) for text in self.model] or [_embedded_model()]
        files = dict(map(_model_id_and_file, self.model_file))
        return {
            reference.model_id: replace(
                reference, variant=files.get(reference.model_id, files.get(None, reference.variant))
            )
            for reference in references
        }

    @property
    def tool_formats(self) -> dict[str | None, str]:
        """Model id to the name of its tool format; the key None stands for all other models."""
        return dict(map(_model_id_and_format, self.tool_format))

    @property
    def reasoning_formats(self) -> dict[str | None, str]:
        """Model id to the name of its reasoning format; the key None stands for all other models."""
        return dict(map(_model_id_and_format, self.reasoning_format))

    @property
    def chat_templates(self) -> dict[str | None, str]:
        """Model id to the file or name of its chat template; the key None stands for all other models."""
        return dict(map(_model_id_and_file, self.chat_template))

    @property
    def cache_folder(self) -> Path | None:
        """The folder of `--cache-dir`; None: it is unset, and the user has no home folder."""
        return cache_folder(self.cache_dir)

    def chat_template_of(self, model_id: str) -> str | None:
        """The file or name of a model's chat template; None: the one in its folder."""
        return self.chat_templates.get(model_id, self.chat_templates.get(None))

    def tool_format_of(self, model_id: str) -> str | None:
        """The name of a model's tool format; None: it is detected."""
        return self.tool_formats.get(model_id, self.tool_formats.get(None))

    def reasoning_format_of(self, model_id: str) -> str | None:
        """The name of a model's reasoning format; None: it is detected."""
        return self.reasoning_formats.get(model_id, self.reasoning_formats.get(None))

    @property
    def failpoints(self) -> tuple[Failpoint, ...]:
        """The faults to inject."""
        return tuple(map(Failpoint.parse, self.failpoint))

    @property
    def listens_beyond_loopback(self) -> bool:
        """Whether another machine may be able to connect."""
        if self.listen.startswith("unix:"):
            return False
        host = self.listen.rpartition(":")[0].strip("[]")
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"


class WrongSettings(Exception):
    """The settings are invalid; `problems` has a sentence for each invalid setting."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def read_settings(words: Sequence[str]) -> Settings:
    """Reads the settings: a flag in `words` wins over its environment variable, and that over the default.

    Raises:
        WrongSettings: A flag or variable is unknown, or a value is invalid by itself or together with another.
        SystemExit: argparse printed the help.
    """
    if unknown := unknown_variables({*_VARIABLES, *CLIENT_VARIABLES}):
        raise WrongSettings(unknown)
    try:
        return CliApp.run(Settings, cli_args=list(words), cli_settings_source=_command_line())
    except ValidationError as error:
        raise WrongSettings([_problem(found) for found in error.errors()]) from None


def intended_log_format(words: Sequence[str]) -> Literal["text", "json"]:
    """The log format for errors in the settings themselves: the one that they seem to ask for."""
    flags = ("--log-format=json", "--log-format json")
    is_json = any(flag in " ".join(words) for flag in flags) or os.environ.get(f"{PREFIX}LOG_FORMAT") == "json"
    return "json" if is_json else "text"


_VARIABLES = frozenset(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)


class _Parser(ArgumentParser):
    """Raises WrongSettings where argparse would print the usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise WrongSettings([f"{message}; {self._hint(message)}"])

    def _hint(self, message: str) -> str:
        unknown = message.removeprefix("unrecognized arguments: ").split("=")[0].split()[0]
        if unknown.startswith("--") and (near := get_close_matches(unknown, self._option_string_actions, n=1)):
            return f"did you mean {near[0]}?"
        return "`onward serve --help` lists the flags"


def _command_line() -> CliSettingsSource[Any]:
    """Defines the flags. Their help omits the Python types and empty defaults that pydantic's own help shows."""
    parser = _Parser(
        prog="onward serve",
        description="Serves models over gRPC until SIGTERM or SIGINT. Each flag can also be set as an environment "
        "variable: --max-queue as ONWARD_MAX_QUEUE.",
    )
    return CliSettingsSource(Settings, root_parser=parser, add_argument_method=_add_argument)


def _add_argument(parser: ArgumentParser, *flags: str, **options: Any) -> Action:  # noqa: ANN401  as argparse has it
    if "metavar" in options:
        options["metavar"] = _METAVARS.get(flags[0]) or _METAVARS.get(options["metavar"], options["metavar"])
    options["help"] = options["help"].removesuffix(" (default: ())").removesuffix(" (default: None)")
    return parser.add_argument(*flags, **options)


def _problem(found: ErrorDetails) -> str:
    """One sentence that names the flag and the environment variable, because either may have set the value."""
    message = found["msg"]
    if found["type"] == "value_error":  # from a validator of ours, which shows the value itself
        message = message.removeprefix("Value error, ")
    else:
        message = f"{found['input']!r} is invalid: {message[:1].lower()}{message[1:]}"
    if not found["loc"]:
        return message
    name = str(found["loc"][0])
    return f"--{name.replace('_', '-')} (or ONWARD_{name.upper()}): {message}"


def _embedded_model() -> ModelReference:
    folder = next((folder for folder in _EMBEDDED_MODEL_FOLDERS if folder.is_dir()), _EMBEDDED_MODEL_FOLDERS[-1])
    return ModelReference(model_id="pocket", location=folder)


def _model_id_and_file(value: str) -> tuple[str | None, str]:
    """Splits `ID=FILE` or `FILE`."""
    model_id, equals, file = value.partition("=")
    if equals and "/" not in model_id:  # an equals sign after a slash belongs to FILE
        return model_id, file
    return None, value


def _model_id_and_format(value: str) -> tuple[str | None, str]:
    """Splits `ID=NAME` or `NAME`. The id may contain an equals sign, the name does not."""
    model_id, equals, name = value.rpartition("=")
    return model_id if equals else None, name
